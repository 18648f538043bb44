//! Opens the sockets, all on the one interface, and runs the servers until one of them fails or somebody ends the program.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;

use super::event::Event;
use super::http;
use super::interface::Interface;
use super::proxy::{self, Door};
use super::tftp;
use super::warehouse::Warehouse;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;

/// A socket cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open {what}: ports below 1024 need root, and no other server may have them on this interface")]
pub struct SocketError {
    /// Which.
    pub what: String,
    /// Why.
    pub source: io::Error,
}

/// A server ended.
#[derive(Debug, thiserror::Error)]
#[error("cannot go on serving {what}")]
pub struct ServeError {
    what: &'static str,
    source: io::Error,
}

/// All sockets, open.
#[derive(Debug)]
pub struct Sockets {
    discovery: UdpSocket,
    boot: UdpSocket,
    tftp: UdpSocket,
    http: TcpListener,
}

impl Sockets {
    /// Opens them on an interface. Call it inside the runtime that will serve.
    ///
    /// # Errors
    /// See [`SocketError`].
    pub fn open(interface: &Interface, http_port: u16) -> Result<Self, SocketError> {
        let (name, own) = (&interface.name, interface.address);
        // Broadcasts reach only a socket without an address; the interface bounds it all the same.
        let any = |port| udp(name, SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port));
        Ok(Self {
            discovery: any(proxy::SERVER_PORT)?,
            boot: udp(name, SocketAddrV4::new(own, proxy::BOOT_PORT))?,
            tftp: udp(name, SocketAddrV4::new(own, tftp::server::PORT))?,
            http: tcp(name, SocketAddrV4::new(own, http_port))?,
        })
    }

    /// The port of HTTP: what was asked for, or the one the system chose for 0.
    ///
    /// # Errors
    /// The system does not say.
    pub fn http_port(&self) -> io::Result<u16> {
        Ok(self.http.local_addr()?.port())
    }
}

/// A UDP socket on one interface.
///
/// # Errors
/// See [`SocketError`].
pub fn udp(interface: &str, address: SocketAddrV4) -> Result<UdpSocket, SocketError> {
    let open = || {
        let socket = bound(Type::DGRAM, Protocol::UDP, interface, address)?;
        socket.set_broadcast(true)?;
        UdpSocket::from_std(socket.into())
    };
    open().map_err(|source| SocketError { what: format!("UDP port {} on {interface}", address.port()), source })
}

fn tcp(interface: &str, address: SocketAddrV4) -> Result<TcpListener, SocketError> {
    let open = || {
        let socket = bound(Type::STREAM, Protocol::TCP, interface, address)?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    open().map_err(|source| SocketError { what: format!("TCP port {} on {interface}", address.port()), source })
}

fn bound(kind: Type, protocol: Protocol, interface: &str, address: SocketAddrV4) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, kind, Some(protocol))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(kind == Type::STREAM)?; // a restarted server waits for no old connection
    socket.bind_device(Some(interface.as_bytes()))?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Serves until something fails or `ended` completes.
///
/// # Errors
/// See [`ServeError`].
pub async fn run(sockets: Sockets, warehouse: Arc<Warehouse>, ended: impl Future<Output = ()>) -> Result<(), ServeError> {
    let Sockets { discovery, boot, tftp, http } = sockets;
    let mut servers = JoinSet::new();
    let failed = |what| move |result: io::Result<()>| result.map_err(|source| ServeError { what, source });
    let shared = || warehouse.clone();
    let (one, two, three, four) = (shared(), shared(), shared(), shared());
    servers.spawn(async move { failed("DHCP")(proxy::run(Door::Discovery, discovery, one).await) });
    servers.spawn(async move { failed("boot requests")(proxy::run(Door::Boot, boot, two).await) });
    servers.spawn(async move { failed("TFTP")(tftp::server::run(tftp, three).await) });
    servers.spawn(async move { failed("HTTP")(http::server::run(http, four).await) });
    let interface = &warehouse.interface;
    warehouse.tell(Event::Listening {
        interface: interface.name.clone(),
        address: interface.address,
        http_port: warehouse.settings().http_port,
        machines: warehouse.stock().machines().len(),
    });
    tokio::select! {
        Some(first) = servers.join_next() => first.expect("a server neither panics nor is ended by another"),
        () = ended => Ok(()),
    }
}
