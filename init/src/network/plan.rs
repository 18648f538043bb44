//! The network plan: which links come up, with what. Chooses everything and touches nothing.
//!
//! Links have the kernel's names (`eth0`): there is no udev. Where a machine has several ports, a configuration does best to name them by MAC
//! address. A link named outright is configured whatever its sort; a MAC address means wired ports only, because bridges borrow them.

use std::fmt;

use ipnet::IpNet;
use machine_config::schema::{Interface, MachineConfig};

use super::facts::{LinkFacts, LinkKind, mac_text};
use super::route::Route;

/// DHCP routes get this metric plus the link's number: static routes win, and several links do not collide.
const DHCP_METRIC: u32 = 1024;

/// Whether a link is to be up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admin {
    /// Up.
    Up,
    /// Down: the configuration says `ignore`.
    Down,
}

/// What one link is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkPlan {
    /// The kernel's number.
    pub index: u32,
    /// The kernel's name.
    pub name: String,
    /// Up or down.
    pub admin: Admin,
    /// Bytes; none: what DHCP says, else the driver's.
    pub mtu: Option<u32>,
    /// Static addresses.
    pub addresses: Vec<IpNet>,
    /// Static routes.
    pub routes: Vec<Route>,
    /// Ask DHCPv4, and give its routes this metric.
    pub dhcp4: Option<u32>,
}

/// What the network is to be. Links that are not in it are left alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkPlan {
    /// In the kernel's order.
    pub links: Vec<LinkPlan>,
    /// Configured interfaces that no link matches (yet).
    pub missing: Vec<String>,
}

/// Makes the plan. Without a configuration, or with one that names no interface, every wired link asks DHCP.
pub fn plan(facts: &[LinkFacts], config: Option<&MachineConfig>) -> NetworkPlan {
    let interfaces = config.map_or(&[][..], |config| &config.machine.network.interfaces);
    let mut plan = NetworkPlan::default();
    for link in facts.iter().filter(|link| link.kind == LinkKind::Loopback) {
        plan.links.push(bare(link, Admin::Up));
    }
    if interfaces.is_empty() {
        for link in facts.iter().filter(|link| link.kind == LinkKind::Wired) {
            plan.links.push(LinkPlan { dhcp4: Some(DHCP_METRIC + link.index), ..bare(link, Admin::Up) });
        }
    }
    for interface in interfaces {
        // The first entry for a link counts; `semantics` refuses configurations where two would match by name or by MAC.
        let free = |link: &&LinkFacts| plan.links.iter().all(|planned| planned.index != link.index);
        match facts.iter().filter(free).find(|link| matches(interface, link)) {
            Some(link) => plan.links.push(configured(link, interface)),
            None => plan.missing.push(described(interface)),
        }
    }
    plan.links.sort_by_key(|link| link.index);
    plan
}

fn bare(link: &LinkFacts, admin: Admin) -> LinkPlan {
    LinkPlan { index: link.index, name: link.name.clone(), admin, mtu: None, addresses: vec![], routes: vec![], dhcp4: None }
}

fn configured(link: &LinkFacts, interface: &Interface) -> LinkPlan {
    if interface.ignore {
        return bare(link, Admin::Down);
    }
    let route = |route: &machine_config::schema::Route| Route::over(link.index, route.to.net(), Some(route.via), route.metric);
    LinkPlan {
        mtu: interface.mtu,
        addresses: interface.addresses.iter().map(machine_config::types::IpNetwork::net).collect(),
        routes: interface.routes.iter().map(route).collect(),
        dhcp4: interface.dhcp4.then_some(DHCP_METRIC + link.index),
        ..bare(link, Admin::Up)
    }
}

fn matches(interface: &Interface, link: &LinkFacts) -> bool {
    match (&interface.name, &interface.mac) {
        (Some(name), _) => name.as_str() == link.name,
        (None, Some(mac)) => link.kind == LinkKind::Wired && link.mac.is_some_and(|own| mac_text(own) == mac.as_str()),
        (None, None) => false,
    }
}

fn described(interface: &Interface) -> String {
    match (&interface.name, &interface.mac) {
        (Some(name), _) => name.to_string(),
        (None, Some(mac)) => mac.to_string(),
        (None, None) => "an interface without name and mac".to_owned(),
    }
}

/// One line per link, for the log and for golden tests.
impl fmt::Display for NetworkPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for link in &self.links {
            write!(f, "{} {}", link.name, if link.admin == Admin::Up { "up" } else { "down" })?;
            if let Some(mtu) = link.mtu {
                write!(f, " mtu {mtu}")?;
            }
            if let Some(metric) = link.dhcp4 {
                write!(f, " dhcp4 metric {metric}")?;
            }
            for address in &link.addresses {
                write!(f, " address {address}")?;
            }
            for route in &link.routes {
                write!(f, " route {route}")?;
            }
            writeln!(f)?;
        }
        for missing in &self.missing {
            writeln!(f, "{missing} missing")?;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests;
