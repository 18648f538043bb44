//! Where DHCP messages go out and come in. All answers are taken from a packet socket: it works before the link has an address, and it also hears
//! refusals, which servers broadcast (RFC 2131 section 4.1). Renewals go out through a UDP socket, because the kernel knows the way to the server.
//!
//! It moves bytes; it does not know what they mean.

use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType};
use tokio::io::unix::AsyncFd;
use tokio::net::UdpSocket;

use super::machine::Path;
use super::{CLIENT_PORT, SERVER_PORT, frame};
use crate::sys;

/// Larger than any frame that carries a message we take.
const BUFFER_BYTES: usize = 2048;

const EVERYBODY: [u8; 6] = [0xff; 6];

/// Classic BPF over the IP packet: UDP, not a later fragment, destination port 68. Without it PID 1 would wake for every packet.
const FILTER: [(u16, u8, u8, u32); 9] = [
    (0x30, 0, 0, 9),      // ldb [9]: protocol
    (0x15, 0, 6, 17),     // jeq UDP, else drop
    (0x28, 0, 0, 6),      // ldh [6]: flags and fragment offset
    (0x45, 4, 0, 0x1fff), // jset offset: drop
    (0xb1, 0, 0, 0),      // ldxb 4*([0]&0xf): header length
    (0x48, 0, 0, 2),      // ldh [x+2]: destination port
    (0x15, 0, 1, 68),     // jeq 68, else drop
    (0x06, 0, 0, 0xffff), // accept
    (0x06, 0, 0, 0),      // drop
];

/// The link a client works on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number of it.
    pub index: u32,
    /// The kernel's name of it.
    pub name: String,
}

/// An open way to the servers. Closed when dropped.
#[derive(Debug)]
pub(super) struct Channel {
    link: Link,
    path: Path,
    packets: AsyncFd<OwnedFd>,
    /// For renewals; it is never read, but while it is open the kernel does not tell the server that nobody listens.
    udp: Option<UdpSocket>,
}

impl Channel {
    /// Opens the way on one link.
    pub(super) async fn open(link: &Link, path: Path) -> io::Result<Self> {
        let packets = packet_socket(link)?;
        let udp = match path {
            Path::Broadcast => None,
            Path::Unicast { from, to } => {
                let socket = UdpSocket::bind((from, CLIENT_PORT)).await?;
                socket.bind_device(Some(link.name.as_bytes()))?;
                socket.connect((to, SERVER_PORT)).await?;
                Some(socket)
            }
        };
        Ok(Self { link: link.clone(), path, packets, udp })
    }

    /// The way this is.
    pub(super) fn path(&self) -> Path {
        self.path
    }

    /// Sends one message; `source` is the client's address, unspecified while it has none.
    pub(super) async fn send(&self, source: Ipv4Addr, message: &[u8]) -> io::Result<()> {
        match &self.udp {
            Some(udp) => udp.send(message).await.map(drop),
            None => {
                let packet = frame::encode(source, message).ok_or(io::ErrorKind::InvalidInput)?;
                sys::send_to_link(&self.packets, self.link.index, EVERYBODY, &packet).map(drop)
            }
        }
    }

    /// Waits for the next datagram to the client's port and hands its payload to `read`; `None` when it was something else.
    pub(super) async fn receive<T>(&self, read: impl Fn(&[u8]) -> Option<T>) -> io::Result<Option<T>> {
        let mut buffer = [0; BUFFER_BYTES];
        loop {
            let mut ready = self.packets.readable().await?;
            let received = ready.try_io(|fd| Ok(rustix::net::recv(fd, &mut buffer[..], RecvFlags::empty())?.1));
            if let Ok(received) = received {
                let bytes = received?.min(BUFFER_BYTES);
                return Ok(frame::decode(&buffer[..bytes]).and_then(read));
            }
        }
    }
}

fn packet_socket(link: &Link) -> io::Result<AsyncFd<OwnedFd>> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    // Protocol 0 delivers nothing until bind: no packet slips in before the filter stands.
    let fd = rustix::net::socket_with(AddressFamily::PACKET, SocketType::DGRAM, flags, None)?;
    sys::attach_filter(&fd, &FILTER)?;
    sys::bind_packet_socket(&fd, link.index)?;
    sys::async_fd(fd)
}

/// Names the receiver in messages.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broadcast => f.write_str("everybody on the link"),
            Self::Unicast { to, .. } => to.fmt(f),
        }
    }
}
