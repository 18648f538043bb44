//! Cookies: reading them and setting them. Only over HTTPS, only for this host, out of scripts' reach.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};

/// The login's cookie. `__Host-` has the browser insist on HTTPS, on this very host and on the path `/`.
pub(super) const LOGIN: &str = "__Host-skerry";
/// Ties a sign-in at the identity provider to the browser that began it.
pub(super) const STATE: &str = "__Host-skerry-state";

/// The value of the first cookie with this name.
pub(super) fn find<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.into_iter().find(|(found, _)| *found == name).map(|(_, value)| value)
}

/// The header that sets a cookie; zero takes it away. The value is one of ours: letters, digits, `_`.
pub(super) fn set(name: &str, value: &str, life: Duration) -> HeaderValue {
    let text = format!("{name}={value}; Path=/; Max-Age={}; HttpOnly; Secure; SameSite=Lax", life.as_secs());
    let mut value = HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_among_others_and_set_out_of_reach() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("a=1; x__Host-skerry=evil;__Host-skerry=skl_1"));
        headers.append(header::COOKIE, HeaderValue::from_static("__Host-skerry=second"));
        assert_eq!(find(&headers, LOGIN), Some("skl_1"));
        assert_eq!(find(&headers, STATE), None);
        let set = set(LOGIN, "skl_1", Duration::from_secs(60));
        assert_eq!(set, "__Host-skerry=skl_1; Path=/; Max-Age=60; HttpOnly; Secure; SameSite=Lax");
    }
}
