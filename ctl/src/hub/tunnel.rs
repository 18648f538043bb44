//! A connection to a device, carried by the hub inside a WebSocket: its binary messages are the bytes, in order, with no meaning to the hub.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::{Sink as _, Stream as _};
use http::header::{CONNECTION, HeaderValue, UPGRADE};
use http::{Method, StatusCode};
use hyper::body::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use machine_config::types::DeviceId;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::{Body, Hub, HubError, routes};

/// Bytes of one message at most, either way; the hub's own bound.
const MAX_MESSAGE: usize = 64 << 10;
/// Bytes that are put into one message from here.
const PIECE: usize = 16 << 10;

/// The connection. What is read and written is between the device and whoever speaks with it; the hub sees TLS.
#[derive(Debug)]
pub struct Tunnel {
    socket: WebSocketStream<TokioIo<Upgraded>>,
    /// Received and not yet read.
    received: Bytes,
}

impl Hub {
    /// Opens a connection to a device that is connected to this hub.
    ///
    /// # Errors
    /// The hub is not reached or not trusted, or gives none: the device is not connected, or does not want.
    pub async fn tunnel(&self, device: &DeviceId) -> Result<Tunnel, HubError> {
        self.within(self.upgrade(&routes::tunnel(device))).await
    }

    async fn upgrade(&self, path: &str) -> Result<Tunnel, HubError> {
        let asked = format!("GET {path}");
        let key = generate_key();
        let mut request = self.request(Method::GET, path, Body::None)?;
        let headers = request.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert("sec-websocket-version", HeaderValue::from_static("13"));
        headers.insert("sec-websocket-key", HeaderValue::try_from(&key).expect("a key is Base64"));
        let response = self.send(request).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(self.refusal(&asked, response).await?);
        }
        let accepted = response.headers().get("sec-websocket-accept");
        if accepted.is_none_or(|accepted| accepted != derive_accept_key(key.as_bytes()).as_str()) {
            return Err(self.senseless(asked, "it begins another WebSocket than the one asked for".to_owned()));
        }
        let upgraded = hyper::upgrade::on(response).await.map_err(|source| HubError::Lost { url: self.url.clone(), source })?;
        let bounds = WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE));
        let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, Some(bounds)).await;
        Ok(Tunnel { socket, received: Bytes::new() })
    }
}

impl Tunnel {
    /// Takes the next message; true: the connection has ended as it should.
    fn poll_message(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let message = match ready!(Pin::new(&mut self.socket).poll_next(context)) {
            None => return Poll::Ready(Ok(true)),
            Some(message) => message.map_err(io_error)?,
        };
        Poll::Ready(match message {
            Message::Binary(data) => {
                self.received = data;
                Ok(false)
            }
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Ok(false),
            Message::Text(_) => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "the hub sends text where the device's bytes belong"))
            }
            Message::Close(frame) => match frame.map(|frame| frame.reason.to_string()).filter(|reason| !reason.is_empty()) {
                None => Ok(true),
                Some(reason) => Err(io::Error::new(io::ErrorKind::ConnectionReset, format!("the hub ended it: {reason}"))),
            },
        })
    }
}

fn io_error(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        Error::ConnectionClosed | Error::AlreadyClosed => io::ErrorKind::BrokenPipe.into(),
        other => io::Error::other(other),
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.received.is_empty() {
            if ready!(self.poll_message(context))? {
                return Poll::Ready(Ok(()));
            }
        }
        let bytes = self.received.len().min(buffer.remaining());
        buffer.put_slice(&self.received.split_to(bytes));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(Pin::new(&mut self.socket).poll_ready(context)).map_err(io_error)?;
        let piece = &bytes[..bytes.len().min(PIECE)];
        let message = Message::Binary(Bytes::copy_from_slice(piece));
        Pin::new(&mut self.socket).start_send(message).map_err(io_error)?;
        Poll::Ready(Ok(piece.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context).map_err(io_error)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match ready!(Pin::new(&mut self.socket).poll_close(context)) {
            Ok(()) | Err(Error::ConnectionClosed | Error::AlreadyClosed) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(io_error(error))),
        }
    }
}
