//! URLs of hubs, registries, servers and log receivers: a scheme that is allowed there, a host, perhaps a port, perhaps a path. No user,
//! no query, no fragment: each could carry a secret or change the meaning of what follows.

use std::net::{IpAddr, Ipv6Addr};

use super::{Findings, Problem};
use crate::types::{DnsName, Secret};

/// What may stand where a URL is asked for.
#[derive(Clone, Copy)]
pub(super) struct Form {
    schemes: &'static [&'static str],
    port: Port,
    path: Path,
    expected: &'static str,
}

#[derive(Clone, Copy, PartialEq)]
enum Port {
    Optional,
    Needed,
}

#[derive(Clone, Copy, PartialEq)]
enum Path {
    None,
    Any,
}

/// `hub.url` and `hub.fallbacks`.
pub(super) const HUB: Form =
    Form { schemes: &["https"], port: Port::Optional, path: Path::None, expected: "a hub's address: `https://host[:port]`" };

/// `hub.proxy.url`.
pub(super) const PROXY: Form = Form {
    schemes: &["https", "http"],
    port: Port::Needed,
    path: Path::None,
    expected: "a proxy's address: `http://host:port` or `https://host:port`",
};

/// A registry mirror.
pub(super) const MIRROR: Form = Form {
    schemes: &["https", "http"],
    port: Port::Optional,
    path: Path::Any,
    expected: "a mirror's address: `https://host[:port][/path]`, or with `http`",
};

/// `k3s.server`.
pub(super) const K3S_SERVER: Form =
    Form { schemes: &["https"], port: Port::Needed, path: Path::None, expected: "a server's address: `https://host:6443`" };

/// `machine.logging.destination`.
pub(super) const LOGS: Form =
    Form { schemes: &["tcp"], port: Port::Needed, path: Path::None, expected: "a log receiver's address: `tcp://host:port`" };

/// Adds a finding when a URL is not of this form.
pub(super) fn check(path: &str, url: &str, form: Form, findings: &mut Findings) {
    findings.add_if(!fits(url, form), path, Problem::Malformed { value: without_user(url), expected: form.expected });
}

/// A URL as it may be shown: what stands before an `@` may be a password.
fn without_user(url: &str) -> String {
    match url.rsplit_once('@') {
        Some((_, rest)) => format!("{}@{rest}", Secret::MASK),
        None => url.to_owned(),
    }
}

fn fits(url: &str, form: Form) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else { return false };
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let path_fits = match form.path {
        Path::None => path.is_empty() || path == "/",
        Path::Any => path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-._~%".contains(&b)),
    };
    form.schemes.contains(&scheme) && path_fits && is_authority(authority, form.port)
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`.
pub(super) fn is_host_and_port(authority: &str) -> bool {
    is_authority(authority, Port::Optional)
}

fn is_authority(authority: &str, needed: Port) -> bool {
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, "")) => (address.parse::<Ipv6Addr>().is_ok(), None),
        Some((address, rest)) => (address.parse::<Ipv6Addr>().is_ok(), Some(rest.strip_prefix(':').unwrap_or_default())),
        None => match authority.rsplit_once(':') {
            Some((host, port)) => (is_host(host), Some(port)),
            None => (is_host(authority), None),
        },
    };
    host && port.map_or(needed == Port::Optional, is_port)
}

fn is_host(host: &str) -> bool {
    let looks_like_v4 = host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if looks_like_v4 { host.parse::<IpAddr>().is_ok() } else { host.parse::<DnsName>().is_ok() }
}

fn is_port(port: &str) -> bool {
    port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_url_is_not_repeated() {
        let mut findings = Findings::default();
        check("hub.url", "https://user:hunter2@hub.example", HUB, &mut findings);
        assert!(!findings.0[0].to_string().contains("hunter2"), "{}", findings.0[0]);
    }

    #[test]
    fn urls_are_taken_in_their_plain_form_only() {
        let good = [
            ("https://hub.example", HUB),
            ("https://hub.example:8443/", HUB),
            ("https://[fd00::1]:8443", HUB),
            ("http://10.0.2.2:5000/mirror/docker.io", MIRROR),
            ("https://10.0.0.1:6443", K3S_SERVER),
            ("tcp://logs.example:5170", LOGS),
        ];
        for (url, form) in good {
            assert!(fits(url, form), "{url}");
        }
        let bad = [
            ("", HUB),
            ("hub.example", HUB),
            ("http://hub.example", HUB),
            ("HTTPS://hub.example", HUB),
            ("https://", HUB),
            ("https://user:secret@hub.example", HUB),
            ("https://hub.example/path", HUB),
            ("https://hub.example?q=1", HUB),
            ("https://hub.example#f", HUB),
            ("https://hub.example:0", HUB),
            ("https://hub.example:65536", HUB),
            ("https://hub.example:+1", HUB),
            ("https://hub.example:", HUB),
            ("https://300.0.0.1", HUB),
            ("https://fd00::1", HUB),
            ("https://hub example", HUB),
            ("https://a/b\nc", MIRROR),
            ("https://10.0.0.1", K3S_SERVER),
            ("udp://logs.example:5170", LOGS),
        ];
        for (url, form) in bad {
            assert!(!fits(url, form), "{url}");
        }
    }
}
