//! Whether a browser asks from a page of this hub. What browsers say of it cannot be forged by a page; programs say nothing.

use http::{HeaderMap, Uri, header};

/// Says where the page is that asks.
const FETCH_SITE: &str = "sec-fetch-site";

/// Whether a request comes from the hub's own pages, from the address bar, or from a program.
pub fn is_same_origin(headers: &HeaderMap, uri: &Uri) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text(FETCH_SITE) {
        return matches!(site, "same-origin" | "none");
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let Some(host) = text(header::HOST.as_str()).or_else(|| uri.authority().map(|authority| authority.as_str())) else {
        return false;
    };
    let named = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    named.is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host))
}

/// A path on this hub to go to after signing in; anything that leads elsewhere becomes `/`.
pub(super) fn own_path(next: Option<&str>) -> &str {
    let is_own = |path: &str| {
        let plain = path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
        plain && path.starts_with('/') && !path.starts_with("//") && path.len() <= 512
    };
    next.filter(|path| is_own(path)).unwrap_or("/")
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn pages_of_other_sites_are_told_apart() {
        let of = |pairs: &[(&'static str, &'static str)]| {
            let pairs = pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
            is_same_origin(&pairs.collect(), &Uri::from_static("/api/v1/me"))
        };
        assert!(of(&[]));
        assert!(of(&[("host", "hub:8443"), ("origin", "https://hub:8443")]));
        assert!(of(&[("sec-fetch-site", "same-origin")]) && of(&[("sec-fetch-site", "none")]));
        assert!(!of(&[("host", "hub"), ("origin", "https://evil.example")]));
        assert!(!of(&[("host", "hub"), ("origin", "null")]));
        assert!(!of(&[("origin", "https://hub")]));
        assert!(!of(&[("sec-fetch-site", "cross-site")]) && !of(&[("sec-fetch-site", "same-site")]));
    }

    #[test]
    fn nobody_is_sent_elsewhere_after_signing_in() {
        assert_eq!(own_path(Some("/claim/serial/FZ1?x=1")), "/claim/serial/FZ1?x=1");
        for bad in ["//evil.example", "https://evil.example", "/\\evil.example", "evil", "", "/a b", "/a\r\nSet-Cookie: x"] {
            assert_eq!(own_path(Some(bad)), "/", "{bad}");
        }
        assert_eq!(own_path(None), "/");
    }
}
