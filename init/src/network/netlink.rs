//! The kernel's routing socket: reads links, addresses and routes, carries out one change at a time. Decides nothing.
//!
//! The kernel answers a request before `send` returns, so the calls are synchronous and never wait for anybody else.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use netlink_bindings::{rt_addr, rt_link, rt_route};
use netlink_socket2::{NetlinkSocket, ReplyError};

use super::facts::{LinkFacts, LinkKind};
use super::plan::Admin;
use super::reconcile::{Change, Observed};
use super::route::{LinkAddress, Route};

/// The kernel has a carrier (IFF_LOWER_UP, linux/if.h); libc knows it as a signed constant of another width.
const LOWER_UP: u32 = 1 << 16;

/// Administratively up (IFF_UP).
const UP: u32 = 1;

/// RTNH_F_ONLINK.
const ONLINK: u32 = 4;

/// RTA_TABLE's value for the main table, as it stands in the message header.
const MAIN_TABLE: u8 = libc::RT_TABLE_MAIN;

/// Why the kernel's state cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the kernel's {what}")]
pub struct ObserveError {
    /// Links, addresses or routes.
    what: &'static str,
    /// Why.
    source: ReplyError,
}

/// An open routing socket.
pub struct Netlink {
    socket: NetlinkSocket,
    sys: PathBuf,
}

impl Netlink {
    /// Opens the socket on first use; `sys` is where sysfs is mounted.
    pub fn new(sys: &Path) -> Self {
        Self { socket: NetlinkSocket::new(), sys: sys.to_owned() }
    }

    /// All the planner and the reconciler need to know.
    pub fn observe(&mut self) -> Result<Observed, ObserveError> {
        Ok(Observed {
            links: self.links().map_err(|source| ObserveError { what: "links", source })?,
            addresses: self.addresses().map_err(|source| ObserveError { what: "addresses", source })?.into_iter().collect(),
            routes: self.routes().map_err(|source| ObserveError { what: "routes", source })?.into_iter().collect(),
        })
    }

    fn links(&mut self) -> Result<Vec<LinkFacts>, ReplyError> {
        let request = rt_link::Request::new().op_getlink_dump(&rt_link::Ifinfomsg::new());
        let mut replies = self.socket.request(&request)?;
        let mut links = Vec::new();
        while let Some((header, attributes)) = replies.recv().transpose()? {
            let name = attributes.get_ifname()?.to_string_lossy().into_owned();
            links.push(LinkFacts {
                index: u32::try_from(header.ifi_index).unwrap_or_default(),
                kind: LinkKind::of(&self.sys, &name),
                name,
                mac: attributes.get_address().ok().and_then(|bytes| bytes.try_into().ok()),
                up: header.ifi_flags & UP != 0,
                carrier: header.ifi_flags & LOWER_UP != 0,
                mtu: attributes.get_mtu()?,
            });
        }
        links.sort_by_key(|link| link.index);
        Ok(links)
    }

    fn addresses(&mut self) -> Result<Vec<LinkAddress>, ReplyError> {
        let request = rt_addr::Request::new().op_getaddr_dump(&rt_addr::Ifaddrmsg::new());
        let mut replies = self.socket.request(&request)?;
        let mut addresses = Vec::new();
        while let Some((header, attributes)) = replies.recv().transpose()? {
            // IFA_LOCAL is the own address; IPv6 has only IFA_ADDRESS, which on point-to-point links is the peer's.
            let own = attributes.get_local().or_else(|_| attributes.get_address());
            if let Some(net) = own.ok().and_then(|own| IpNet::new(own, header.ifa_prefixlen).ok()) {
                addresses.push(LinkAddress { link: header.ifa_index, net });
            }
        }
        Ok(addresses)
    }

    fn routes(&mut self) -> Result<Vec<Route>, ReplyError> {
        let request = rt_route::Request::new().op_getroute_dump(&rt_route::Rtmsg::new());
        let mut replies = self.socket.request(&request)?;
        let mut routes = Vec::new();
        while let Some((header, attributes)) = replies.recv().transpose()? {
            if header.rtm_table == MAIN_TABLE && header.rtm_type == libc::RTN_UNICAST {
                routes.extend(route(&header, &attributes));
            }
        }
        Ok(routes)
    }

    /// Carries out one change. What is already so is no error.
    pub fn apply(&mut self, change: &Change) -> io::Result<()> {
        let result = match change {
            Change::Mtu { link, mtu } => self.set_link(*link, 0, Some(*mtu)),
            Change::Admin { link, admin: Admin::Up } => self.set_link(*link, UP, None),
            Change::Admin { link, admin: Admin::Down } => self.set_link(*link, 0, None),
            Change::AddAddress(address) => self.add_address(address),
            Change::RemoveAddress(address) => self.remove_address(address),
            Change::AddRoute(route) => self.add_route(route),
            Change::RemoveRoute(route) => self.remove_route(route),
        };
        result.or_else(|error| {
            let done = match change {
                Change::AddAddress(_) | Change::AddRoute(_) => Some(libc::EEXIST),
                Change::RemoveAddress(_) => Some(libc::EADDRNOTAVAIL),
                Change::RemoveRoute(_) => Some(libc::ESRCH),
                Change::Mtu { .. } | Change::Admin { .. } => None,
            };
            // Error numbers are for the comparison; the text with the kernel's own explanation is for people.
            if done.is_some() && error.as_io_error().raw_os_error() == done {
                Ok(())
            } else {
                Err(io::Error::other(error.to_string()))
            }
        })
    }

    fn set_link(&mut self, link: u32, flags: u32, mtu: Option<u32>) -> Result<(), ReplyError> {
        let header = rt_link::Ifinfomsg {
            ifi_index: index(link)?,
            ifi_flags: flags,
            ifi_change: if mtu.is_none() { UP } else { 0 },
            ..rt_link::Ifinfomsg::new()
        };
        let mut request = rt_link::Request::new().op_setlink_do(&header);
        if let Some(mtu) = mtu {
            request.encode().push_mtu(mtu);
        }
        self.socket.request(&request)?.recv_ack()
    }

    fn add_address(&mut self, address: &LinkAddress) -> Result<(), ReplyError> {
        let mut request = rt_addr::Request::new().set_create().set_excl().op_newaddr_do(&address_header(address));
        let own = address.net.addr();
        let mut encoder = request.encode().push_local(own).push_address(own);
        // As `ip address add … brd +` does; networks of one or two addresses have no broadcast address.
        if let IpNet::V4(net) = address.net
            && net.prefix_len() < 31
        {
            encoder = encoder.push_broadcast(net.broadcast());
        }
        drop(encoder);
        self.socket.request(&request)?.recv_ack()
    }

    fn remove_address(&mut self, address: &LinkAddress) -> Result<(), ReplyError> {
        let mut request = rt_addr::Request::new().op_deladdr_do(&address_header(address));
        request.encode().push_local(address.net.addr()).push_address(address.net.addr());
        self.socket.request(&request)?.recv_ack()
    }

    fn add_route(&mut self, route: &Route) -> Result<(), ReplyError> {
        let mut request = rt_route::Request::new().set_create().set_excl().op_newroute_do(&route_header(route));
        push_route(request.encode(), route);
        self.socket.request(&request)?.recv_ack()
    }

    fn remove_route(&mut self, route: &Route) -> Result<(), ReplyError> {
        let mut request = rt_route::Request::new().op_delroute_do(&route_header(route));
        push_route(request.encode(), route);
        self.socket.request(&request)?.recv_ack()
    }
}

fn index(link: u32) -> io::Result<i32> {
    i32::try_from(link).map_err(|_| io::ErrorKind::InvalidInput.into())
}

fn family(address: IpAddr) -> u8 {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    u8::try_from(family).expect("small constants")
}

fn address_header(address: &LinkAddress) -> rt_addr::Ifaddrmsg {
    rt_addr::Ifaddrmsg {
        ifa_family: family(address.net.addr()),
        ifa_prefixlen: address.net.prefix_len(),
        ifa_index: address.link,
        ..rt_addr::Ifaddrmsg::new()
    }
}

fn route_header(route: &Route) -> rt_route::Rtmsg {
    rt_route::Rtmsg {
        rtm_family: family(route.to.addr()),
        rtm_dst_len: route.to.prefix_len(),
        rtm_table: MAIN_TABLE,
        rtm_protocol: libc::RTPROT_STATIC,
        rtm_scope: if route.via.is_none() && route.to.addr().is_ipv4() { libc::RT_SCOPE_LINK } else { libc::RT_SCOPE_UNIVERSE },
        rtm_type: libc::RTN_UNICAST,
        rtm_flags: if route.onlink { ONLINK } else { 0 },
        ..rt_route::Rtmsg::new()
    }
}

fn push_route<P: netlink_bindings::traits::Pusher>(encoder: rt_route::PushRouteAttrs<P>, route: &Route) {
    let mut encoder = encoder.push_oif(route.link).push_priority(route.metric);
    if route.to.prefix_len() > 0 {
        encoder = encoder.push_dst(route.to.addr());
    }
    if let Some(via) = route.via {
        encoder = encoder.push_gateway(via);
    }
    if let Some(source) = route.source {
        encoder = encoder.push_prefsrc(source);
    }
    drop(encoder);
}

/// A route over a single link; none for what init could not have set (several next hops, no link).
fn route(header: &rt_route::Rtmsg, attributes: &rt_route::IterableRouteAttrs<'_>) -> Option<Route> {
    let unspecified = match i32::from(header.rtm_family) {
        libc::AF_INET => IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
        libc::AF_INET6 => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    Some(Route {
        link: attributes.get_oif().ok()?,
        via: attributes.get_gateway().ok(),
        to: IpNet::new(attributes.get_dst().unwrap_or(unspecified), header.rtm_dst_len).ok()?,
        metric: attributes.get_priority().unwrap_or(0),
        source: attributes.get_prefsrc().ok(),
        onlink: header.rtm_flags & ONLINK != 0,
    })
}
