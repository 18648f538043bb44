//! The one interface that is served. It is named by a person: a boot server on the wrong network would offer an operating system to whatever starts
//! there, so nothing is chosen by default.

use std::net::{IpAddr, Ipv4Addr};

use netlink_bindings::{rt_addr, rt_link};
use netlink_socket2::{NetlinkSocket, ReplyError};

/// An interface that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The kernel's number of it.
    index: u32,
    /// Its name.
    pub name: String,
    /// Bytes of a packet.
    pub mtu: u16,
    /// Its IPv4 addresses.
    pub addresses: Vec<Ipv4Addr>,
}

/// What a person said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// Its name.
    pub name: Option<String>,
    /// One of its addresses.
    pub address: Option<Ipv4Addr>,
}

/// The interface that is served, and the address to be reached at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// This server's address on it.
    pub address: Ipv4Addr,
    /// Bytes of a packet.
    pub mtu: u16,
}

/// Why it is not clear where to serve.
#[derive(Debug, thiserror::Error)]
pub enum InterfaceError {
    /// The kernel does not say what there is.
    #[error("cannot list the network interfaces")]
    List(#[source] ReplyError),
    /// Nothing was said.
    #[error("cannot tell which network to serve: name it with --interface; there are {there}")]
    Unsaid {
        /// What there is.
        there: String,
    },
    /// No such interface.
    #[error("cannot serve {wish}: there is no such interface or address; there are {there}")]
    None {
        /// What was said.
        wish: String,
        /// What there is.
        there: String,
    },
    /// It has no address.
    #[error("cannot serve {name}: it has no IPv4 address; give it one")]
    NoAddress {
        /// The interface.
        name: String,
    },
    /// It has several.
    #[error("cannot tell by which address to be reached on {name}: it has {addresses}; choose one with --address")]
    Several {
        /// The interface.
        name: String,
        /// Its addresses.
        addresses: String,
    },
}

/// The interfaces of this network namespace.
///
/// # Errors
/// [`InterfaceError::List`].
pub fn list() -> Result<Vec<Found>, InterfaceError> {
    read().map_err(InterfaceError::List)
}

fn read() -> Result<Vec<Found>, ReplyError> {
    let mut socket = NetlinkSocket::new();
    let mut found = Vec::new();
    let request = rt_link::Request::new().op_getlink_dump(&rt_link::Ifinfomsg::new());
    let mut replies = socket.request(&request)?;
    while let Some((header, attributes)) = replies.recv().transpose()? {
        found.push(Found {
            index: u32::try_from(header.ifi_index).unwrap_or_default(),
            name: attributes.get_ifname()?.to_string_lossy().into_owned(),
            mtu: u16::try_from(attributes.get_mtu()?).unwrap_or(u16::MAX), // a loopback's is 64 KiB
            addresses: Vec::new(),
        });
    }
    drop(replies);
    let request = rt_addr::Request::new().op_getaddr_dump(&rt_addr::Ifaddrmsg::new());
    let mut replies = socket.request(&request)?;
    while let Some((header, attributes)) = replies.recv().transpose()? {
        let own = attributes.get_local().or_else(|_| attributes.get_address());
        if let (Ok(IpAddr::V4(own)), Some(of)) = (own, found.iter_mut().find(|one| one.index == header.ifa_index)) {
            of.addresses.push(own);
        }
    }
    Ok(found)
}

/// The interface that a person means.
///
/// # Errors
/// See [`InterfaceError`].
pub fn choose(found: &[Found], wish: &Wish) -> Result<Interface, InterfaceError> {
    let words = match (&wish.name, wish.address) {
        (None, None) => return Err(InterfaceError::Unsaid { there: describe(found) }),
        (Some(name), None) => name.clone(),
        (None, Some(address)) => address.to_string(),
        (Some(name), Some(address)) => format!("{address} on {name}"),
    };
    let is_it = |one: &&Found| {
        wish.name.as_ref().is_none_or(|name| *name == one.name)
            && wish.address.is_none_or(|address| one.addresses.contains(&address))
    };
    let one = found.iter().find(is_it).ok_or_else(|| InterfaceError::None { wish: words, there: describe(found) })?;
    let address = match (wish.address, &one.addresses[..]) {
        (Some(address), _) => address,
        (None, []) => return Err(InterfaceError::NoAddress { name: one.name.clone() }),
        (None, [only]) => *only,
        (None, several) => {
            let addresses = several.iter().map(Ipv4Addr::to_string).collect::<Vec<_>>().join(", ");
            return Err(InterfaceError::Several { name: one.name.clone(), addresses });
        }
    };
    Ok(Interface { name: one.name.clone(), address, mtu: one.mtu })
}

fn describe(found: &[Found]) -> String {
    let words = found.iter().map(|one| match one.addresses.first() {
        Some(address) => format!("{} ({address})", one.name),
        None => one.name.clone(),
    });
    words.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found() -> Vec<Found> {
        let one = |index, name: &str, last: &[u8]| Found {
            index,
            name: name.into(),
            mtu: 1500,
            addresses: last.iter().map(|last| Ipv4Addr::new(10, 0, 0, *last)).collect(),
        };
        vec![one(1, "lo", &[]), one(2, "eth0", &[1]), one(3, "eth1", &[2, 3])]
    }

    #[test]
    fn only_what_a_person_named_is_served() {
        let address = |last| Some(Ipv4Addr::new(10, 0, 0, last));
        for (name, address, expected) in [
            (Some("eth0"), None, Ok(("eth0", 1))),
            (None, address(3), Ok(("eth1", 3))),
            (Some("eth1"), address(2), Ok(("eth1", 2))),
            (None, None, Err("name it with --interface; there are lo, eth0 (10.0.0.1), eth1 (10.0.0.2)")),
            (Some("eth1"), None, Err("it has 10.0.0.2, 10.0.0.3; choose one")),
            (Some("eth2"), None, Err("there is no such")),
            (Some("eth0"), address(2), Err("10.0.0.2 on eth0: there is no such")),
            (None, address(9), Err("there is no such")),
            (Some("lo"), None, Err("no IPv4 address")),
        ] {
            let wish = Wish { name: name.map(str::to_owned), address };
            match (choose(&found(), &wish), expected) {
                (Ok(chosen), Ok((name, last))) => {
                    assert_eq!((chosen.name.as_str(), chosen.address), (name, Ipv4Addr::new(10, 0, 0, last)));
                }
                (Err(error), Err(words)) => assert!(error.to_string().contains(words), "{error}"),
                (other, expected) => panic!("{other:?} instead of {expected:?}"),
            }
        }
    }

    #[test]
    fn the_kernel_lists_the_loopback() {
        let found = list().expect("listed");
        assert!(found.iter().any(|one| one.name == "lo"), "{found:?}");
    }
}
