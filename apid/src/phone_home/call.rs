//! The one gRPC call over a channel with the hub: HTTP/2 with small windows, messages of 320 KiB at most, no compression, no redirect.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use api::hub::v1::HubMessage;
use api::hub::v1::devices_client::DevicesClient;
use hyper::client::conn::http2;
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;
use tonic::Streaming;

use super::connect::{Chain, Channel, ConnectError, Dial, connect};
use super::outbox::{Outbox, outbox};
use super::settings::{Address, Target};

/// Bytes the hub may send before the device has read them, in the call and in all.
const WINDOW: u32 = 64 << 10;
/// Bytes of response headers.
const MAX_HEADERS: u32 = 8 << 10;
/// Bytes that wait between call and TLS.
const SEND_BUFFER: usize = 32 << 10;

/// An open call.
pub(super) struct Call {
    /// What the hub says.
    pub(super) incoming: Streaming<HubMessage>,
    /// What the device says.
    pub(super) outbox: Outbox,
    /// What ties a proof to this channel.
    pub(super) exporter: [u8; api::hub::EXPORTER_BYTES],
    /// The connection under it; it ends with the call.
    pub(super) connection: Connection,
}

/// The tasks that move the connection's bytes, and the last words of one that broke. Dropping it ends them and closes the connection,
/// whatever the hub would still have to read or to say.
#[derive(Debug)]
pub(super) struct Connection {
    tasks: Tasks,
    broke: Arc<Mutex<Option<String>>>,
}

/// Tasks of one connection.
#[derive(Debug, Clone, Default)]
struct Tasks(Arc<Mutex<JoinSet<()>>>);

impl Tasks {
    fn lock(&self) -> MutexGuard<'_, JoinSet<()>> {
        // Nothing that could panic happens under it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F: Future<Output: Send> + Send + 'static> hyper::rt::Executor<F> for Tasks {
    fn execute(&self, task: F) {
        self.lock().spawn(async move { drop(task.await) });
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.tasks.lock().abort_all();
    }
}

/// Why no call is open.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// No channel.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// No HTTP/2.
    #[error("cannot speak HTTP/2 with the hub")]
    Http(#[source] hyper::Error),
    /// The hub did not take the call.
    #[error("the hub does not take the call: {0}")]
    Refused(Ended),
}

/// A gRPC status in one line.
#[derive(Debug)]
pub(super) struct Ended(pub(super) tonic::Status);

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?})", self.0.message(), self.0.code())
    }
}

/// Connects to one address of the hub and opens the call.
pub(super) async fn open<D: Dial>(dial: Arc<D>, target: Target, address: Address) -> Result<Call, CallError> {
    let Channel { stream, exporter } = connect(&*dial, &target, &address).await?;
    let tasks = Tasks::default();
    let mut http = http2::Builder::new(tasks.clone());
    http.initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_header_list_size(MAX_HEADERS)
        .max_send_buf_size(SEND_BUFFER);
    // From here on whatever ends this call ends its tasks.
    let mut held = Connection { tasks, broke: Arc::default() };
    let (sender, connection) = http.handshake(TokioIo::new(stream)).await.map_err(CallError::Http)?;
    held.run(connection);
    let service = tower::service_fn(move |request| {
        let mut sender = sender.clone();
        async move { sender.send_request(request).await }
    });
    let origin = format!("https://{}", address.authority()).parse().unwrap_or(http::Uri::from_static("https://hub"));
    let mut client = DevicesClient::with_origin(service, origin)
        .max_decoding_message_size(api::hub::MAX_MESSAGE_BYTES)
        .max_encoding_message_size(api::hub::MAX_MESSAGE_BYTES);
    let (outbox, outgoing) = outbox();
    let answer = client.session(outgoing).await.map_err(|status| CallError::Refused(Ended(status)))?;
    Ok(Call { incoming: answer.into_inner(), outbox, exporter, connection: held })
}

impl Connection {
    fn run(&mut self, connection: impl Future<Output = hyper::Result<()>> + Send + 'static) {
        let broke = Arc::clone(&self.broke);
        self.tasks.lock().spawn(async move {
            if let Err(error) = connection.await {
                *broke.lock().unwrap_or_else(PoisonError::into_inner) = Some(Chain(&error).to_string());
            }
        });
    }

    /// Why the connection broke; none: it did not, or not yet.
    pub(super) fn broke(&self) -> Option<String> {
        self.broke.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
