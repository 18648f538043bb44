//! Refuses what no text here may have: control characters in an address, a zero in a body. Databases differ in what they make of them; here it is one
//! answer, before anything is looked up.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, Uri};

use super::Failure;

/// A zero as JSON writes it.
const ZERO: &[u8] = b"\\u0000";

/// Refuses requests with such an address.
pub(super) async fn plain(request: Request, next: Next) -> Response {
    if has_control(request.uri()) {
        return Failure::new(StatusCode::BAD_REQUEST, "malformed", "cannot read this address: a control character stands in it")
            .into_response();
    }
    next.run(request).await
}

/// Whether an escaped byte of path or query is a control character of ASCII. Such a byte stands in no character of more than one.
pub(crate) fn has_control(uri: &Uri) -> bool {
    let text = uri.path_and_query().map_or("", |text| text.as_str()).as_bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    text.windows(3).any(|part| match part {
        [b'%', high, low] => digit(*high).zip(digit(*low)).is_some_and(|(high, low)| high < 2 || (high, low) == (7, 15)),
        _ => false,
    })
}

/// Whether JSON has a text with a zero in it.
pub(super) fn has_zero(json: &[u8]) -> bool {
    json.windows(ZERO.len()).enumerate().any(|(at, part)| {
        // An even number of backslashes before it are backslashes themselves.
        part == ZERO && json[..at].iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_in_an_address_are_seen() {
        for bad in ["/a%00", "/a?b=%0a", "/%1F", "/?x=%7f", "/a?b=c%0D%0Ad"] {
            assert!(has_control(&bad.parse().unwrap()), "{bad}");
        }
        for good in ["/a", "/a%20b?c=%C3%BC", "/a%2F?b=%7e", "/%", "/a%2", "/?x=%C2%85"] {
            assert!(!has_control(&good.parse().unwrap()), "{good}");
        }
    }

    #[test]
    fn a_zero_in_a_body_is_seen_and_a_text_about_one_is_not() {
        assert!(has_zero(br#"{"a":"x\u0000"}"#) && has_zero(br#"["\\\u0000"]"#));
        assert!(!has_zero(br#"{"a":"\\u0000"}"#) && !has_zero(b"{}") && !has_zero(br#""\u0001""#));
    }
}
