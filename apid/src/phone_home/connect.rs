//! From an address of the hub to a TLS channel with it: name, TCP, perhaps a proxy, the pinned key. Every step is bounded in time, and what
//! failed is told apart, because whoever reads it stands before a device without a screen.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::proxy::{self, ProxyError};
use super::settings::{Address, Target};
use super::tls::{self, TlsError};

/// Time for a name's resolution.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(20);
/// Time for one TCP connection.
const TCP_TIMEOUT: Duration = Duration::from_secs(10);
/// Addresses of one name that are tried.
const MAX_ADDRESSES: usize = 4;
/// Bytes sent and not acknowledged for this long: the other side is gone.
const USER_TIMEOUT: Duration = Duration::from_secs(60);
/// Heartbeats come sooner than this unless the hub asks for fewer: then the kernel looks whether the other side is there.
const KEEPALIVE: Duration = Duration::from_secs(200);
/// Bytes that wait in the kernel: a heartbeat must not stand behind a minute of logs on a slow line.
const NOT_SENT: u32 = 16 << 10;

/// A connection that bytes go over.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A way to the network.
pub trait Dial: Send + Sync + 'static {
    /// Connects to an address.
    fn dial(&self, address: &Address) -> impl Future<Output = Result<Box<dyn Io>, DialError>> + Send;
}

/// A TLS channel with the hub.
pub(super) struct Channel {
    /// The channel.
    pub(super) stream: TlsStream<Box<dyn Io>>,
    /// What ties a proof to it.
    pub(super) exporter: [u8; api::hub::EXPORTER_BYTES],
}

/// Why nothing answers at an address.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// DNS says no.
    #[error("its name cannot be resolved: is DNS configured and reachable?")]
    Resolve(#[source] io::Error),
    /// DNS says nothing.
    #[error("its name was not resolved within {} s: does the DNS server answer?", RESOLVE_TIMEOUT.as_secs())]
    ResolveTimedOut,
    /// DNS knows the name and no address.
    #[error("its name has no address")]
    NoAddress,
    /// Nobody listens.
    #[error("{address} refuses the connection: does the service run there?")]
    Refused {
        /// With port.
        address: SocketAddr,
    },
    /// No answer.
    #[error("{address} does not answer: does a firewall drop it?")]
    TimedOut {
        /// With port.
        address: SocketAddr,
    },
    /// No way there, or another error of the network.
    #[error("{address} cannot be reached")]
    Network {
        /// With port.
        address: SocketAddr,
        /// The kernel's words.
        source: io::Error,
    },
}

/// Why there is no channel with the hub.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Not reached.
    #[error("cannot reach the hub")]
    Dial(#[source] DialError),
    /// The proxy was not reached.
    #[error("cannot reach the proxy {proxy}")]
    DialProxy {
        /// With port.
        proxy: String,
        /// Why.
        source: DialError,
    },
    /// No TLS with the proxy.
    #[error("cannot speak TLS with the proxy {proxy}")]
    ProxyTls {
        /// With port.
        proxy: String,
        /// Why.
        source: TlsError,
    },
    /// The proxy does not connect.
    #[error("the proxy {proxy} does not connect to the hub")]
    Proxy {
        /// With port.
        proxy: String,
        /// Why.
        source: ProxyError,
    },
    /// No TLS with the hub.
    #[error("cannot speak TLS with the hub")]
    Tls(#[source] TlsError),
    /// No exporter: nothing to tie a proof to.
    #[error("cannot tie a proof to the TLS channel")]
    Exporter(#[source] rustls::Error),
}

/// Opens a channel with the hub at one of its addresses.
pub(super) async fn connect<D: Dial>(dial: &D, target: &Target, address: &Address) -> Result<Channel, ConnectError> {
    let stream = match &target.proxy {
        None => dial.dial(address).await.map_err(ConnectError::Dial)?,
        Some(proxy) => through(dial, proxy, address).await?,
    };
    let handshake = tls::handshake(stream, &address.host, target.pin, Some(api::hub::DEVICE_ALPN));
    let stream = handshake.await.map_err(ConnectError::Tls)?;
    let exporter = stream.get_ref().1.export_keying_material([0; api::hub::EXPORTER_BYTES], api::hub::EXPORTER_LABEL, None);
    Ok(Channel { exporter: exporter.map_err(ConnectError::Exporter)?, stream })
}

async fn through<D: Dial>(dial: &D, proxy: &super::Proxy, address: &Address) -> Result<Box<dyn Io>, ConnectError> {
    let name = || proxy.address.authority();
    let stream = dial.dial(&proxy.address).await.map_err(|source| ConnectError::DialProxy { proxy: name(), source })?;
    let mut stream: Box<dyn Io> = match proxy.tls {
        None => stream,
        Some(pin) => {
            let handshake = tls::handshake(stream, &proxy.address.host, pin, None);
            Box::new(handshake.await.map_err(|source| ConnectError::ProxyTls { proxy: name(), source })?)
        }
    };
    let connected = proxy::connect(&mut stream, address, proxy.credentials.as_ref()).await;
    connected.map_err(|source| ConnectError::Proxy { proxy: name(), source })?;
    Ok(stream)
}

/// The network as the kernel has it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tcp;

impl Dial for Tcp {
    async fn dial(&self, address: &Address) -> Result<Box<dyn Io>, DialError> {
        let lookup = tokio::net::lookup_host((address.host.as_str(), address.port));
        let found = tokio::time::timeout(RESOLVE_TIMEOUT, lookup).await;
        let found = found.map_err(|_| DialError::ResolveTimedOut)?.map_err(DialError::Resolve)?;
        let mut last = DialError::NoAddress;
        for address in by_turns(found.collect()).into_iter().take(MAX_ADDRESSES) {
            match tcp(address).await {
                Ok(stream) => return Ok(Box::new(stream)),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// IPv6 and IPv4 by turns, beginning with the resolver's first choice: where one of them leads nowhere, the other's turn comes soon.
fn by_turns(found: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = found.first().is_some_and(SocketAddr::is_ipv6);
    let (mut first, mut second): (VecDeque<_>, VecDeque<_>) =
        found.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let mut turns = Vec::with_capacity(first.len() + second.len());
    while !first.is_empty() || !second.is_empty() {
        turns.extend(first.pop_front());
        turns.extend(second.pop_front());
    }
    turns
}

async fn tcp(address: SocketAddr) -> Result<TcpStream, DialError> {
    let connected = match tokio::time::timeout(TCP_TIMEOUT, TcpStream::connect(address)).await {
        Ok(connected) => connected.and_then(|stream| tune(&stream).map(|()| stream)),
        Err(_) => return Err(DialError::TimedOut { address }),
    };
    connected.map_err(|source| match source.kind() {
        io::ErrorKind::ConnectionRefused => DialError::Refused { address },
        io::ErrorKind::TimedOut => DialError::TimedOut { address },
        _ => DialError::Network { address, source },
    })
}

fn tune(stream: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    socket.set_tcp_notsent_lowat(NOT_SENT)?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE).with_interval(Duration::from_secs(30)).with_retries(3))
}

/// An error and its causes in one line.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn std::error::Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_that_leads_nowhere_does_not_use_up_every_try() {
        let addresses =
            |text: &str| text.split_whitespace().map(|one| one.parse().expect("an address")).collect::<Vec<SocketAddr>>();
        let cases = [
            ("", ""),
            (
                "[fd00::1]:1 [fd00::2]:1 [fd00::3]:1 [fd00::4]:1 192.0.2.1:1",
                "[fd00::1]:1 192.0.2.1:1 [fd00::2]:1 [fd00::3]:1 [fd00::4]:1",
            ),
            ("192.0.2.1:1 [fd00::1]:1 192.0.2.2:1", "192.0.2.1:1 [fd00::1]:1 192.0.2.2:1"),
        ];
        for (found, turns) in cases {
            assert_eq!(by_turns(addresses(found)), addresses(turns), "{found}");
        }
    }

    #[test]
    fn an_error_is_told_with_its_causes_in_one_line() {
        let address = "192.0.2.1:443".parse().expect("an address");
        let error = ConnectError::DialProxy { proxy: "proxy.example:3128".into(), source: DialError::Refused { address } };
        let line = "cannot reach the proxy proxy.example:3128: 192.0.2.1:443 refuses the connection: does the service run there?";
        assert_eq!(Chain(&error).to_string(), line);
    }
}
