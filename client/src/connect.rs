//! Reaching a node: name, TCP, TLS 1.3, and the judgement of [`super::trust`], each failing with its own message.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::LEAF_NAME;
use hyper_util::rt::TokioIo;
use machine_config::types::DeviceId;
use rustls::{AlertDescription, ClientConfig};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use super::dial::dial;
use super::identity::Claims;
use super::stream::{AlertSlot, Watched};
use super::trust::{self, Trust};
use super::{ClientIdentity, ConnectError, NodeAddress, NodeClient, Place};

/// Asked of an idle connection this often, so that a vanished node ends `logs -f`.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// What a connection is made with.
#[derive(Debug)]
pub struct ConnectOptions {
    /// Where the node answers.
    pub address: NodeAddress,
    /// Who it must be.
    pub trust: Trust,
    /// The certificate to show when the node asks for one.
    pub identity: Option<ClientIdentity>,
    /// Time for connecting, and again for each call that is not a stream.
    pub timeout: Duration,
}

/// A connection that somebody else made: a tunnel.
pub struct Made<S> {
    /// Its bytes.
    pub stream: S,
    /// How it came about.
    pub place: Place,
    /// Who must be at its end.
    pub trust: Trust,
    /// The certificate to show when the node asks for one.
    pub identity: Option<ClientIdentity>,
    /// Time for the handshake, and again for each call that is not a stream.
    pub timeout: Duration,
}

/// A connection that bytes go over.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Wire for T {}

/// Reaches a node and makes sure who it is. Nothing is sent to a device that [`Trust`] does not admit.
pub async fn connect(options: ConnectOptions) -> Result<NodeClient, ConnectError> {
    let ConnectOptions { address, trust, identity, timeout } = options;
    let place = Place::from(address.clone());
    let link = async {
        let stream = dial(&address).await.map_err(|error| ConnectError::of_dial(address.clone().into(), error))?;
        secure(Made { stream, place: place.clone(), trust, identity, timeout }).await
    };
    within(timeout, &place, link).await
}

/// The same over a connection that somebody else made. Whoever carries it learns nothing of what is said, and cannot answer in the node's
/// place: [`Trust`] judges the key at its end.
pub async fn connect_over<S: Wire>(made: Made<S>) -> Result<NodeClient, ConnectError> {
    let (timeout, place) = (made.timeout, made.place.clone());
    within(timeout, &place, secure(made)).await
}

async fn within<T>(
    timeout: Duration,
    place: &Place,
    link: impl Future<Output = Result<T, ConnectError>>,
) -> Result<T, ConnectError> {
    let late = || ConnectError::Timeout { address: place.clone(), timeout };
    tokio::time::timeout(timeout, link).await.unwrap_or_else(|_| Err(late()))
}

async fn secure<S: Wire>(made: Made<S>) -> Result<NodeClient, ConnectError> {
    let Made { stream, place, trust, identity, timeout } = made;
    let claims = identity.as_ref().map(|identity| identity.claims().clone());
    let config = tls_config(trust, identity)?;
    let name = ServerName::try_from(LEAF_NAME).expect("a constant DNS name");
    let tls = TlsConnector::from(config).connect(name, stream).await.map_err(|source| handshake_error(&place, source))?;
    begin(place, tls, timeout, claims).await
}

fn tls_config(trust: Trust, identity: Option<ClientIdentity>) -> Result<Arc<ClientConfig>, ConnectError> {
    let builder = peer_tls::judged_by(trust);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let name = identity.claims().name.clone();
            let made = builder.with_client_auth_cert(identity.chain, identity.key);
            made.map_err(|source| ConnectError::OwnCertificate { name, source })?
        }
    };
    Ok(Arc::new(peer_tls::speaking(config, [b"h2".as_slice()])))
}

fn handshake_error(address: &Place, source: io::Error) -> ConnectError {
    let address = address.clone();
    let inner = source.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    if let Some(source) = inner.and_then(trust::trust_error) {
        return ConnectError::Trust { address, source };
    }
    match inner {
        Some(
            rustls::Error::PeerIncompatible(_)
            | rustls::Error::InvalidMessage(_)
            | rustls::Error::AlertReceived(AlertDescription::ProtocolVersion | AlertDescription::HandshakeFailure),
        ) => ConnectError::NotTls13 { address },
        Some(_) | None => ConnectError::Tls { address, source },
    }
}

async fn begin<S: Wire>(
    address: Place,
    tls: TlsStream<S>,
    timeout: Duration,
    claims: Option<Claims>,
) -> Result<NodeClient, ConnectError> {
    let device_id = proved_id(&address, &tls)?;
    let alert = AlertSlot::default();
    let channel = channel(Watched::new(tls, alert.clone()))
        .await
        .map_err(|source| ConnectError::Http2 { address: address.clone(), source })?;
    Ok(NodeClient::new(channel, address, device_id, alert, timeout, claims))
}

fn proved_id<S>(address: &Place, tls: &TlsStream<S>) -> Result<DeviceId, ConnectError> {
    let chain = tls.get_ref().1.peer_certificates().unwrap_or_default();
    trust::identify(chain).map_err(|source| ConnectError::Trust { address: address.clone(), source })
}

/// A channel over exactly this stream. It never dials again: a second connection would need judging again.
async fn channel<S: Wire>(stream: Watched<TlsStream<S>>) -> Result<Channel, tonic::transport::Error> {
    let stream = Arc::new(Mutex::new(Some(stream)));
    let connector = service_fn(move |_| {
        let stream = stream.lock().map_or(None, |mut stream| stream.take());
        async move { stream.map(TokioIo::new).ok_or_else(|| io::Error::new(io::ErrorKind::NotConnected, "the connection has ended")) }
    });
    Endpoint::from_static("http://skerry")
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
        .connect_with_connector(connector)
        .await
}
