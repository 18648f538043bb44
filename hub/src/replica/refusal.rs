//! What a device said when it opened no tunnel, on its way from the process that holds it to the one that was asked: in headers, because who opens a
//! WebSocket sees no body of a refusal for sure.

use http::{HeaderMap, HeaderValue};

use crate::model::text::bounded;
use crate::session::OpenError;

/// The header with the code.
const CODE: &str = "x-skerry-code";
/// The header with the device's own words, in hexadecimal.
const REASON: &str = "x-skerry-reason";
/// Bytes of these words at most.
const MAX_REASON: usize = 256;

const NOT_CONNECTED: &str = "not-connected";
const REFUSED: &str = "device-refused";
const SILENT: &str = "device-silent";

/// The stable code of a refusal.
pub(crate) fn code(error: &OpenError) -> &'static str {
    match error {
        OpenError::NotConnected => NOT_CONNECTED,
        OpenError::Refused(_) => REFUSED,
        OpenError::TimedOut => SILENT,
    }
}

/// Puts a refusal into an answer to another process.
pub(crate) fn tell(error: &OpenError, headers: &mut HeaderMap) {
    headers.insert(CODE, HeaderValue::from_static(code(error)));
    if let OpenError::Refused(reason) = error
        && let Ok(value) = HeaderValue::from_str(&hex::encode(bounded(reason, MAX_REASON)))
    {
        headers.insert(REASON, value);
    }
}

/// The refusal in another process's answer; none: it says something else.
pub(super) fn heard(headers: &HeaderMap) -> Option<OpenError> {
    let reason = || {
        let text = headers.get(REASON).and_then(|value| hex::decode(value).ok()).unwrap_or_default();
        bounded(&String::from_utf8_lossy(&text), MAX_REASON)
    };
    match headers.get(CODE)?.to_str().ok()? {
        NOT_CONNECTED => Some(OpenError::NotConnected),
        REFUSED => Some(OpenError::Refused(reason())),
        SILENT => Some(OpenError::TimedOut),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_device_said_arrives() {
        for error in [OpenError::NotConnected, OpenError::TimedOut, OpenError::Refused("zu viele, späte Tunnel".into())] {
            let mut headers = HeaderMap::new();
            tell(&error, &mut headers);
            assert_eq!(heard(&headers), Some(error));
        }
        let mut headers = HeaderMap::new();
        assert_eq!(heard(&headers), None);
        headers.insert(CODE, HeaderValue::from_static("other"));
        assert_eq!(heard(&headers), None);
        tell(&OpenError::Refused("\u{1b}[2J".repeat(10_000)), &mut headers);
        assert!(matches!(heard(&headers), Some(OpenError::Refused(reason)) if reason.len() <= 256 && !reason.contains('\u{1b}')));
    }
}
