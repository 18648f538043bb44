//! Who is at the other end of a web connection. Every request carries it as an extension; rates and the audit go by it.

use std::net::IpAddr;

use http::HeaderMap;

/// The header in which a reverse proxy says for whom it asks.
const FORWARDED: &str = "x-forwarded-for";

/// What proxies put into a request besides: whatever has one of them did not begin on this host.
const PROXIED: [&str; 4] = ["forwarded", "via", "x-real-ip", "x-forwarded-host"];

/// The other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its address: of the connection, or what the reverse proxy before the plain port says.
    pub address: IpAddr,
    /// Whether the request came from this very host, and not through a proxy.
    pub local: bool,
}

impl Peer {
    /// A caller of the TLS port; what it claims in headers does not count.
    pub fn direct(address: IpAddr) -> Self {
        let address = address.to_canonical();
        Self { address, local: address.is_loopback() }
    }

    /// A caller of the plain port: whom its reverse proxy names last, which is the one that the proxy saw itself.
    pub fn behind_proxy(address: IpAddr, headers: &HeaderMap) -> Self {
        let direct = Self::direct(address);
        let direct = Self { local: direct.local && !PROXIED.iter().any(|name| headers.contains_key(*name)), ..direct };
        let Some(line) = headers.get_all(FORWARDED).iter().next_back() else { return direct };
        let named =
            line.to_str().ok().and_then(|line| line.rsplit(',').next()).and_then(|last| last.trim().parse::<IpAddr>().ok());
        Self { address: named.map_or(direct.address, |address| address.to_canonical()), local: false }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_caller_cannot_choose_his_own_address() {
        let proxy: IpAddr = "127.0.0.1".parse().unwrap();
        let of = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(FORWARDED, HeaderValue::from_str(line).unwrap());
            }
            let peer = Peer::behind_proxy(proxy, &headers);
            (peer.address.to_string(), peer.local)
        };
        assert_eq!(of(&[]), ("127.0.0.1".into(), true));
        assert_eq!(of(&["198.51.100.7"]), ("198.51.100.7".into(), false));
        assert_eq!(of(&["127.0.0.1, 198.51.100.7"]), ("198.51.100.7".into(), false), "what the proxy added counts");
        assert_eq!(of(&["127.0.0.1", "198.51.100.7"]), ("198.51.100.7".into(), false));
        let via = HeaderMap::from_iter([(http::header::VIA, HeaderValue::from_static("1.1 front"))]);
        assert!(!Peer::behind_proxy(proxy, &via).local, "a proxy that does not say for whom it asks");
        assert_eq!(of(&["nonsense"]), ("127.0.0.1".into(), false), "and nothing makes a proxied call local");
    }
}
