//! From what is wanted and what is there to the changes between them. Pure.
//!
//! Addresses and routes that init did not set are never touched: container networks put theirs on the same links.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use super::dhcp::Lease;
use super::facts::LinkFacts;
use super::plan::{Admin, LinkPlan, NetworkPlan};
use super::route::{LinkAddress, Route};

/// What the kernel is to have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Desired {
    links: BTreeMap<u32, (Admin, Option<u32>)>,
    addresses: BTreeSet<LinkAddress>,
    routes: BTreeSet<Route>,
}

impl Desired {
    /// The plan, with what DHCP granted so far.
    pub fn new(plan: &NetworkPlan, leases: &BTreeMap<u32, Lease>) -> Self {
        let mut desired = Self::default();
        for link in &plan.links {
            let lease = leases.get(&link.index).zip(link.dhcp4);
            let mtu = link.mtu.or_else(|| lease.and_then(|(lease, _)| lease.mtu).map(u32::from));
            desired.links.insert(link.index, (link.admin, mtu));
            desired.addresses.extend(link.addresses.iter().map(|net| LinkAddress { link: link.index, net: *net }));
            desired.routes.extend(&link.routes);
            if let Some((lease, metric)) = lease {
                desired.addresses.insert(LinkAddress { link: link.index, net: lease.address.into() });
                desired.routes.extend(lease_routes(link, lease, metric));
            }
        }
        desired
    }
}

/// A lease's routes; RFC 3442: a gateway of 0.0.0.0 means "on the link". A gateway outside the lease's network is taken at its word.
fn lease_routes(link: &LinkPlan, lease: &Lease, metric: u32) -> impl Iterator<Item = Route> {
    let (index, address) = (link.index, lease.address);
    lease.routes.iter().map(move |route| {
        let via = (!route.via.is_unspecified()).then_some(IpAddr::V4(route.via));
        let onlink = via.is_some() && !address.contains(&route.via);
        Route { source: Some(address.addr().into()), onlink, ..Route::over(index, route.to.into(), via, Some(metric)) }
    })
}

/// What the kernel has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// All links.
    pub links: Vec<LinkFacts>,
    /// All addresses.
    pub addresses: BTreeSet<LinkAddress>,
    /// All unicast routes of the main table over a single link.
    pub routes: BTreeSet<Route>,
}

/// What init has set, and therefore may take away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owned {
    addresses: BTreeSet<LinkAddress>,
    routes: BTreeSet<Route>,
    /// The MTU a link had before init changed it.
    mtus: BTreeMap<u32, u32>,
}

impl Owned {
    /// Takes up what is wanted and there, forgets what is gone.
    pub fn refresh(&mut self, desired: &Desired, observed: &Observed) {
        self.addresses = self.addresses.union(&desired.addresses).filter(|a| observed.addresses.contains(a)).copied().collect();
        self.routes = self.routes.union(&desired.routes).filter(|r| observed.routes.contains(r)).copied().collect();
        self.mtus.retain(|index, _| observed.links.iter().any(|link| link.index == *index));
        for link in &observed.links {
            if matches!(desired.links.get(&link.index), Some((_, Some(_)))) {
                self.mtus.entry(link.index).or_insert(link.mtu);
            }
        }
    }
}

/// One thing to tell the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Set the MTU.
    Mtu {
        /// The link's number.
        link: u32,
        /// Bytes.
        mtu: u32,
    },
    /// Take a route away.
    RemoveRoute(Route),
    /// Take an address away.
    RemoveAddress(LinkAddress),
    /// Bring a link up or down.
    Admin {
        /// The link's number.
        link: u32,
        /// Up or down.
        admin: Admin,
    },
    /// Give a link an address.
    AddAddress(LinkAddress),
    /// Set a route.
    AddRoute(Route),
}

impl Change {
    /// The number of the link it is about.
    pub fn link(&self) -> u32 {
        match self {
            Self::Mtu { link, .. } | Self::Admin { link, .. } => *link,
            Self::RemoveRoute(route) | Self::AddRoute(route) => route.link,
            Self::RemoveAddress(address) | Self::AddAddress(address) => address.link,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mtu { mtu, .. } => write!(f, "set mtu {mtu}"),
            Self::RemoveRoute(route) => write!(f, "remove route {route}"),
            Self::RemoveAddress(address) => write!(f, "remove address {}", address.net),
            Self::Admin { admin: Admin::Up, .. } => f.write_str("bring the link up"),
            Self::Admin { admin: Admin::Down, .. } => f.write_str("take the link down"),
            Self::AddAddress(address) => write!(f, "add address {}", address.net),
            Self::AddRoute(route) => write!(f, "add route {route}"),
        }
    }
}

/// The changes, in an order the kernel accepts: away with the old, links, then addresses, then routes that need them.
pub fn reconcile(desired: &Desired, observed: &Observed, owned: &Owned) -> Vec<Change> {
    let stale_routes = owned.routes.difference(&desired.routes).filter(|route| observed.routes.contains(route));
    let stale_addresses = owned.addresses.difference(&desired.addresses).filter(|address| observed.addresses.contains(address));
    let mut changes: Vec<Change> = stale_routes.map(|route| Change::RemoveRoute(*route)).collect();
    changes.extend(stale_addresses.map(|address| Change::RemoveAddress(*address)));
    changes.extend(observed.links.iter().flat_map(|link| link_changes(link, desired, owned)));
    let usable =
        |link: u32| matches!(desired.links.get(&link), Some((Admin::Up, _))) && observed.links.iter().any(|l| l.index == link);
    changes.extend(desired.addresses.difference(&observed.addresses).filter(|a| usable(a.link)).map(|a| Change::AddAddress(*a)));
    let mut routes: Vec<&Route> = desired.routes.difference(&observed.routes).filter(|route| usable(route.link)).collect();
    routes.sort_by_key(|route| route.via.is_some());
    changes.extend(routes.into_iter().map(|route| Change::AddRoute(*route)));
    changes
}

fn link_changes(link: &LinkFacts, desired: &Desired, owned: &Owned) -> Vec<Change> {
    let mut changes = Vec::new();
    let original = owned.mtus.get(&link.index).copied();
    let wanted = desired.links.get(&link.index);
    if let Some(mtu) = wanted.and_then(|(_, mtu)| *mtu).or(original).filter(|mtu| *mtu != link.mtu) {
        changes.push(Change::Mtu { link: link.index, mtu });
    }
    match wanted {
        Some((Admin::Up, _)) if !link.up => changes.push(Change::Admin { link: link.index, admin: Admin::Up }),
        Some((Admin::Down, _)) if link.up => changes.push(Change::Admin { link: link.index, admin: Admin::Down }),
        Some((Admin::Up | Admin::Down, _)) | None => {}
    }
    changes
}

/// `eth0 10.0.2.15/24` for every address a person may want to know: not of loopback or container links, not link-local.
pub fn address_lines(observed: &Observed, plan: &NetworkPlan) -> Vec<String> {
    let shown = |link: &&LinkFacts| {
        use super::facts::LinkKind::{Loopback, Other, Wired};
        match link.kind {
            Loopback => false,
            Wired => true,
            Other => plan.links.iter().any(|planned| planned.index == link.index),
        }
    };
    let mut lines = Vec::new();
    for link in observed.links.iter().filter(shown) {
        let own = observed.addresses.iter().filter(|address| address.link == link.index && !is_link_local(address.net));
        lines.extend(own.map(|address| format!("{} {}", link.name, address.net)));
    }
    lines
}

fn is_link_local(net: IpNet) -> bool {
    match net.addr() {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

#[cfg(test)]
pub(super) mod tests;
