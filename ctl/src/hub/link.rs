//! A TLS connection to the hub, made in bounded time to nobody else.

use std::io;
use std::sync::Arc;

use rustls::AlertDescription;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use client::dial;

use super::judge::{self, HubTrust};
use super::{HubError, HubUrl};

/// Spoken inside: the WebSocket of a tunnel begins in it too.
const ALPN: &[u8] = b"http/1.1";

pub(super) async fn connect(url: &HubUrl, trust: &HubTrust) -> Result<TlsStream<TcpStream>, HubError> {
    let host = url.address().host.clone();
    let name = ServerName::try_from(host).map_err(|_| HubError::Name { url: url.clone() })?;
    let stream = dial(url.address()).await.map_err(|source| HubError::Dial { url: url.clone(), source })?;
    let config = Arc::new(peer_tls::speaking(peer_tls::judged_by(trust.clone()).with_no_client_auth(), [ALPN]));
    TlsConnector::from(config).connect(name, stream).await.map_err(|source| handshake_error(url, source))
}

fn handshake_error(url: &HubUrl, source: io::Error) -> HubError {
    let url = url.clone();
    let inner = source.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    if let Some(source) = inner.and_then(judge::trust_error) {
        return HubError::Trust { url, source };
    }
    match inner {
        Some(
            rustls::Error::InvalidMessage(_)
            | rustls::Error::PeerIncompatible(_)
            | rustls::Error::AlertReceived(AlertDescription::ProtocolVersion | AlertDescription::NoApplicationProtocol),
        ) => HubError::NotAHub { url },
        Some(_) | None => HubError::Tls { url, source },
    }
}
