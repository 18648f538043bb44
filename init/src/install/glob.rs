//! Patterns of `machine.install.disk.model`: `*` stands for any characters, everything else for itself.

/// Whether the whole text fits.
pub(super) fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        // The first place that fits leaves most to those behind it.
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything_and_nothing_else_does() {
        for (pattern, text, expected) in [
            ("Samsung SSD 980", "Samsung SSD 980", true),
            ("Samsung SSD 980", "Samsung SSD 980 PRO", false),
            ("Samsung*", "Samsung SSD 980 PRO", true),
            ("*980*", "Samsung SSD 980 PRO", true),
            ("*980", "Samsung SSD 980 PRO", false),
            ("S*S*0", "Samsung SSD 980", true),
            ("a*a", "a", false),
            ("a*b*c", "a-c-b", false),
            ("*ab*ab*", "ab", false),
            ("*", "", true),
            ("**", "x", true),
            ("", "", true),
            ("", "x", false),
            ("S?msung*", "Samsung", false),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern:?} {text:?}");
        }
    }
}
