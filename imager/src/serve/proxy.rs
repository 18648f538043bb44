//! The proxy DHCP sockets: port 67, where firmware broadcasts its wish, and port 4011, where it asks the server it chose. Decides nothing: a datagram
//! is read, [`Warehouse::answer`] is asked, the answer goes where the protocol says.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;

use tokio::net::UdpSocket;

use super::dhcp::{self, Ask, Request, Say};
use super::warehouse::Warehouse;

/// Where DHCP servers listen.
pub const SERVER_PORT: u16 = 67;
/// Where boot servers listen.
pub const BOOT_PORT: u16 = 4011;
const CLIENT_PORT: u16 = 68;
/// Larger than any datagram on Ethernet.
const MOST_BYTES: usize = 4096;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Port 67: answers discovery with an offer, by broadcast, for who asks has no address yet.
    Discovery,
    /// Port 4011: answers the request of a machine that has an address.
    Boot,
}

/// Answers until the socket fails.
///
/// # Errors
/// The socket cannot be read.
pub async fn run(door: Door, socket: UdpSocket, warehouse: Arc<Warehouse>) -> io::Result<()> {
    let mut buffer = vec![0; MOST_BYTES];
    loop {
        let (length, SocketAddr::V4(from)) = socket.recv_from(&mut buffer).await? else { continue };
        let Some(request) = dhcp::parse(&buffer[..length]) else { continue };
        let Some((say, to)) = route(door, &request, from, warehouse.interface.address) else { continue };
        let Some(boot) = warehouse.answer(&request.client) else { continue };
        let reply = request.reply(say, warehouse.interface.address, &boot);
        // Policy: a datagram that cannot be sent is one that was lost; firmware asks again.
        socket.send_to(&reply, to).await.ok();
    }
}

/// What to say and where to send it; none: it is not ours to answer.
fn route(door: Door, request: &Request, from: SocketAddrV4, own: Ipv4Addr) -> Option<(Say, SocketAddrV4)> {
    match (door, request.ask) {
        (Door::Discovery, Ask::Discover) if !request.relay.is_unspecified() => {
            Some((Say::Offer, SocketAddrV4::new(request.relay, SERVER_PORT)))
        }
        (Door::Discovery, Ask::Discover) => Some((Say::Offer, SocketAddrV4::new(Ipv4Addr::BROADCAST, CLIENT_PORT))),
        // On port 67 a request is for an address, which is the DHCP server's to give.
        (Door::Discovery, Ask::Request) | (Door::Boot, Ask::Discover) => None,
        (Door::Boot, Ask::Request) if request.server.is_some_and(|server| server != own) => None,
        (Door::Boot, Ask::Request) => Some((Say::Ack, from)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::dhcp::testing::{discover, request};
    use super::*;

    const MAC: [u8; 6] = [0x52, 0x54, 0, 0, 0, 1];
    const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

    #[test]
    fn answers_go_where_the_protocol_says() {
        let from: SocketAddrV4 = "10.0.0.7:68".parse().expect("good");
        let broadcast: SocketAddrV4 = "255.255.255.255:68".parse().expect("good");
        let mut relayed = discover(MAC, "PXEClient", 7);
        relayed[24..28].copy_from_slice(&[10, 0, 9, 1]);
        let asks = |server: [u8; 4]| request(MAC, &[(53, &[3]), (60, b"PXEClient"), (54, &server)]);
        for (name, door, packet, expected) in [
            ("discovery", Door::Discovery, discover(MAC, "PXEClient", 7), Some((Say::Offer, broadcast))),
            ("through a relay", Door::Discovery, relayed, Some((Say::Offer, "10.0.9.1:67".parse().expect("good")))),
            ("an address is asked for", Door::Discovery, asks([10, 0, 0, 1]), None),
            ("discovery at the wrong door", Door::Boot, discover(MAC, "PXEClient", 7), None),
            ("the file is asked for", Door::Boot, asks([10, 0, 0, 1]), Some((Say::Ack, from))),
            ("of another server", Door::Boot, asks([10, 0, 0, 2]), None),
        ] {
            let packet = dhcp::parse(&packet).expect("a request");
            assert_eq!(route(door, &packet, from, OWN), expected, "{name}");
        }
    }
}
