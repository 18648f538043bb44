//! Reaching a node: name, TCP, TLS 1.3, and the judgement of [`super::trust`], each failing with its own message.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::LEAF_NAME;
use hyper_util::rt::TokioIo;
use machine_config::types::DeviceId;
use rustls::client::Resumption;
use rustls::{AlertDescription, ClientConfig};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use super::identity::Claims;
use super::stream::{AlertSlot, Watched};
use super::trust::{self, Trust, Verifier};
use super::{ClientIdentity, ConnectError, NodeAddress, NodeClient};

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

/// Reaches a node and makes sure who it is. Nothing is sent to a device that [`Trust`] does not admit.
pub async fn connect(options: ConnectOptions) -> Result<NodeClient, ConnectError> {
    let ConnectOptions { address, trust, identity, timeout } = options;
    let claims = identity.as_ref().map(|identity| identity.claims().clone());
    let config = tls_config(trust, identity)?;
    let link = async {
        let tcp = dial(&address).await?;
        let tls = handshake(&address, config, tcp).await?;
        begin(&address, tls, timeout, claims).await
    };
    match tokio::time::timeout(timeout, link).await {
        Ok(client) => client,
        Err(_) => Err(ConnectError::Timeout { address: address.clone(), timeout }),
    }
}

fn tls_config(trust: Trust, identity: Option<ClientIdentity>) -> Result<ClientConfig, ConnectError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("ring has TLS 1.3 suites")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier { trust, algorithms }));
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let name = identity.claims().name.clone();
            let made = builder.with_client_auth_cert(identity.chain, identity.key);
            made.map_err(|source| ConnectError::OwnCertificate { name, source })?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

async fn dial(address: &NodeAddress) -> Result<TcpStream, ConnectError> {
    let resolved = tokio::net::lookup_host((address.host.as_str(), address.port)).await;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "it has no address");
    let candidates = resolved.map_err(|source| ConnectError::Resolve { address: address.clone(), source })?;
    for candidate in candidates {
        match TcpStream::connect(candidate).await {
            Ok(stream) => {
                // Small calls: waiting to fill a segment would only add delay. Failing to say so costs nothing else.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(match last.kind() {
        io::ErrorKind::ConnectionRefused => ConnectError::PortClosed { address: address.clone() },
        _ => ConnectError::Tcp { address: address.clone(), source: last },
    })
}

async fn handshake(address: &NodeAddress, config: ClientConfig, tcp: TcpStream) -> Result<TlsStream<TcpStream>, ConnectError> {
    let name = ServerName::try_from(LEAF_NAME).expect("a constant DNS name");
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await.map_err(|source| handshake_error(address, source))
}

fn handshake_error(address: &NodeAddress, source: io::Error) -> ConnectError {
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

async fn begin(
    address: &NodeAddress,
    tls: TlsStream<TcpStream>,
    timeout: Duration,
    claims: Option<Claims>,
) -> Result<NodeClient, ConnectError> {
    let device_id = proved_id(address, &tls)?;
    let alert = AlertSlot::default();
    let channel = channel(Watched::new(tls, alert.clone()))
        .await
        .map_err(|source| ConnectError::Http2 { address: address.clone(), source })?;
    Ok(NodeClient::new(channel, address.clone(), device_id, alert, timeout, claims))
}

fn proved_id(address: &NodeAddress, tls: &TlsStream<TcpStream>) -> Result<DeviceId, ConnectError> {
    let chain = tls.get_ref().1.peer_certificates().unwrap_or_default();
    trust::identify(chain).map_err(|source| ConnectError::Trust { address: address.clone(), source })
}

/// A channel over exactly this stream. It never dials again: a second connection would need judging again.
async fn channel(stream: Watched<TlsStream<TcpStream>>) -> Result<Channel, tonic::transport::Error> {
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
