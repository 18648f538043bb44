//! The device's side of TLS to its hub, and to a proxy: version 1.3, and the pinned key decides.
//!
//! Names, signers and dates of a certificate count for nothing, so a device whose clock stands at 1970 connects as well as any. No session
//! is resumed: each handshake proves the key anew.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use peer_tls::Judge;
use rustls::client::ClientConfig;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{AlertDescription, CertificateError, Error, OtherError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::pin::Pin;

/// Time for the handshake.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Why no TLS came about.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Somebody else answered.
    #[error("another key answered ({found}) than the pinned one ({expected}): something stands between, or the key was changed")]
    AnotherKey {
        /// The pin of the key that answered.
        found: Pin,
        /// The pin that is configured.
        expected: Pin,
    },
    /// What answers is no TLS.
    #[error("what answers is no TLS: is there a captive portal, or another service on this port?")]
    NotTls,
    /// It speaks TLS, but not this protocol.
    #[error("what answers does not speak the devices' protocol: is it a web server, or a proxy that opens TLS?")]
    NoHub,
    /// It speaks an older TLS only.
    #[error("what answers speaks no TLS 1.3: something stands between")]
    TooOld,
    /// Nothing came, or too slowly.
    #[error("no TLS handshake within {} s", TIMEOUT.as_secs())]
    TimedOut,
    /// It ended.
    #[error("the connection ended during the TLS handshake")]
    Closed,
    /// Anything else.
    #[error("the TLS handshake failed")]
    Failed(#[source] io::Error),
}

/// A handshake as a client, in which nothing but the key counts. `alpn` is offered and must be chosen; none: nothing is offered.
pub(super) async fn handshake<S>(stream: S, host: &str, pin: Pin, alpn: Option<&[u8]>) -> Result<TlsStream<S>, TlsError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // The name travels in the greeting for whoever routes by it, and is judged by nobody.
    let name =
        ServerName::try_from(host.to_owned()).unwrap_or_else(|_| ServerName::from(std::net::Ipv4Addr::UNSPECIFIED).to_owned());
    let connector = TlsConnector::from(Arc::new(client_config(pin, alpn)));
    let connected = tokio::time::timeout(TIMEOUT, connector.connect(name, stream)).await;
    let tls = connected.map_err(|_| TlsError::TimedOut)?.map_err(|error| classify(error, pin))?;
    if tls.get_ref().1.alpn_protocol() != alpn { Err(TlsError::NoHub) } else { Ok(tls) }
}

fn client_config(pin: Pin, alpn: Option<&[u8]>) -> ClientConfig {
    peer_tls::speaking(peer_tls::judged_by(OnlyPin(pin)).with_no_client_auth(), alpn)
}

fn classify(error: io::Error, expected: Pin) -> TlsError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::InvalidCertificate(CertificateError::Other(OtherError(other)))) => match other.downcast_ref::<Found>() {
            Some(Found(found)) => TlsError::AnotherKey { found: *found, expected },
            None => TlsError::Failed(error),
        },
        Some(Error::InvalidMessage(_)) => TlsError::NotTls,
        Some(Error::AlertReceived(AlertDescription::NoApplicationProtocol)) => TlsError::NoHub,
        Some(Error::AlertReceived(AlertDescription::ProtocolVersion) | Error::PeerIncompatible(_)) => TlsError::TooOld,
        Some(_) => TlsError::Failed(error),
        None if error.kind() == io::ErrorKind::UnexpectedEof => TlsError::Closed,
        None => TlsError::Failed(error),
    }
}

/// The one judge: the key of the certificate, by which the handshake's signature is then verified.
#[derive(Debug)]
struct OnlyPin(Pin);

/// The pin that was found instead, on its way through the TLS library.
#[derive(Debug)]
struct Found(Pin);

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "another key answered: {}", self.0)
    }
}

impl std::error::Error for Found {}

impl Judge for OnlyPin {
    fn judge(&self, chain: &[CertificateDer<'_>], _: &ServerName<'_>, _: UnixTime) -> Result<(), Error> {
        let leaf = chain.first().ok_or(CertificateError::BadEncoding)?;
        // The same reader as in the signature's verification: both see one key.
        let found = Pin::of(&ParsedCertificate::try_from(leaf)?.subject_public_key_info());
        if found == self.0 {
            return Ok(());
        }
        Err(Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(Found(found))))))
    }
}
