//! Routes and addresses as values that can be compared: what is wanted against what is there.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

/// The metric the kernel gives an IPv6 route that names none.
const DEFAULT_IPV6_METRIC: u32 = 1024;

/// An address on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkAddress {
    /// The link's number.
    pub link: u32,
    /// Address with prefix length.
    pub net: IpNet,
}

/// A route of the main table over one link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// The link's number.
    pub link: u32,
    /// Without a gateway: the destination is on the link. Such routes come first, since others may need them.
    pub via: Option<IpAddr>,
    /// Destination, without host bits.
    pub to: IpNet,
    /// Lower wins.
    pub metric: u32,
    /// The address to speak from; none: the kernel chooses.
    pub source: Option<IpAddr>,
    /// The gateway is on the link although no address of the link says so.
    pub onlink: bool,
}

impl Route {
    /// A route as configurations write it.
    pub fn over(link: u32, to: IpNet, via: Option<IpAddr>, metric: Option<u32>) -> Self {
        let default = if to.addr().is_ipv4() { 0 } else { DEFAULT_IPV6_METRIC };
        Self { link, via, to: to.trunc(), metric: metric.unwrap_or(default), source: None, onlink: false }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.to)?;
        if let Some(via) = self.via {
            write!(f, " via {via}")?;
        }
        if self.onlink {
            f.write_str(" onlink")?;
        }
        if let Some(source) = self.source {
            write!(f, " from {source}")?;
        }
        write!(f, " metric {}", self.metric)
    }
}
