//! The network: links, addresses, routes, DHCP, name resolution.

pub mod dhcp;
mod facts;
mod monitor;
mod netlink;
mod plan;
mod reconcile;
mod route;

pub use facts::{LinkFacts, LinkKind, mac_text};
pub use plan::{Admin, LinkPlan, NetworkPlan, plan};
pub use reconcile::{Change, Desired, Observed, Owned, address_lines, reconcile};
pub use route::{LinkAddress, Route};
