//! Asking another process of the hub for a tunnel to a device that is connected there.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use machine_config::DeviceId;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::DuplexStream;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Request, header::InvalidHeaderValue};
use tokio_tungstenite::tungstenite::{self, protocol::WebSocketConfig};
use tracing::debug;

use super::refusal::heard;
use super::secret::Secret;
use crate::session::OpenError;
use crate::tunnel::{MAX_MESSAGE, carry_out};

/// The path of tunnels between processes.
pub(crate) const PATH: &str = "/internal/v1/tunnel/";
/// The header with the secret of the hub's processes.
pub(crate) const SECRET_HEADER: &str = "x-skerry-replica-secret";
/// The header with the operator's name.
pub(crate) const WHO_HEADER: &str = "x-skerry-who";
/// Time to reach the other process and have the device open its side.
const TIMEOUT: Duration = Duration::from_secs(25);
/// Bytes between the two ends here.
const PIPE: usize = 64 << 10;

/// Why another process gives no tunnel.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// It cannot be reached.
    #[error("cannot reach the hub's process at {address}, which holds the device")]
    Unreachable {
        /// Where.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// It said no.
    #[error("the hub's process at {address}, which holds the device, gives no connection")]
    Refused {
        /// Where.
        address: String,
        /// What it said.
        source: Box<tungstenite::Error>,
    },
    /// The device gives none, as that process says.
    #[error(transparent)]
    Device(#[from] OpenError),
    /// It said nothing.
    #[error("the hub's process at {address}, which holds the device, does not answer")]
    TimedOut {
        /// Where.
        address: String,
    },
    /// The operator's name or the address has no place in a request.
    #[error("cannot ask the hub's process at {address} for a connection: {what} has no place in a request")]
    Unsayable {
        /// Where.
        address: String,
        /// What.
        what: &'static str,
    },
}

/// What to ask for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) address: &'a str,
    pub(super) device: &'a DeviceId,
    pub(super) who: &'a str,
    pub(super) secret: &'a Secret,
}

/// Opens a tunnel by way of another process.
pub(super) async fn open(tls: Arc<ClientConfig>, wanted: Wanted<'_>) -> Result<DuplexStream, ForwardError> {
    let late = || ForwardError::TimedOut { address: wanted.address.to_owned() };
    timeout(TIMEOUT, reach(tls, wanted)).await.unwrap_or_else(|_| Err(late()))
}

async fn reach(tls: Arc<ClientConfig>, wanted: Wanted<'_>) -> Result<DuplexStream, ForwardError> {
    let address = || wanted.address.to_owned();
    let request = request(wanted)?;
    let secured = secure(tls, wanted.address).await.map_err(|source| ForwardError::Unreachable { address: address(), source })?;
    let bounds = WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE));
    let (socket, _) = tokio_tungstenite::client_async_with_config(request, secured, Some(bounds))
        .await
        .map_err(|source| refused(address(), source))?;
    let (ours, theirs) = tokio::io::duplex(PIPE);
    tokio::spawn(async move {
        let carried = carry_out(socket, theirs).await;
        debug!(?carried, "a forwarded connection ended");
    });
    Ok(ours)
}

fn refused(address: String, source: tungstenite::Error) -> ForwardError {
    let said = match &source {
        tungstenite::Error::Http(response) => heard(response.headers()),
        _ => None,
    };
    said.map_or_else(|| ForwardError::Refused { address, source: Box::new(source) }, ForwardError::Device)
}

fn request(wanted: Wanted<'_>) -> Result<Request<()>, ForwardError> {
    let unsayable = |what| ForwardError::Unsayable { address: wanted.address.to_owned(), what };
    let uri = format!("wss://{}{PATH}{}", wanted.address, wanted.device);
    let mut request = uri.into_client_request().map_err(|_| unsayable("the address"))?;
    let value = |text: &str| HeaderValue::from_str(text).map_err(|_: InvalidHeaderValue| unsayable("the operator's name"));
    let mut secret = value(wanted.secret.text())?;
    secret.set_sensitive(true);
    request.headers_mut().insert(SECRET_HEADER, secret);
    request.headers_mut().insert(WHO_HEADER, value(&hex::encode(wanted.who))?);
    Ok(request)
}

async fn secure(tls: Arc<ClientConfig>, address: &str) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    // The name is not looked at: the key counts.
    let name = ServerName::try_from("skerry-hub").map_err(io::Error::other)?;
    TlsConnector::from(tls).connect(name, stream).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_devices_own_reason_is_told_and_any_other_refusal_is_the_processs() {
        let answer = |error: Option<OpenError>| {
            let mut response = tungstenite::http::Response::new(None);
            if let Some(error) = error {
                super::super::tell(&error, response.headers_mut());
            }
            refused("hub-2:443".into(), tungstenite::Error::Http(response.into()))
        };
        let said = OpenError::Refused("too many".into());
        assert!(matches!(answer(Some(said.clone())), ForwardError::Device(found) if found == said));
        assert!(matches!(answer(None), ForwardError::Refused { .. }));
    }
}
