//! The far side of a tunnel: a WebSocket whose binary messages are bytes of the connection.
//!
//! Text messages end it: nothing else is spoken here. Whoever vanished is noticed by the pings.

use std::fmt::Display;
use std::future::ready;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{self, WebSocket, WebSocketUpgrade};
use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, interval_at, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, frame::coding::CloseCode};
use tokio_tungstenite::tungstenite::{self, Message};

/// Bytes of one message at most, both ways.
pub(crate) const MAX_MESSAGE: usize = 64 << 10;
/// Bytes that are read from the tunnel at once.
const PIECE: usize = 16 << 10;
/// How often the far side is asked for a sign of life.
const PING: Duration = Duration::from_secs(30);
/// A far side that takes nothing for this long is gone.
const STALLED: Duration = Duration::from_secs(120);
/// Time for the last words.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Bytes of a reason in a close frame (RFC 6455, section 5.5: 125 with the code).
const MAX_REASON: usize = 120;

/// What a WebSocket says, whichever library reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Frame {
    Data(Bytes),
    /// Asks for a sign of life; what it says does not matter.
    Ping,
    /// A sign of life.
    Alive,
    /// What has no place here.
    Text,
    /// The end; the reason is empty when all is well.
    End(String),
}

/// What went through a tunnel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Carried {
    /// Bytes to the device.
    pub up: u64,
    /// Bytes from the device.
    pub down: u64,
    /// Why it ended; empty: as it should.
    pub reason: String,
}

/// Bounds what one message may be.
pub(super) fn bounded(upgrade: WebSocketUpgrade) -> WebSocketUpgrade {
    upgrade.max_message_size(MAX_MESSAGE).max_frame_size(MAX_MESSAGE)
}

/// Carries bytes between whoever opened this WebSocket and a tunnel, until either is done.
pub(super) async fn carry<E>(socket: WebSocket, end: E) -> Carried
where
    E: AsyncRead + AsyncWrite + Send + Unpin,
{
    let (sink, stream) = socket.split();
    let sink = sink.with(|frame| ready(Ok::<_, axum::Error>(frame_for_axum(frame))));
    let stream = stream.map(|message| message.map(frame_of_axum));
    between(sink, stream, end).await
}

/// The same for a WebSocket that was opened from here.
pub(crate) async fn carry_out<S, E>(socket: WebSocketStream<S>, end: E) -> Carried
where
    S: AsyncRead + AsyncWrite + Unpin,
    E: AsyncRead + AsyncWrite + Send + Unpin,
{
    let (sink, stream) = socket.split();
    let sink = sink.with(|frame| ready(Ok::<_, tungstenite::Error>(frame_for_tungstenite(frame))));
    let stream = stream.map(|message| message.map(frame_of_tungstenite));
    between(sink, stream, end).await
}

fn frame_of_axum(message: ws::Message) -> Frame {
    match message {
        ws::Message::Binary(data) => Frame::Data(data),
        ws::Message::Text(_) => Frame::Text,
        ws::Message::Ping(_) | ws::Message::Pong(_) => Frame::Alive,
        ws::Message::Close(frame) => Frame::End(frame.map(|frame| frame.reason.to_string()).unwrap_or_default()),
    }
}

fn frame_for_axum(frame: Frame) -> ws::Message {
    match frame {
        Frame::Data(data) => ws::Message::Binary(data),
        Frame::Ping => ws::Message::Ping(Bytes::new()),
        Frame::Alive => ws::Message::Pong(Bytes::new()),
        Frame::Text => ws::Message::Text(ws::Utf8Bytes::default()),
        Frame::End(reason) => {
            let code = if reason.is_empty() { ws::close_code::NORMAL } else { ws::close_code::ERROR };
            ws::Message::Close(Some(ws::CloseFrame { code, reason: reason.into() }))
        }
    }
}

fn frame_of_tungstenite(message: Message) -> Frame {
    match message {
        Message::Binary(data) => Frame::Data(data),
        Message::Text(_) => Frame::Text,
        Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Frame::Alive,
        Message::Close(frame) => Frame::End(frame.map(|frame| frame.reason.to_string()).unwrap_or_default()),
    }
}

fn frame_for_tungstenite(frame: Frame) -> Message {
    match frame {
        Frame::Data(data) => Message::Binary(data),
        Frame::Ping => Message::Ping(Bytes::new()),
        Frame::Alive => Message::Pong(Bytes::new()),
        Frame::Text => Message::Text(tungstenite::Utf8Bytes::default()),
        Frame::End(reason) => {
            let code = if reason.is_empty() { CloseCode::Normal } else { CloseCode::Error };
            Message::Close(Some(CloseFrame { code, reason: reason.into() }))
        }
    }
}

async fn between<Si, St, E, R>(mut sink: Si, mut stream: St, end: E) -> Carried
where
    Si: Sink<Frame, Error = R> + Unpin,
    St: Stream<Item = Result<Frame, R>> + Unpin,
    E: AsyncRead + AsyncWrite + Send + Unpin,
    R: Display,
{
    let (mut from_device, mut to_device) = tokio::io::split(end);
    let (mut up, mut down) = (0, 0);
    let reason = tokio::select! {
        reason = upwards(&mut stream, &mut to_device, &mut up) => reason,
        reason = downwards(&mut from_device, &mut sink, &mut down) => reason,
    };
    let last = Frame::End(reason[..reason.floor_char_boundary(MAX_REASON)].to_owned());
    // Neither side has to hear them: it may be the one that left.
    timeout(LAST_WORDS, to_device.shutdown()).await.ok();
    timeout(LAST_WORDS, sink.send(last)).await.ok();
    Carried { up, down, reason }
}

async fn upwards<St, W, R>(stream: &mut St, device: &mut W, up: &mut u64) -> String
where
    St: Stream<Item = Result<Frame, R>> + Unpin,
    W: AsyncWrite + Unpin,
    R: Display,
{
    loop {
        match stream.next().await {
            Some(Ok(Frame::Data(data))) => {
                if let Err(error) = device.write_all(&data).await {
                    return error.to_string();
                }
                *up += data.len() as u64;
            }
            Some(Ok(Frame::Ping | Frame::Alive)) => {}
            Some(Ok(Frame::Text)) => return "a tunnel carries binary messages only".to_owned(),
            Some(Ok(Frame::End(reason))) => return reason,
            Some(Err(error)) => return error.to_string(),
            None => return String::new(),
        }
    }
}

async fn downwards<D, Si, R>(device: &mut D, sink: &mut Si, down: &mut u64) -> String
where
    D: AsyncRead + Unpin,
    Si: Sink<Frame, Error = R> + Unpin,
    R: Display,
{
    let mut buffer = vec![0; PIECE];
    let mut ping = interval_at(Instant::now() + PING, PING);
    loop {
        let frame = tokio::select! {
            read = device.read(&mut buffer) => match read {
                Ok(0) => return String::new(),
                Ok(bytes) => {
                    *down += bytes as u64;
                    Frame::Data(Bytes::copy_from_slice(&buffer[..bytes]))
                }
                Err(error) => return error.to_string(),
            },
            _ = ping.tick() => Frame::Ping,
        };
        match timeout(STALLED, sink.send(frame)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error.to_string(),
            Err(_) => return "the other side takes nothing".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;
    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::*;

    async fn pair() -> (WebSocketStream<tokio::io::DuplexStream>, WebSocketStream<tokio::io::DuplexStream>) {
        let (client, server) = duplex(8 << 10);
        tokio::join!(
            WebSocketStream::from_raw_socket(client, Role::Client, None),
            WebSocketStream::from_raw_socket(server, Role::Server, None)
        )
    }

    #[tokio::test]
    async fn bytes_are_carried_until_the_device_is_done() {
        let (mut operator, hub) = pair().await;
        let (mut device, end) = duplex(4 << 10);
        let carrying = tokio::spawn(carry_out(hub, end));
        operator.send(Message::Binary(Bytes::from_static(b"ping"))).await.unwrap();
        let mut four = [0; 4];
        device.read_exact(&mut four).await.unwrap();
        device.write_all(b"pong!").await.unwrap();
        assert_eq!(operator.next().await.unwrap().unwrap(), Message::Binary(Bytes::from_static(b"pong!")));
        drop(device);
        let Some(Ok(Message::Close(Some(frame)))) = operator.next().await else { panic!("an end") };
        assert_eq!(frame.code, CloseCode::Normal);
        assert_eq!(carrying.await.unwrap(), Carried { up: 4, down: 5, reason: String::new() });
    }

    #[tokio::test]
    async fn text_ends_a_tunnel() {
        let (mut operator, hub) = pair().await;
        let (_device, end) = duplex(4 << 10);
        let carrying = tokio::spawn(carry_out(hub, end));
        operator.send(Message::Text("hello".into())).await.unwrap();
        assert!(matches!(operator.next().await, Some(Ok(Message::Close(Some(frame)))) if frame.code == CloseCode::Error));
        assert!(carrying.await.unwrap().reason.contains("binary"));
    }
}
