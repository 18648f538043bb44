//! What a server granted, read from its ACK. Everything in it came over an open network: what is malformed is left out, never passed on.

use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::Ipv4Net;

use super::message::Message;
use super::options::Code;

/// A lease shorter than this is treated as this long, so that no server can keep the device busy renewing.
const MIN_LEASE: Duration = Duration::from_secs(10);

/// The value that means "for ever" (RFC 2131 section 3.3).
const INFINITE: u32 = u32::MAX;

/// The least MTU a link must carry (RFC 791); a server that says less is not believed.
const MIN_MTU: u16 = 576;

/// Why an ACK or offer is no lease.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// The address given is not one a host can have.
    #[error("cannot use a DHCP lease for {address}: it is no host address")]
    Address {
        /// What was given.
        address: Ipv4Addr,
    },
    /// RFC 2131 table 3 demands it.
    #[error("cannot use a DHCP lease without {what}")]
    Missing {
        /// Which option.
        what: &'static str,
    },
}

/// One route of option 121.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClasslessRoute {
    /// Where to.
    pub to: Ipv4Net,
    /// Over which gateway; unspecified: on the link itself.
    pub via: Ipv4Addr,
}

/// What a server granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Address with the prefix length of its network.
    pub address: Ipv4Net,
    /// The server to renew with.
    pub server: Ipv4Addr,
    /// The routes to set: option 121 when given, else one default route per router.
    pub routes: Vec<ClasslessRoute>,
    /// DNS servers, best first.
    pub nameservers: Vec<Ipv4Addr>,
    /// DNS search domains: option 119 when given, else option 15.
    pub search: Vec<String>,
    /// MTU of the link.
    pub mtu: Option<u16>,
    /// How long the address may be used; none: for ever.
    pub lifetime: Option<Duration>,
    /// When to ask the same server again.
    pub renew_after: Option<Duration>,
    /// When to ask any server.
    pub rebind_after: Option<Duration>,
}

impl Lease {
    /// Reads an ACK (or an offer, which has the same form).
    pub fn from_ack(message: &Message) -> Result<Self, LeaseError> {
        let options = &message.options;
        let address = message.yiaddr;
        if address.is_unspecified() || address.is_broadcast() || address.is_multicast() || address.is_loopback() {
            return Err(LeaseError::Address { address });
        }
        let server = first_address(options.get(Code::ServerId)).ok_or(LeaseError::Missing { what: "a server identifier" })?;
        let seconds = number(options.get(Code::LeaseTime)).ok_or(LeaseError::Missing { what: "a lease time" })?;
        let times = Times::new(seconds, number(options.get(Code::RenewalTime)), number(options.get(Code::RebindingTime)));
        Ok(Self {
            address: Ipv4Net::new(address, prefix(address, options.get(Code::SubnetMask))).expect("a prefix is at most 32"),
            server,
            routes: routes(options.get(Code::ClasslessRoutes), options.get(Code::Router)),
            nameservers: addresses(options.get(Code::DnsServers)).filter(is_host).collect(),
            search: search(options.get(Code::DomainSearch), options.get(Code::DomainName)),
            mtu: options
                .get(Code::Mtu)
                .and_then(|value| value.try_into().ok())
                .map(u16::from_be_bytes)
                .filter(|mtu| *mtu >= MIN_MTU),
            lifetime: times.lifetime,
            renew_after: times.renew,
            rebind_after: times.rebind,
        })
    }
}

struct Times {
    lifetime: Option<Duration>,
    renew: Option<Duration>,
    rebind: Option<Duration>,
}

impl Times {
    /// RFC 2131 section 4.4.5: T1 and T2 default to half and seven eighths; T1 < T2 < lease, or the server is not believed.
    fn new(seconds: u32, t1: Option<u32>, t2: Option<u32>) -> Self {
        if seconds == INFINITE {
            return Self { lifetime: None, renew: None, rebind: None };
        }
        let lifetime = Duration::from_secs(seconds.into()).max(MIN_LEASE);
        let given = |seconds: Option<u32>| seconds.filter(|s| *s > 0).map(|s| Duration::from_secs(s.into()));
        let rebind = given(t2).filter(|t2| *t2 < lifetime).unwrap_or(lifetime * 7 / 8);
        let half = if lifetime / 2 < rebind { lifetime / 2 } else { rebind / 2 };
        let renew = given(t1).filter(|t1| *t1 < rebind).unwrap_or(half);
        Self { lifetime: Some(lifetime), renew: Some(renew), rebind: Some(rebind) }
    }
}

fn number(value: Option<&[u8]>) -> Option<u32> {
    value?.try_into().ok().map(u32::from_be_bytes)
}

fn addresses(value: Option<&[u8]>) -> impl Iterator<Item = Ipv4Addr> {
    value.unwrap_or_default().chunks_exact(4).map(|octets| Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3]))
}

fn first_address(value: Option<&[u8]>) -> Option<Ipv4Addr> {
    addresses(value).next()
}

fn is_host(address: &Ipv4Addr) -> bool {
    !address.is_unspecified() && !address.is_broadcast() && !address.is_multicast()
}

/// The mask's prefix length. Without a mask, or with one that has holes, that of the address's class (RFC 950).
fn prefix(address: Ipv4Addr, mask: Option<&[u8]>) -> u8 {
    let class = match address.octets()[0] {
        0..=127 => 8,
        128..=191 => 16,
        192..=255 => 24,
    };
    first_address(mask).and_then(|mask| ipnet::ipv4_mask_to_prefix(mask).ok()).filter(|prefix| *prefix > 0).unwrap_or(class)
}

fn routes(classless: Option<&[u8]>, routers: Option<&[u8]>) -> Vec<ClasslessRoute> {
    match classless.and_then(classless_routes) {
        Some(routes) => routes,
        None => {
            let default = Ipv4Net::default();
            addresses(routers).find(is_host).map(|via| ClasslessRoute { to: default, via }).into_iter().collect()
        }
    }
}

/// RFC 3442: prefix length, the significant octets of the destination, the gateway. None: the list is malformed as a whole.
fn classless_routes(mut value: &[u8]) -> Option<Vec<ClasslessRoute>> {
    let mut routes = Vec::new();
    while let Some((&prefix, rest)) = value.split_first() {
        let significant = usize::from(prefix).div_ceil(8);
        let (destination, rest) = rest.split_at_checked(significant).filter(|_| prefix <= 32)?;
        let (gateway, rest) = rest.split_at_checked(4)?;
        let mut octets = [0; 4];
        octets[..significant].copy_from_slice(destination);
        let to = Ipv4Net::new(octets.into(), prefix).ok()?.trunc();
        routes.push(ClasslessRoute { to, via: first_address(Some(gateway))? });
        value = rest;
    }
    Some(routes)
}

fn search(list: Option<&[u8]>, single: Option<&[u8]>) -> Vec<String> {
    let listed = list.map(domain_list).unwrap_or_default();
    if !listed.is_empty() {
        return listed;
    }
    let single = single.and_then(|value| std::str::from_utf8(value).ok()).unwrap_or_default();
    single.trim_end_matches('\0').split_whitespace().filter_map(domain).collect()
}

/// A name that can stand in resolv.conf: nothing else gets there from the network.
fn domain(name: &str) -> Option<String> {
    let name = name.trim_end_matches('.');
    let label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    (name.len() <= 253 && name.split('.').all(label)).then(|| name.to_ascii_lowercase())
}

/// RFC 3397: DNS names with compression pointers into the option itself. Stops at the first malformed name.
fn domain_list(value: &[u8]) -> Vec<String> {
    let mut domains = Vec::new();
    let mut at = 0;
    while at < value.len() {
        let Some((name, next)) = dns_name(value, at) else { break };
        domains.extend(domain(&name));
        at = next;
    }
    domains
}

/// One name and where the next begins. A pointer must point backwards, so every name ends.
fn dns_name(value: &[u8], start: usize) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    let (mut at, mut floor, mut next) = (start, start, None);
    loop {
        let length = *value.get(at)?;
        match length {
            0 => return Some((labels.join("."), next.unwrap_or(at + 1))),
            1..=63 => {
                let label = value.get(at + 1..at + 1 + usize::from(length))?;
                labels.push(std::str::from_utf8(label).ok()?);
                at += 1 + usize::from(length);
            }
            192..=255 => {
                let target = usize::from(u16::from_be_bytes([length & 0x3f, *value.get(at + 1)?]));
                next.get_or_insert(at + 2);
                if target >= floor {
                    return None;
                }
                (at, floor) = (target, target);
            }
            64..=191 => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::options::Options;
    use super::*;

    fn ack(options: &[(Code, &[u8])]) -> Message {
        let mut list = Options::default();
        list.set(Code::ServerId, &[10, 0, 2, 2]);
        list.set(Code::LeaseTime, &86400_u32.to_be_bytes());
        for (code, value) in options {
            list.set(*code, value);
        }
        let yiaddr = Ipv4Addr::new(10, 0, 2, 15);
        Message { xid: 1, secs: 0, ciaddr: Ipv4Addr::UNSPECIFIED, yiaddr, chaddr: [0; 6], options: list }
    }

    fn lease(options: &[(Code, &[u8])]) -> Lease {
        Lease::from_ack(&ack(options)).expect("it is a lease")
    }

    #[test]
    fn a_usual_lease() {
        let lease = lease(&[
            (Code::SubnetMask, &[255, 255, 255, 0]),
            (Code::Router, &[10, 0, 2, 2, 10, 0, 2, 9]),
            (Code::DnsServers, &[10, 0, 2, 3, 0, 0, 0, 0, 1, 1]),
            (Code::DomainName, b"Site.Example\0"),
            (Code::Mtu, &[0x05, 0x78]),
        ]);
        assert_eq!(lease.address.to_string(), "10.0.2.15/24");
        assert_eq!(lease.routes, [ClasslessRoute { to: Ipv4Net::default(), via: Ipv4Addr::new(10, 0, 2, 2) }]);
        assert_eq!(lease.nameservers, [Ipv4Addr::new(10, 0, 2, 3)]);
        assert_eq!(lease.search, ["site.example"]);
        assert_eq!(lease.mtu, Some(1400));
        assert_eq!(lease.lifetime, Some(Duration::from_secs(86400)));
        assert_eq!(lease.renew_after, Some(Duration::from_secs(43200)));
        assert_eq!(lease.rebind_after, Some(Duration::from_secs(75600)));
    }

    #[test]
    fn a_lease_needs_address_server_and_time() {
        let mut message = ack(&[]);
        message.yiaddr = Ipv4Addr::UNSPECIFIED;
        assert_eq!(Lease::from_ack(&message), Err(LeaseError::Address { address: Ipv4Addr::UNSPECIFIED }));
        assert_eq!(Lease::from_ack(&ack(&[(Code::LeaseTime, &[])])), Err(LeaseError::Missing { what: "a lease time" }));
        assert_eq!(Lease::from_ack(&ack(&[(Code::ServerId, &[1])])), Err(LeaseError::Missing { what: "a server identifier" }));
    }

    #[test]
    fn times_that_make_no_sense_are_replaced() {
        let seconds = |lease: &Lease| {
            [lease.lifetime, lease.renew_after, lease.rebind_after].map(|time| time.map_or(0, |time| time.as_secs()))
        };
        let be = |value: u32| value.to_be_bytes();
        let with = |time: u32, t1: u32, t2: u32| {
            seconds(&lease(&[(Code::LeaseTime, &be(time)), (Code::RenewalTime, &be(t1)), (Code::RebindingTime, &be(t2))]))
        };
        assert_eq!(with(100, 30, 60), [100, 30, 60]);
        assert_eq!(with(100, 0, 0), [100, 50, 87]);
        assert_eq!(with(100, 90, 60), [100, 50, 60], "T1 after T2");
        assert_eq!(with(100, 30, 100), [100, 30, 87], "T2 at the end");
        assert_eq!(with(1, 0, 0), [10, 5, 8], "a server cannot keep the device busy");
        assert_eq!(with(INFINITE, 5, 6), [0, 0, 0], "for ever");
    }

    #[test]
    fn classless_routes_replace_the_router() {
        let list = [0, 10, 0, 0, 1, 24, 192, 168, 7, 10, 0, 0, 2, 32, 169, 254, 169, 254, 0, 0, 0, 0];
        let lease = lease(&[(Code::Router, &[10, 0, 2, 2]), (Code::ClasslessRoutes, &list)]);
        let shown: Vec<String> = lease.routes.iter().map(|route| format!("{} via {}", route.to, route.via)).collect();
        assert_eq!(shown, ["0.0.0.0/0 via 10.0.0.1", "192.168.7.0/24 via 10.0.0.2", "169.254.169.254/32 via 0.0.0.0"]);
    }

    #[test]
    fn malformed_classless_routes_leave_the_router() {
        for broken in [&[33, 1, 2, 3, 4, 5, 10, 0, 0, 1][..], &[24, 192, 168], &[0, 10, 0, 0]] {
            let lease = lease(&[(Code::Router, &[10, 0, 2, 2]), (Code::ClasslessRoutes, broken)]);
            assert_eq!(lease.routes.len(), 1, "{broken:?}");
            assert_eq!(lease.routes[0].via, Ipv4Addr::new(10, 0, 2, 2));
        }
    }

    #[test]
    fn masks_with_holes_fall_back_to_the_class() {
        let prefix = |mask: &[u8]| lease(&[(Code::SubnetMask, mask)]).address.prefix_len();
        assert_eq!(prefix(&[255, 255, 254, 0]), 23);
        assert_eq!(prefix(&[255, 255, 255, 255]), 32);
        assert_eq!(prefix(&[255, 0, 255, 0]), 8);
        assert_eq!(prefix(&[0, 0, 0, 0]), 8);
        assert_eq!(prefix(&[255]), 8);
    }

    #[test]
    fn nothing_but_names_reaches_the_search_list() {
        let single = |value: &[u8]| lease(&[(Code::DomainName, value)]).search;
        assert_eq!(single(b"a.example b.example"), ["a.example", "b.example"]);
        assert_eq!(single(b"x\nnameserver 6.6.6.6"), ["x", "nameserver", "6.6.6.6"], "words, never lines");
        assert!(single(b"bad;name").is_empty());
        assert!(single(b"").is_empty());
        assert!(single(&[0xff, 0xfe]).is_empty());
    }

    #[test]
    fn search_lists_follow_pointers_backwards_only() {
        let search = |value: &[u8]| lease(&[(Code::DomainSearch, value), (Code::DomainName, b"fallback")]).search;
        assert_eq!(search(b"\x03eng\x07example\x00\x03ops\xc0\x04"), ["eng.example", "ops.example"]);
        assert_eq!(search(b"\xc0\x00"), ["fallback"], "a loop");
        assert_eq!(search(b"\x03eng\xc0\x08\x03ops\x00"), ["fallback"], "forwards");
        assert_eq!(search(b"\x09short"), ["fallback"]);
    }

    #[test]
    fn an_mtu_no_link_can_have_is_ignored() {
        assert_eq!(lease(&[(Code::Mtu, &[0, 68])]).mtu, None);
        assert_eq!(lease(&[(Code::Mtu, &[5])]).mtu, None);
    }
}
