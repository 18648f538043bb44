//! The operator's side of a tunnel: a WebSocket whose binary messages are bytes of the connection.
//!
//! Text messages end it: nothing else is spoken here. Whoever vanished is noticed by the pings.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, interval_at, timeout};

/// Bytes of one message at most, both ways.
const MAX_MESSAGE: usize = 64 << 10;
/// Bytes that are read from the tunnel at once.
const PIECE: usize = 16 << 10;
/// How often the operator's side is asked for a sign of life.
const PING: Duration = Duration::from_secs(30);
/// An operator who takes nothing for this long is gone.
const STALLED: Duration = Duration::from_secs(120);
/// Time for the last words.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Bytes of a reason in a close frame (RFC 6455, section 5.5: 125 with the code).
const MAX_REASON: usize = 120;

/// What went through a tunnel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Carried {
    /// Bytes to the device.
    pub up: u64,
    /// Bytes to the operator.
    pub down: u64,
    /// Why it ended; empty: as it should.
    pub reason: String,
}

/// Bounds what one message may be.
pub fn bounded(upgrade: WebSocketUpgrade) -> WebSocketUpgrade {
    upgrade.max_message_size(MAX_MESSAGE).max_frame_size(MAX_MESSAGE)
}

/// Carries bytes between an operator and a tunnel until either side is done.
pub async fn carry<E>(socket: WebSocket, end: E) -> Carried
where
    E: AsyncRead + AsyncWrite + Send + Unpin,
{
    let (mut sink, mut stream) = socket.split();
    let (mut from_device, mut to_device) = tokio::io::split(end);
    let mut carried = Carried::default();
    let (mut up, mut down) = (0, 0);
    carried.reason = tokio::select! {
        reason = upwards(&mut stream, &mut to_device, &mut up) => reason,
        reason = downwards(&mut from_device, &mut sink, &mut down) => reason,
    };
    (carried.up, carried.down) = (up, down);
    timeout(LAST_WORDS, to_device.shutdown()).await.ok();
    timeout(LAST_WORDS, close(&mut sink, &carried.reason)).await.ok();
    carried
}

/// Tells an operator why there is no tunnel.
pub async fn refuse(socket: WebSocket, reason: &str) {
    let (mut sink, _stream) = socket.split();
    timeout(LAST_WORDS, close(&mut sink, reason)).await.ok();
}

async fn upwards<W: AsyncWrite + Unpin>(stream: &mut SplitStream<WebSocket>, device: &mut W, up: &mut u64) -> String {
    loop {
        match stream.next().await {
            Some(Ok(Message::Binary(data))) => {
                if let Err(error) = device.write_all(&data).await {
                    return error.to_string();
                }
                *up += data.len() as u64;
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Text(_))) => return "a tunnel carries binary messages only".to_owned(),
            Some(Ok(Message::Close(_))) | None => return String::new(),
            Some(Err(error)) => return error.to_string(),
        }
    }
}

async fn downwards<R: AsyncRead + Unpin>(device: &mut R, sink: &mut SplitSink<WebSocket, Message>, down: &mut u64) -> String {
    let mut buffer = vec![0; PIECE];
    let mut ping = interval_at(Instant::now() + PING, PING);
    loop {
        let message = tokio::select! {
            read = device.read(&mut buffer) => match read {
                Ok(0) => return String::new(),
                Ok(bytes) => {
                    *down += bytes as u64;
                    Message::Binary(Bytes::copy_from_slice(&buffer[..bytes]))
                }
                Err(error) => return error.to_string(),
            },
            _ = ping.tick() => Message::Ping(Bytes::new()),
        };
        match timeout(STALLED, sink.send(message)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error.to_string(),
            Err(_) => return "the operator's side takes nothing".to_owned(),
        }
    }
}

async fn close(sink: &mut SplitSink<WebSocket, Message>, reason: &str) -> Result<(), axum::Error> {
    let code = if reason.is_empty() { close_code::NORMAL } else { close_code::ERROR };
    let end = reason.floor_char_boundary(MAX_REASON);
    let frame = CloseFrame { code, reason: Utf8Bytes::from(&reason[..end]) };
    sink.send(Message::Close(Some(frame))).await
}
