//! The network: links, addresses, routes, DHCP, name resolution.
//!
//! `plan` chooses, `reconcile` finds what differs, `netlink` tells the kernel, and one task (`manager`) goes round between them whenever a link,
//! a lease or the configuration changes. Nothing here ever blocks the boot: [`start`] returns at once and the rest happens behind it.

pub mod dhcp;
mod facts;
mod files;
mod manager;
mod monitor;
mod names;
mod netlink;
mod plan;
mod reconcile;
mod report;
mod route;

pub use facts::{LinkFacts, LinkKind, mac_text};
pub use files::NamesError;
pub use manager::{NetworkHandle, Settings, start};
pub use names::{Names, hostname};
pub use netlink::{Netlink, ObserveError};
pub use plan::{Admin, LinkPlan, NetworkPlan, plan};
pub use reconcile::{Change, Desired, Observed, Owned, address_lines, reconcile};
pub use route::{LinkAddress, Route};

#[cfg(test)]
mod netns;

/// A configuration for the tests of others.
#[cfg(test)]
pub(crate) mod tests {
    pub(crate) use super::plan::tests::config;
}
