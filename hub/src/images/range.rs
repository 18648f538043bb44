//! Which bytes of a file are asked for (RFC 9110, section 14). Pure.

use std::ops::Range;

use http::{HeaderMap, header};

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of it. Also when several ranges are asked for, or units nobody knows: a server may then answer with the whole.
    Whole,
    /// These bytes.
    Part(Range<u64>),
    /// Bytes that there are not.
    Nothing,
}

/// What these headers ask of a file of `bytes` bytes with this strong entity tag.
pub(super) fn wanted(headers: &HeaderMap, bytes: u64, etag: &str) -> Wanted {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    // A date is no strong validator of what is stamped on the way: only the tag lets a download go on.
    if text(header::IF_RANGE).is_some_and(|tag| tag != etag) {
        return Wanted::Whole;
    }
    match text(header::RANGE).and_then(|range| range.strip_prefix("bytes=")) {
        Some(range) => part(range.trim(), bytes),
        None => Wanted::Whole,
    }
}

fn part(range: &str, bytes: u64) -> Wanted {
    let Some((first, last)) = range.split_once('-') else { return Wanted::Whole };
    let number = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit lie beyond every file.
        true if !text.is_empty() => Some(text.parse().unwrap_or(u64::MAX)),
        true | false => None,
    };
    match (number(first), number(last), first.is_empty(), last.is_empty()) {
        (Some(first), Some(last), _, _) if first > last => Wanted::Whole,
        (Some(first), _, _, _) if first >= bytes => match last.is_empty() || number(last).is_some() {
            true => Wanted::Nothing,
            false => Wanted::Whole,
        },
        (Some(first), Some(last), _, _) => Wanted::Part(first..last.saturating_add(1).min(bytes)),
        (Some(first), None, _, true) => Wanted::Part(first..bytes),
        (None, Some(0), true, _) => Wanted::Nothing,
        (None, Some(_), true, _) if bytes == 0 => Wanted::Nothing,
        (None, Some(last), true, _) => Wanted::Part(bytes.saturating_sub(last)..bytes),
        (Some(_) | None, _, _, _) => Wanted::Whole,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(range: &str) -> Wanted {
        wanted(&HeaderMap::from_iter([(header::RANGE, HeaderValue::from_str(range).unwrap())]), 100, "\"a\"")
    }

    #[test]
    fn ranges_are_read_as_the_standard_has_them() {
        let cases = [
            ("bytes=0-0", Wanted::Part(0..1)),
            ("bytes=10-19", Wanted::Part(10..20)),
            ("bytes=10-", Wanted::Part(10..100)),
            ("bytes=-10", Wanted::Part(90..100)),
            ("bytes=-1000", Wanted::Part(0..100)),
            ("bytes=90-1000", Wanted::Part(90..100)),
            ("bytes=90-99999999999999999999999", Wanted::Part(90..100)),
            ("bytes=100-", Wanted::Nothing),
            ("bytes=100-200", Wanted::Nothing),
            ("bytes=99999999999999999999999-", Wanted::Nothing),
            ("bytes=-0", Wanted::Nothing),
            ("bytes=20-10", Wanted::Whole),
            ("bytes=0-1,5-6", Wanted::Whole),
            ("bytes=a-b", Wanted::Whole),
            ("bytes=+1-5", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("bytes=", Wanted::Whole),
            ("lines=1-2", Wanted::Whole),
        ];
        for (range, expected) in cases {
            assert_eq!(of(range), expected, "{range}");
        }
        assert_eq!(wanted(&HeaderMap::new(), 100, "\"a\""), Wanted::Whole);
    }

    #[test]
    fn a_download_goes_on_only_in_the_same_bytes() {
        let with = |tag: &'static str| {
            let range = (header::RANGE, HeaderValue::from_static("bytes=10-"));
            wanted(&HeaderMap::from_iter([range, (header::IF_RANGE, HeaderValue::from_static(tag))]), 100, "\"a\"")
        };
        assert_eq!(with("\"a\""), Wanted::Part(10..100));
        for other in ["\"b\"", "W/\"a\"", "Fri, 20 Nov 2026 15:00:00 GMT"] {
            assert_eq!(with(other), Wanted::Whole);
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_given_lies_in_the_file(range in "bytes=[0-9]{0,4}-[0-9]{0,4}", bytes in 0u64..2000) {
            let headers = HeaderMap::from_iter([(header::RANGE, HeaderValue::from_str(&range).unwrap())]);
            if let Wanted::Part(part) = wanted(&headers, bytes, "\"a\"") {
                proptest::prop_assert!(part.start < part.end && part.end <= bytes);
            }
        }
    }
}
