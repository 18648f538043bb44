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
pub(crate) struct AlertSlot(Arc<Mutex<Option<AlertDescription>>>);

impl AlertSlot {
    pub(crate) fn get(&self) -> Option<AlertDescription> {
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
pub(crate) struct Watched<S> {
    stream: S,
    alert: AlertSlot,
    /// A write failed with this; what the peer said before it left is being read.
    failed_write: Option<io::Error>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Watched<S> {
    pub(crate) fn new(stream: S, alert: AlertSlot) -> Self {
        Self { stream, alert, failed_write: None }
    }

    fn read(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if let Poll::Ready(Err(error)) = &result {
            self.alert.keep(error);
        }
        result
    }

    /// Writes, unless writing has failed before. A peer that refuses sends its alert and closes, so writing may fail before the alert
    /// was read: the failure is reported once the stream has been read to its end. A connection that cannot be written to is over, so
    /// the end is near and nothing of use is lost.
    fn write<T>(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if self.failed_write.is_none() {
            match write(Pin::new(&mut self.stream), cx) {
                Poll::Ready(Err(error)) => self.failed_write = Some(error),
                other => return other,
            }
        }
        loop {
            let mut scratch = [0; 1024];
            let mut buffer = ReadBuf::new(&mut scratch);
            match self.read(cx, &mut buffer) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                Poll::Ready(Ok(()) | Err(_)) => break,
            }
        }
        let error = self.failed_write.take().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into());
        Poll::Ready(Err(error))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.write(cx, |stream, cx| stream.poll_write(cx, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write(cx, |stream, cx| stream.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
