//! Shell-style matching as module aliases need it: `*`, `?` and `[...]`. Pure; no paths, no escapes.

/// Whether `text` matches `pattern` wholly.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    matches_bytes(pattern.as_bytes(), text.as_bytes())
}

/// Iterative with one backtrack point, so that a hostile alias costs at most pattern × text steps.
fn matches_bytes(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, t));
            p += 1;
        } else if let Some(length) = matches_one(&pattern[p..], text[t]) {
            p += length;
            t += 1;
        } else if let Some((after, from)) = star {
            star = Some((after, from + 1));
            p = after + 1;
            t = from + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// The pattern bytes that match this one byte, or none.
fn matches_one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'[', rest @ ..] => {
            let end = rest.iter().position(|b| *b == b']')?;
            in_set(&rest[..end], byte).then_some(end + 2)
        }
        [literal, ..] => (*literal == byte).then_some(1),
    }
}

fn in_set(set: &[u8], byte: u8) -> bool {
    let (negated, set) = match set {
        [b'!' | b'^', rest @ ..] => (true, rest),
        all => (false, all),
    };
    let mut at = 0;
    let mut found = false;
    while at < set.len() {
        match set[at..] {
            [low, b'-', high, ..] => {
                found |= (low..=high).contains(&byte);
                at += 3;
            }
            _ => {
                found |= set[at] == byte;
                at += 1;
            }
        }
    }
    found != negated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_match_as_the_kernel_writes_them() {
        let cases = [
            ("virtio:d00000002v*", "virtio:d00000002v00001AF4", true),
            ("virtio:d00000002v*", "virtio:d00000001v00001AF4", false),
            ("pci:v00008086d*sv*sd*bc01sc06i01*", "pci:v00008086d00002922sv00001AF4sd00001100bc01sc06i01", true),
            ("usb:v0BDAp8153d[0-3]*", "usb:v0BDAp8153d3000", true),
            ("usb:v0BDAp8153d[0-3]*", "usb:v0BDAp8153d4000", false),
            ("of:N*T*Cbrcm,bcm2711", "of:NsocT(null)Cbrcm,bcm2711", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[!a]b", "cb", true),
            ("[^a]b", "ab", false),
            ("*", "", true),
            ("", "", true),
            ("", "x", false),
            ("a[", "a[", false),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(matches(pattern, text), expected, "{pattern} against {text}");
        }
    }

    #[test]
    fn a_pattern_of_stars_is_not_slow() {
        assert!(!matches(&"*a".repeat(40), &"b".repeat(4000)));
    }
}
