//! Text from outside, made small enough to keep: cut at a character, without what would break a line or a terminal.

/// A word that is none of those there are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is none of {}", .known.join(", "))]
pub struct UnknownWord {
    /// As found.
    pub found: String,
    /// Those there are.
    pub known: Vec<&'static str>,
}

/// The text without control characters, cut to `max_bytes` at a character's border. What was cut ends in `…` if there is room.
pub fn bounded(text: &str, max_bytes: usize) -> String {
    const MARK: char = '…';
    let clean = text.chars().filter(|c| !c.is_control() && !is_bidi(*c));
    let mut kept = String::new();
    let mut cut = false;
    for c in clean {
        if kept.len() + c.len_utf8() > max_bytes {
            cut = true;
            break;
        }
        kept.push(c);
    }
    if cut && max_bytes >= MARK.len_utf8() {
        while kept.len() + MARK.len_utf8() > max_bytes {
            kept.pop();
        }
        kept.push(MARK);
    }
    kept
}

/// Characters that show the text after them in another order: a name could look like another one.
fn is_bidi(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bomb_becomes_a_line() {
        assert_eq!(bounded("short", 16), "short");
        assert_eq!(bounded(&"x".repeat(1 << 20), 8), "xxxxx…");
        assert_eq!(bounded("äöüäöü", 8), "äö…");
        assert_eq!(bounded("a\u{1b}[31m\nb\u{202e}c", 64), "a[31mbc");
        assert_eq!(bounded("abc", 2), "ab");
        assert_eq!(bounded("abc", 0), "");
    }

    proptest::proptest! {
        #[test]
        fn the_bound_holds_for_every_text(text in ".*", max in 0usize..40) {
            proptest::prop_assert!(bounded(&text, max).len() <= max);
        }
    }
}
