//! The kernel's announcements: says that something about a link, its addresses or routes has changed, not what.
//!
//! The manager then looks for itself. An announcement lost to a full buffer counts as one about everything.

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, netlink};
use tokio::io::unix::AsyncFd;

use crate::sys;

/// Holds any announcement of one link; longer ones are cut, which does no harm.
const BUFFER_BYTES: usize = 8192;

/// Bytes of a message header (linux/netlink.h).
const HEADER_BYTES: usize = 16;

/// RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_IFADDR. IPv6 routes are left out: the kernel makes its own all the time.
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100;

const NEW_LINK: u16 = 16;
const DELETE_LINK: u16 = 17;
const NEW_ADDRESS: u16 = 20;
const DELETE_ADDRESS: u16 = 21;
const DELETE_ROUTE: u16 = 25;

/// What an announcement is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Announcement {
    /// A link appeared, changed or vanished.
    Link(u32),
    /// A link's addresses changed.
    Address(u32),
    /// A route went away; which, the manager finds out.
    RouteGone,
    /// Announcements were lost.
    Lost,
}

/// The socket that hears them.
#[derive(Debug)]
pub(super) struct Monitor(AsyncFd<OwnedFd>);

impl Monitor {
    /// Begins to listen.
    pub(super) fn open() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        // No protocol means NETLINK_ROUTE, whose number is 0.
        let fd = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        rustix::net::bind(&fd, &netlink::SocketAddrNetlink::new(0, GROUPS))?;
        Ok(Self(sys::async_fd(fd)?))
    }

    /// Waits for the next announcements; there may be several at once, or none that matter.
    pub(super) async fn next(&self) -> io::Result<Vec<Announcement>> {
        let mut buffer = [0; BUFFER_BYTES];
        loop {
            let mut ready = self.0.readable().await?;
            let received = ready.try_io(|fd| Ok(rustix::net::recvfrom(fd, &mut buffer[..], RecvFlags::empty())?));
            match received {
                Ok(Ok((bytes, _, sender))) => {
                    let kernel =
                        sender.and_then(|sender| netlink::SocketAddrNetlink::try_from(sender).ok()).is_some_and(|s| s.pid() == 0);
                    return Ok(if kernel { parse(&buffer[..bytes]) } else { vec![] });
                }
                Ok(Err(error)) if error.raw_os_error() == Some(libc::ENOBUFS) => return Ok(vec![Announcement::Lost]),
                Ok(Err(error)) => return Err(error),
                Err(_not_ready) => {}
            }
        }
    }
}

/// Walks the messages of one datagram. The number of the link stands at the same place in link and address messages.
fn parse(mut datagram: &[u8]) -> Vec<Announcement> {
    let mut announcements = Vec::new();
    while let Some((header, _)) = datagram.split_at_checked(HEADER_BYTES) {
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let link = datagram.get(20..24).map_or(0, |b| u32::from_ne_bytes([b[0], b[1], b[2], b[3]]));
        match u16::from_ne_bytes([header[4], header[5]]) {
            NEW_LINK | DELETE_LINK => announcements.push(Announcement::Link(link)),
            NEW_ADDRESS | DELETE_ADDRESS => announcements.push(Announcement::Address(link)),
            DELETE_ROUTE => announcements.push(Announcement::RouteGone),
            _ => {}
        }
        // Messages are aligned to four bytes; one shorter than its own header would never end the walk.
        let next = length.max(HEADER_BYTES).next_multiple_of(4);
        datagram = datagram.get(next..).unwrap_or_default();
    }
    announcements
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, link: u32, padding: usize) -> Vec<u8> {
        let mut bytes = vec![0; 24 + padding];
        let length = u32::try_from(bytes.len()).expect("short");
        bytes[..4].copy_from_slice(&length.to_ne_bytes());
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[20..24].copy_from_slice(&link.to_ne_bytes());
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn several_messages_in_one_datagram() {
        let datagram =
            [message(NEW_LINK, 2, 5), message(24, 0, 0), message(DELETE_ADDRESS, 3, 0), message(DELETE_ROUTE, 9, 0)].concat();
        assert_eq!(parse(&datagram), [Announcement::Link(2), Announcement::Address(3), Announcement::RouteGone]);
    }

    #[test]
    fn a_damaged_datagram_ends_the_walk() {
        assert_eq!(parse(&[]), []);
        assert_eq!(parse(&[0; 15]), []);
        let mut zero_length = message(NEW_LINK, 2, 0);
        zero_length[..4].fill(0);
        assert!(parse(&zero_length).len() <= 2);
        let mut too_long = message(NEW_LINK, 2, 0);
        too_long[..4].fill(0xff);
        assert_eq!(parse(&too_long), [Announcement::Link(2)]);
    }

    #[tokio::test]
    async fn the_socket_opens_without_privileges() {
        assert!(Monitor::open().is_ok());
    }
}
