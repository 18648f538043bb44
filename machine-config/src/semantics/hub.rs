//! The hub: its addresses, its pin, and the proxy on the way to it.

use super::{Findings, Problem, endpoint};
use crate::limits::HUB_FALLBACKS;
use crate::schema::{Hub, HubProxy};

/// Adds what is wrong with it.
pub(super) fn check(hub: &Hub, findings: &mut Findings) {
    let Hub { url, pin, fallbacks, proxy } = hub;
    endpoint::check("hub.url", url, endpoint::HUB, findings);
    check_pin("hub.pin", pin, "the SHA-256 of the hub's public key: 64 lower-case hexadecimal digits", findings);
    addresses(url, fallbacks, findings);
    proxy.iter().for_each(|proxy| check_proxy(proxy, findings));
}

fn addresses(url: &str, fallbacks: &[String], findings: &mut Findings) {
    let (value, max) = (fallbacks.len() as u64, HUB_FALLBACKS as u64);
    findings.add_if(value > max, "hub.fallbacks", Problem::OutOfRange { value, min: 0, max, unit: "addresses" });
    for (index, fallback) in fallbacks.iter().enumerate() {
        let path = format!("hub.fallbacks[{index}]");
        endpoint::check(&path, fallback, endpoint::HUB, findings);
        findings.add_if(fallback == url, &path, Problem::Twice { what: url.to_owned(), first: "hub.url".into() });
    }
    findings.add_repeated("hub.fallbacks", fallbacks);
}

fn check_proxy(proxy: &HubProxy, findings: &mut Findings) {
    let HubProxy { url, user, password, pin } = proxy;
    endpoint::check("hub.proxy.url", url, endpoint::PROXY, findings);
    let needs = |needed, reason| Problem::Needs { needed, reason };
    match (url.starts_with("https:"), pin) {
        (true, None) => findings.add("hub.proxy", needs("pin", "no authority is asked who a proxy is, only its key counts")),
        (false, Some(_)) => {
            findings.add("hub.proxy.pin", Problem::Pointless { reason: "a proxy with `http` shows no key" });
        }
        (true, Some(pin)) => {
            check_pin("hub.proxy.pin", pin, "the SHA-256 of the proxy's public key: 64 lower-case hexadecimal digits", findings);
        }
        (false, None) => {}
    }
    match (user, password) {
        (Some(_), None) => findings.add("hub.proxy", needs("password", "a proxy that asks for a user asks for a password")),
        (None, Some(_)) => findings.add("hub.proxy", needs("user", "a password belongs to a user")),
        (Some(user), Some(password)) => {
            let plain = |text: &str| !text.is_empty() && text.len() <= 256 && !text.chars().any(char::is_control);
            let expected = "a user name: 1 to 256 bytes without colon and control characters";
            let named = plain(user) && !user.contains(':');
            findings.add_if(!named, "hub.proxy.user", Problem::Malformed { value: user.clone(), expected });
            let expected = "a password: 1 to 256 bytes without control characters";
            findings.add_if(!plain(password.expose()), "hub.proxy.password", Problem::MalformedSecret { expected });
        }
        (None, None) => {}
    }
}

fn check_pin(path: &str, pin: &str, expected: &'static str, findings: &mut Findings) {
    let hex = pin.len() == 64 && pin.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    findings.add_if(!hex, path, Problem::Malformed { value: pin.to_owned(), expected });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(rest: &str) -> Vec<String> {
        let pin = "ab".repeat(32);
        let yaml = format!(
            "apiVersion: skerry.dev/v1alpha1\nkind: MachineConfig\nmetadata: {{name: a, fleet: acme, generation: 1}}\ntarget: {{any: true}}\n\
             hub: {{url: \"https://hub.example\", pin: {pin}, {}}}\n",
            rest.replace("PIN", &pin)
        );
        let config = crate::parse::parse(yaml.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
        let mut findings = Findings::default();
        check(&config.hub.expect("it has one"), &mut findings);
        findings.0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_hub_behind_a_proxy_and_with_other_addresses_is_taken() {
        for good in [
            "",
            "fallbacks: [\"https://10.0.0.1\", \"https://hub.example:8443\"]",
            "proxy: {url: \"http://proxy.example:3128\"}",
            "proxy: {url: \"https://proxy.example:3129\", pin: PIN, user: kim, password: pa55word}",
        ] {
            assert_eq!(found(good), Vec::<String>::new(), "{good}");
        }
    }

    #[test]
    fn what_is_wrong_with_the_way_to_the_hub_is_told_with_its_path() {
        for (bad, expected) in [
            ("fallbacks: [\"http://a\"]", "hub.fallbacks[0]: `http://a` is not a hub's address"),
            ("fallbacks: [\"https://hub.example\"]", "hub.fallbacks[0]: `https://hub.example` stands already at hub.url"),
            ("fallbacks: [\"https://a\", \"https://a\"]", "hub.fallbacks[1]: `https://a` stands already at hub.fallbacks[0]"),
            ("proxy: {url: \"http://proxy.example\"}", "hub.proxy.url: `http://proxy.example` is not a proxy's address"),
            ("proxy: {url: \"socks5://p:1\"}", "hub.proxy.url: `socks5://p:1` is not"),
            ("proxy: {url: \"https://p:1\"}", "hub.proxy: `pin` must be set too"),
            ("proxy: {url: \"https://p:1\", pin: abc}", "hub.proxy.pin: `abc` is not"),
            ("proxy: {url: \"http://p:1\", pin: PIN}", "hub.proxy.pin: it has no effect here"),
            ("proxy: {url: \"http://p:1\", user: kim}", "hub.proxy: `password` must be set too"),
            ("proxy: {url: \"http://p:1\", password: x}", "hub.proxy: `user` must be set too"),
            ("proxy: {url: \"http://p:1\", user: \"a:b\", password: x}", "hub.proxy.user: `a:b` is not"),
        ] {
            let found = found(bad);
            assert!(found.len() == 1 && found[0].starts_with(expected), "{bad}: {found:?}");
        }
        let many: Vec<String> = (0..8).map(|n| format!("\"https://h{n}\"")).collect();
        assert_eq!(found(&format!("fallbacks: [{}]", many.join(", "))), ["hub.fallbacks: 8 addresses is outside of 0 to 7"]);
    }

    #[test]
    fn a_password_that_cannot_be_sent_is_not_repeated() {
        let found = found("proxy: {url: \"http://p:1\", user: kim, password: \"hunter2\\r\\nHost: a\"}");
        assert!(found.len() == 1 && found[0].starts_with("hub.proxy.password") && !found[0].contains("hunter2"), "{found:?}");
    }
}
