//! Links, addresses, routes, name resolution.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use super::{Findings, Problem};
use crate::limits;
use crate::schema::{Interface, Network, Route};

/// Names that always mean this machine.
const OWN_NAMES: [&str; 2] = ["localhost", "localhost.localdomain"];

/// Every rule about `machine.network`.
pub(super) fn check(network: &Network, findings: &mut Findings) {
    const PATH: &str = "machine.network";
    for (index, interface) in network.interfaces.iter().enumerate() {
        link(&format!("{PATH}.interfaces[{index}]"), interface, findings);
    }
    links_differ(&network.interfaces, findings);
    for (index, server) in network.nameservers.iter().enumerate() {
        host_address(&format!("{PATH}.nameservers[{index}]"), *server, findings);
    }
    findings.add_repeated(&format!("{PATH}.nameservers"), &network.nameservers);
    findings.add_repeated(&format!("{PATH}.search"), &network.search);
    for (address, names) in &network.hosts {
        let path = crate::path::join(&format!("{PATH}.hosts"), &address.to_string());
        findings.add_if(names.is_empty(), &path, Problem::Pointless { reason: "it lists no name" });
        findings.add_repeated(&path, names);
        for name in names.iter().filter(|name| OWN_NAMES.contains(&name.as_str())) {
            findings.add(&path, Problem::Reserved { name: name.to_string(), reason: "always means this machine" });
        }
    }
}

fn link(path: &str, link: &Interface, findings: &mut Findings) {
    let Interface { name, mac, dhcp4, addresses, routes, mtu, ignore } = link;
    findings.add_if(name.is_some() == mac.is_some(), path, Problem::NameOrMac);
    if name.as_ref().is_some_and(|name| name.as_str() == "lo") {
        findings.add(format!("{path}.name"), Problem::Reserved { name: "lo".into(), reason: "is the system's own" });
    }
    let settings = *dhcp4 || !addresses.is_empty() || !routes.is_empty() || mtu.is_some();
    findings.add_if(*ignore && settings, &format!("{path}.ignore"), Problem::IgnoredWithSettings);
    for (index, address) in addresses.iter().enumerate() {
        let path = format!("{path}.addresses[{index}]");
        host_address(&path, address.net().addr(), findings);
        not_the_networks_own(&path, address.net(), findings);
    }
    for (index, route) in routes.iter().enumerate() {
        self::route(&format!("{path}.routes[{index}]"), route, link, findings);
    }
    let destinations: Vec<String> =
        routes.iter().map(|route| format!("{} metric {}", route.to, route.metric.unwrap_or(0))).collect();
    findings.add_repeated(&format!("{path}.routes"), &destinations);
    if let Some(mtu) = mtu {
        let v6 = addresses.iter().any(|address| address.net().addr().is_ipv6());
        let bounds = if v6 { limits::IPV6_MTU_BYTES } else { limits::MTU_BYTES };
        range(&format!("{path}.mtu"), *mtu, &bounds, "bytes", findings);
    }
}

/// Adds a finding when a number is outside of its range.
pub(super) fn range<T: Copy + PartialOrd + Into<u64>>(
    path: &str,
    value: T,
    bounds: &RangeInclusive<T>,
    unit: &'static str,
    findings: &mut Findings,
) {
    let (min, max) = ((*bounds.start()).into(), (*bounds.end()).into());
    findings.add_if(!bounds.contains(&value), path, Problem::OutOfRange { value: value.into(), min, max, unit });
}

fn route(path: &str, route: &Route, link: &Interface, findings: &mut Findings) {
    let Route { to, via, metric: _ } = route;
    network_address(&format!("{path}.to"), to.net(), findings);
    host_address(&format!("{path}.via"), *via, findings);
    if to.net().addr().is_ipv4() != via.is_ipv4() {
        findings.add(path, Problem::FamilyMismatch);
        return;
    }
    let on_link = link.addresses.iter().any(|address| address.net().contains(via));
    // A link with DHCP learns its network later; IPv6 gateways may be link-local.
    let may_be = (link.dhcp4 && via.is_ipv4()) || matches!(via, IpAddr::V6(via) if via.is_unicast_link_local());
    findings.add_if(!on_link && !may_be, &format!("{path}.via"), Problem::GatewayUnreachable { via: *via });
    let own = link.addresses.iter().any(|address| address.net().addr() == *via);
    let reason = "the link's own address, not a gateway's";
    findings.add_if(own, &format!("{path}.via"), Problem::Unusable { address: *via, reason });
}

/// Adds a finding when bits are set behind the prefix.
pub(super) fn network_address(path: &str, net: ipnet::IpNet, findings: &mut Findings) {
    let network = net.trunc();
    let problem = Problem::HostBits { written: net.to_string(), network: network.to_string() };
    findings.add_if(network != net, path, problem);
}

fn host_address(path: &str, address: IpAddr, findings: &mut Findings) {
    let reason = match address {
        _ if address.is_unspecified() => "no address: it means any",
        _ if address.is_multicast() => "a multicast address",
        _ if address.is_loopback() => "a loopback address, which the system has already",
        IpAddr::V4(v4) if v4.is_broadcast() => "the broadcast address",
        IpAddr::V4(_) | IpAddr::V6(_) => return,
    };
    findings.add(path, Problem::Unusable { address, reason });
}

/// In IPv4 networks larger than /31, the first and the last address are no host's (RFC 3021).
fn not_the_networks_own(path: &str, net: ipnet::IpNet, findings: &mut Findings) {
    let address = net.addr();
    if !address.is_ipv4() || net.prefix_len() >= 31 {
        return;
    }
    let network = Problem::Unusable { address, reason: "the network's own address; choose a host's" };
    findings.add_if(address == net.network(), path, network);
    let broadcast = Problem::Unusable { address, reason: "the network's broadcast address; choose a host's" };
    findings.add_if(address == net.broadcast(), path, broadcast);
}

/// No link and no address twice.
fn links_differ(links: &[Interface], findings: &mut Findings) {
    let mut names: Vec<(String, String)> = Vec::new();
    for (index, link) in links.iter().enumerate() {
        let path = format!("machine.network.interfaces[{index}]");
        let name = link.name.iter().map(|name| (name.to_string(), format!("{path}.name")));
        let mac = link.mac.iter().map(|mac| (mac.to_string(), format!("{path}.mac")));
        let addresses = link.addresses.iter().enumerate();
        let addresses =
            addresses.map(|(index, address)| (address.net().addr().to_string(), format!("{path}.addresses[{index}]")));
        for (what, path) in name.chain(mac).chain(addresses) {
            match names.iter().find(|(earlier, _)| *earlier == what) {
                Some((_, first)) => findings.add(path, Problem::Twice { what, first: first.clone() }),
                None => names.push((what, path)),
            }
        }
    }
}
