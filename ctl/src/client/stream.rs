//! The TLS stream under HTTP/2, keeping the alert it ends with.
//!
//! With TLS 1.3 a client learns after its handshake that the server refused its certificate; HTTP/2 then reports no more than
//! "operation was canceled". The alert says why.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use rustls::AlertDescription;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Where the alert is left.
#[derive(Debug, Clone, Default)]
pub(super) struct AlertSlot(Arc<Mutex<Option<AlertDescription>>>);

impl AlertSlot {
    pub(super) fn get(&self) -> Option<AlertDescription> {
        self.0.lock().map_or(None, |slot| *slot)
    }

    fn keep(&self, error: &io::Error) {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if let (Some(rustls::Error::AlertReceived(alert)), Ok(mut slot)) = (inner, self.0.lock()) {
            slot.get_or_insert(*alert);
        }
    }
}

/// A stream that leaves its fatal alert in an [`AlertSlot`].
#[derive(Debug)]
pub(super) struct Watched<S> {
    stream: S,
    alert: AlertSlot,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Watched<S> {
    pub(super) fn new(stream: S, alert: AlertSlot) -> Self {
        Self { stream, alert }
    }

    fn watch<T>(&self, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &result {
            self.alert.keep(error);
        }
        result
    }

    /// A peer that refuses sends its alert and closes; writing then fails before the alert was read. It is still there to read.
    fn watch_write<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(_)) = &result {
            let mut scratch = [0; 256];
            let mut buffer = ReadBuf::new(&mut scratch);
            if let Poll::Ready(Err(error)) = Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                self.alert.keep(&error);
            }
        }
        self.watch(result)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.watch(result)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch_write(cx, result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch_write(cx, result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.watch(result)
    }
}
