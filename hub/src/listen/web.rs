//! A web connection: HTTP/1.1 or HTTP/2, for pages, the REST interface, tunnels and metrics.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tower::ServiceExt as _;
use tracing::debug;

use super::door::Door;
use super::peer::Peer;
use super::places::Place;
use crate::session::Directory;

/// Bytes of a request's headers.
const MAX_HEADERS: usize = 32 << 10;
/// Requests at once on one connection.
const MAX_CALLS: u32 = 32;
/// Bytes that may come in before a handler has read them.
const WINDOW: u32 = 256 << 10;

/// An answer that is [`Lasting`] may take this long after the connection's own time: an image over a thin line.
const LONGEST_ANSWER: Duration = Duration::from_secs(6 * 3600);

/// Marks an answer that may take hours: an image, a log that is followed. It goes into the answer's extensions; only who is proven gets one.
#[derive(Debug, Clone, Copy)]
pub struct Lasting;

/// How somebody came in.
#[derive(Debug, Clone, Copy)]
pub(super) enum Entrance {
    /// By the TLS port.
    Direct(IpAddr),
    /// By the plain port, behind a reverse proxy.
    Plain(IpAddr),
}

impl Entrance {
    fn peer(self, headers: &http::HeaderMap) -> Peer {
        match self {
            Self::Direct(address) => Peer::direct(address),
            Self::Plain(address) => Peer::behind_proxy(address, headers),
        }
    }
}

pub(super) async fn serve<D, S>(stream: S, entrance: Entrance, place: Place, door: Arc<Door<D>>)
where
    D: Directory,
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (router, lasts) = (door.web.clone(), Arc::new(AtomicBool::new(false)));
    let service = hyper::service::service_fn({
        let lasts = Arc::clone(&lasts);
        move |mut request: http::Request<hyper::body::Incoming>| {
            let peer = entrance.peer(request.headers());
            request.extensions_mut().insert(peer);
            let (answer, lasts) = (router.clone().oneshot(request.map(Body::new)), Arc::clone(&lasts));
            async move {
                let answer = answer.await?;
                if answer.extensions().get::<Lasting>().is_some() {
                    lasts.store(true, Ordering::Relaxed);
                }
                Ok::<_, Infallible>(answer)
            }
        }
    });
    let builder = builder(door.limits.web_header);
    let mut connection = pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
    let ended = match timeout(door.limits.web_visit, connection.as_mut()).await {
        Ok(ended) => ended,
        Err(_) => {
            connection.as_mut().graceful_shutdown();
            match timeout(door.limits.web_answer, connection.as_mut()).await {
                Ok(ended) => ended,
                Err(_) if lasts.load(Ordering::Relaxed) => timeout(LONGEST_ANSWER, connection).await.unwrap_or(Ok(())),
                Err(_) => Ok(()),
            }
        }
    };
    drop(place);
    if let Err(error) = ended {
        debug!(?entrance, error = %error, "web connection ended");
    }
}

fn builder(header_time: Duration) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(header_time).max_buf_size(MAX_HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_CALLS)
        .max_header_list_size(MAX_HEADERS as u32)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(2 * WINDOW)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(header_time);
    builder
}
