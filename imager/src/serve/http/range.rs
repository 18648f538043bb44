//! Byte ranges (RFC 9110, section 14): reads the header, pure. A header that is malformed, or asks for several ranges, counts as none, as the RFC
//! allows; one that asks for what is not there is an error.

use std::ops::Range;

/// What a request asks for of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// These bytes.
    Range(Range<u64>),
    /// Bytes it does not have.
    Nothing,
}

/// What a `Range` header asks for of a file of `bytes`.
pub fn parse(header: Option<&str>, bytes: u64) -> Part {
    let Some((unit, set)) = header.and_then(|text| text.split_once('=')) else { return Part::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Part::Whole;
    }
    let Some((first, last)) = set.trim().split_once('-') else { return Part::Whole };
    let range = match (number(first), number(last)) {
        (Some(Some(first)), Some(Some(last))) if first <= last => first..last.saturating_add(1).min(bytes),
        (Some(Some(first)), Some(None)) => first..bytes,
        // The last so many bytes.
        (Some(None), Some(Some(count))) => bytes.saturating_sub(count)..bytes,
        _ => return Part::Whole,
    };
    if range.start < range.end { Part::Range(range) } else { Part::Nothing }
}

/// A number, nothing, or neither.
fn number(text: &str) -> Option<Option<u64>> {
    let text = text.trim();
    if text.is_empty() {
        return Some(None);
    }
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().unwrap_or(u64::MAX)).map(Some)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_are_read_as_the_rfc_says() {
        for (header, expected) in [
            (None, Part::Whole),
            (Some("bytes=0-9"), Part::Range(0..10)),
            (Some("bytes=0-"), Part::Range(0..100)),
            (Some("bytes=90-"), Part::Range(90..100)),
            (Some("bytes=90-200"), Part::Range(90..100)),
            (Some("bytes=-10"), Part::Range(90..100)),
            (Some("bytes=-1000"), Part::Range(0..100)),
            (Some("Bytes=99-99"), Part::Range(99..100)),
            (Some("bytes=100-"), Part::Nothing),
            (Some("bytes=100-110"), Part::Nothing),
            (Some("bytes=-0"), Part::Nothing),
            (Some("bytes=99999999999999999999999-"), Part::Nothing),
            (Some("bytes=9-5"), Part::Whole),
            (Some("bytes=0-1,5-6"), Part::Whole),
            (Some("bytes=-"), Part::Whole),
            (Some("bytes=a-b"), Part::Whole),
            (Some("bytes=+1-2"), Part::Whole),
            (Some("lines=0-9"), Part::Whole),
            (Some("bytes"), Part::Whole),
            (Some(""), Part::Whole),
        ] {
            assert_eq!(parse(header, 100), expected, "{header:?}");
        }
        assert_eq!(parse(Some("bytes=0-"), 0), Part::Nothing);
    }

    proptest! {
        #[test]
        fn a_range_never_leaves_the_file(header in "(bytes=)?[0-9]{0,22}-?[0-9]{0,22}", bytes in any::<u64>()) {
            if let Part::Range(range) = parse(Some(&header), bytes) {
                prop_assert!(range.start < range.end && range.end <= bytes);
            }
        }
    }
}
