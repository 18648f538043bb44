//! A device's connection: HTTP/2 with one call on it, in as little memory as it takes, because thousands of them are open at once.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use api::hub::{EXPORTER_BYTES, EXPORTER_LABEL};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use tonic::body::Body;
use tracing::{debug, info};

use super::door::Door;
use super::places::Place;
use super::visit::Visit;
use crate::metrics::Unserved;
use crate::session::Directory;

/// Bytes a device may send before the session has read them; a session always reads.
const WINDOW: u32 = 128 << 10;
/// Bytes of one HTTP/2 frame.
const FRAME: u32 = 16 << 10;
/// Bytes of the call's headers.
const MAX_HEADERS: u32 = 4 << 10;
/// Bytes of answers that HTTP/2 keeps beside the session's own queue.
const SEND_BUFFER: usize = 64 << 10;
/// Calls at once: one, and room to refuse a second in words.
const MAX_CALLS: u32 = 2;

pub(super) async fn serve<D: Directory>(tls: TlsStream<TcpStream>, caller: IpAddr, place: Place, door: Arc<Door<D>>) {
    let exporter = match tls.get_ref().1.export_keying_material([0; EXPORTER_BYTES], EXPORTER_LABEL, None) {
        Ok(exporter) => exporter,
        Err(error) => {
            debug!(%caller, %error, "cannot tie a proof to a connection");
            return;
        }
    };
    let visit = Arc::new(Visit::begin(caller.to_canonical(), exporter, place, door.device_places.clone()));
    let service = service_fn({
        let (visit, devices) = (Arc::clone(&visit), door.devices.clone());
        move |request: http::Request<hyper::body::Incoming>| {
            let (visit, devices) = (Arc::clone(&visit), devices.clone());
            async move { Ok::<_, Infallible>(devices.call(visit, request.map(Body::new)).await) }
        }
    });
    let mut connection = pin!(builder().serve_connection(TokioIo::new(tls), service));
    let decided = tokio::select! {
        _ = connection.as_mut() => return,
        decided = timeout(door.limits.verdict, decided(&visit, door.limits.first_call)) => decided,
    };
    if !matches!(decided, Ok(Ok(()))) {
        door.turn_away(Unserved::Slow);
        info!(%caller, "a device took too long to prove itself");
        return;
    }
    tokio::select! {
        _ = connection.as_mut() => return,
        () = visit.over() => {}
    }
    connection.as_mut().graceful_shutdown();
    if timeout(door.limits.drain, connection).await.is_err() {
        debug!(%caller, "a device did not take its last words");
    }
}

/// Completes when the device is admitted or its call is over; an error: it did not call in time.
async fn decided(visit: &Visit, first_call: Duration) -> Result<(), Elapsed> {
    timeout(first_call, visit.called()).await?;
    visit.decided().await;
    Ok(())
}

fn builder() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_CALLS)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_frame_size(FRAME)
        .max_header_list_size(MAX_HEADERS)
        .header_table_size(0)
        .max_send_buf_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(4)
        .max_local_error_reset_streams(4)
        .auto_date_header(false);
    builder
}
