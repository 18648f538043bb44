//! Debian's control format (deb822): paragraphs of `Field: value` lines, as in Packages, Release and apt's `.sources` files.
//!
//! Borrowing and lenient about fields it is not asked for; what a field must hold is its reader's business.

use std::borrow::Cow;

/// One paragraph.
#[derive(Debug, Clone, Copy)]
pub struct Paragraph<'a> {
    text: &'a str,
}

/// The paragraphs of a file, in order; blank lines separate them.
pub fn paragraphs(text: &str) -> impl Iterator<Item = Paragraph<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(['\n', '\r']);
        if rest.is_empty() {
            return None;
        }
        let (paragraph, tail) = rest.split_once("\n\n").unwrap_or((rest, ""));
        rest = tail;
        Some(Paragraph { text: paragraph })
    })
}

impl<'a> Paragraph<'a> {
    /// A field's value: first line, then continuation lines joined by newlines, without their indentation. Comments are dropped.
    pub fn get(&self, field: &str) -> Option<Cow<'a, str>> {
        let mut lines =
            self.text.lines().filter(|line| !line.starts_with('#')).skip_while(|line| value_of(line, field).is_none());
        let first = value_of(lines.next()?, field)?;
        let mut value = Cow::Borrowed(first);
        for line in lines.take_while(|line| line.starts_with([' ', '\t'])) {
            let value = value.to_mut();
            value.push('\n');
            value.push_str(line.trim());
        }
        Some(value)
    }
}

fn value_of<'a>(line: &'a str, field: &str) -> Option<&'a str> {
    let (name, value) = line.split_once(':')?;
    name.eq_ignore_ascii_case(field).then(|| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_and_folded_fields() {
        let text = "\n\nPackage: a\nDepends: b,\n c\n# not this\nSize: 1\n\n\nPackage: d\n";
        let found: Vec<_> = paragraphs(text).collect();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].get("depends").as_deref(), Some("b,\nc"));
        assert_eq!(found[0].get("Size").as_deref(), Some("1"));
        assert_eq!(found[1].get("Package").as_deref(), Some("d"));
        assert_eq!(found[1].get("Size"), None);
    }
}
