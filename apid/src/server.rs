//! The listener: accepts, bounds what one caller can hold, and serves HTTP/2 over TLS.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use api::internal::Settings;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::body::Body;
use tracing::{debug, info, warn};

use crate::forward::Forwarder;
use crate::peer::Peer;
use crate::places::Places;
use crate::tls::server_config;

/// Connections served at once; the next one waits in the kernel's queue. Keeps memory bounded whoever calls.
const MAX_CONNECTIONS: usize = 64;
/// Connections of one neighbour among them.
const MAX_OF_ONE: usize = 16;
/// How long a caller without a certificate is served in maintenance: enough to send a configuration over a bad link.
const MAINTENANCE_VISIT: Duration = Duration::from_secs(120);
/// And on a configured device, where every call of it is refused: enough to be told so.
const STRANGER_VISIT: Duration = Duration::from_secs(10);
/// Time for the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Calls in flight on one connection.
const MAX_STREAMS: u32 = 32;
/// A silent connection is asked for a sign of life this often.
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// And given up after this long without one.
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// Calls in flight may finish for this long when the client CA changes.
const DRAIN: Duration = Duration::from_secs(5);
/// Flow-control window of one call; a configuration fits.
const STREAM_WINDOW: u32 = 256 << 10;
/// Flow-control window of one connection.
const CONNECTION_WINDOW: u32 = 512 << 10;
/// Bytes of request headers.
const MAX_HEADERS: u32 = 16 << 10;

/// Where a connection comes from.
#[derive(Debug, Clone)]
pub enum Origin {
    /// From the network.
    Network(SocketAddr),
    /// Through the hub, which calls the operator so. It is the hub's word; who it really is, the client certificate says.
    Hub(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(address) => write!(f, "{address}"),
            Self::Hub(who) => write!(f, "the hub ({who})"),
        }
    }
}

impl Origin {
    /// Whose share of the places it takes: everything through the hub is one neighbour.
    fn neighbour(&self) -> IpAddr {
        match self {
            Self::Network(address) => address.ip(),
            Self::Hub(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        }
    }
}

/// The places of one device: those of the network and of the hub are the same.
pub fn places() -> Places {
    Places::new(MAX_CONNECTIONS, MAX_OF_ONE)
}

/// Accepts and serves until the settings' sender is gone.
pub async fn serve(listener: TcpListener, forwarder: Forwarder, places: Places) {
    loop {
        let one = places.wait().await;
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors or memory, or a caller already gone: the next accept may do better, but not at once.
                warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let origin = Origin::Network(address);
        let Some(place) = places.give(one, origin.neighbour()) else {
            debug!(%origin, "too many connections from one neighbour");
            continue;
        };
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%error, "cannot disable Nagle's algorithm");
        }
        let forwarder = forwarder.clone();
        tokio::spawn(async move {
            connection(stream, origin, forwarder).await;
            drop(place);
        });
    }
}

/// Serves a connection that did not come through the listener, when there is a place for it; false: there is none.
pub fn serve_one<S>(stream: S, origin: Origin, forwarder: Forwarder, places: &Places) -> bool
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Some(place) = places.try_take(origin.neighbour()) else { return false };
    tokio::spawn(async move {
        connection(stream, origin, forwarder).await;
        drop(place);
    });
    true
}

async fn connection<S: AsyncRead + AsyncWrite + Unpin>(stream: S, origin: Origin, forwarder: Forwarder) {
    let Some(settings) = forwarder.settings.borrow().clone() else { return };
    let config = match server_config(&settings) {
        Ok(config) => config,
        Err(error) => {
            warn!(error = &error as &dyn std::error::Error, "cannot serve TLS with the present settings");
            return;
        }
    };
    let handshake = TlsAcceptor::from(Arc::new(config)).accept(stream);
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await {
        Ok(Ok(tls)) => serve_http2(tls, origin, forwarder, &settings).await,
        Ok(Err(error)) => info!(%origin, %error, "TLS handshake refused"),
        Err(_) => info!(%origin, "TLS handshake took too long"),
    }
}

async fn serve_http2<S>(tls: TlsStream<S>, origin: Origin, forwarder: Forwarder, began_with: &Settings)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let peer = tls
        .get_ref()
        .1
        .peer_certificates()
        .and_then(|chain| chain.first())
        .map_or(Peer::Anonymous, |leaf| Peer::from_certificate(leaf));
    debug!(%origin, peer = peer.name(), role = peer.role_word(), "connected");
    let settings = forwarder.settings.clone();
    let visit = visit(&peer, began_with.maintenance);
    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        forwarder.clone().call(peer.clone(), request.map(Body::new))
    });
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_HEADERS)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(tls), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = authority_changed(settings, began_with) => None,
        () = over(visit) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        // Who was admitted under the old CA must prove itself under the new one; calls in flight may finish.
        // So must go who never proved anything: places are few.
        None => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(DRAIN, connection.as_mut()).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        debug!(%origin, %error, "connection ended");
    }
}

/// How long a caller may stay; none: as long as it likes, since it is known.
fn visit(peer: &Peer, maintenance: bool) -> Option<Duration> {
    match peer {
        Peer::Anonymous if maintenance => Some(MAINTENANCE_VISIT),
        Peer::Anonymous => Some(STRANGER_VISIT),
        Peer::Certified { .. } => None,
    }
}

async fn over(visit: Option<Duration>) {
    match visit {
        Some(visit) => tokio::time::sleep(visit).await,
        None => std::future::pending().await,
    }
}

/// Completes when connections that began under `began_with` must prove themselves anew.
async fn authority_changed(mut settings: watch::Receiver<Option<Settings>>, began_with: &Settings) {
    let same = |now: &Option<Settings>| {
        now.as_ref().is_none_or(|now| now.client_ca == began_with.client_ca && now.maintenance == began_with.maintenance)
    };
    if settings.wait_for(|now| !same(now)).await.is_err() {
        // The sender is gone: nothing can change any more.
        std::future::pending::<()>().await;
    }
}
