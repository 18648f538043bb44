//! When a load over HTTP is complete: not when its last byte was handed to this host's network, which takes a small image whole, but when the machine's
//! network has acknowledged it. Until then the delivery stays here, and is broken off when the connection ends first.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::getpeername;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::serve::warehouse::Delivery;
use crate::sys;

/// How often the kernel is asked what was acknowledged: it offers no event for that.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What the parts of one connection tell each other.
#[derive(Debug, Default)]
pub struct Tally {
    /// Grows with whatever moves, for whoever watches for a standstill.
    moved: AtomicU64,
    /// Bytes that the kernel took over.
    written: AtomicU64,
    waiting: Mutex<Waiting>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Deliveries whose last byte is not yet with the kernel.
    leaving: Vec<Delivery>,
    /// Those whose last byte is, and how many bytes of the connection must be acknowledged for that one to be.
    sent: Vec<(u64, Delivery)>,
    /// Nothing more will be written.
    is_over: bool,
}

impl Tally {
    /// Something moved.
    pub fn tick(&self, count: u64) {
        self.moved.fetch_add(count, Ordering::Relaxed);
    }

    /// How much has moved.
    pub fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    /// The last byte of a delivery is on its way to the kernel.
    pub fn hand_over(&self, delivery: Delivery) {
        self.waiting().leaving.push(delivery);
    }

    /// Everything on its way has reached the kernel.
    fn flushed(&self) {
        let mut waiting = self.waiting();
        if waiting.leaving.is_empty() {
            return;
        }
        let written = self.written.load(Ordering::Relaxed);
        let leaving = std::mem::take(&mut waiting.leaving);
        waiting.sent.extend(leaving.into_iter().map(|delivery| (written, delivery)));
        drop(waiting);
        self.changed.notify_one();
    }

    /// The connection writes nothing more: what has not reached the kernel never will.
    pub fn end(&self) {
        let mut waiting = self.waiting();
        waiting.is_over = true;
        let lost = std::mem::take(&mut waiting.leaving);
        drop(waiting); // a delivery that is dropped tells so
        drop(lost);
        self.changed.notify_one();
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes out the deliveries that are complete when so many bytes are acknowledged.
    fn complete(&self, acknowledged: u64) -> Vec<Delivery> {
        let mut waiting = self.waiting();
        let sent = std::mem::take(&mut waiting.sent).into_iter();
        let (complete, sent): (Vec<_>, Vec<_>) = sent.partition(|(end, _)| *end <= acknowledged);
        waiting.sent = sent;
        complete.into_iter().map(|(_, delivery)| delivery).collect()
    }

    /// Bytes of the connection that the other side has acknowledged. The kernel is asked last, so that it is never more than there are.
    fn acknowledged(&self, connection: impl AsFd) -> io::Result<u64> {
        let written = self.written.load(Ordering::Relaxed);
        Ok(written.saturating_sub(sys::unacknowledged(connection)?))
    }

    /// What to wait for next.
    fn next(&self) -> Next {
        let waiting = self.waiting();
        match (waiting.sent.is_empty(), waiting.is_over) {
            (false, _) => Next::Acknowledgement,
            (true, false) => Next::Change,
            (true, true) => Next::Nothing,
        }
    }
}

/// What to wait for.
enum Next {
    /// The other side's word.
    Acknowledgement,
    /// Something to be sent.
    Change,
    /// It is over.
    Nothing,
}

/// Finishes the deliveries of a connection, each when it is acknowledged; ends when the connection is over and all that was sent is acknowledged, or
/// never will be. `connection` is a descriptor of its own: it must outlive the stream.
pub async fn collect(tally: &Tally, connection: OwnedFd) {
    let mut last = 0;
    loop {
        // Whether it lives is asked first: what was acknowledged before its end counts.
        let is_gone = is_gone(&connection);
        let acknowledged = tally.acknowledged(&connection).unwrap_or(last);
        if acknowledged > last {
            tally.tick(acknowledged - last);
            last = acknowledged;
        }
        for delivery in tally.complete(acknowledged) {
            delivery.finish().await;
        }
        match tally.next() {
            Next::Nothing => return,
            Next::Acknowledgement if is_gone => return,
            Next::Acknowledgement => tokio::time::sleep(LOOK_EVERY).await,
            Next::Change => tally.changed.notified().await,
        }
    }
}

/// Whether the connection was reset, or is at its end on both sides: then it has no peer any more.
fn is_gone(connection: impl AsFd) -> bool {
    matches!(getpeername(connection), Err(Errno::NOTCONN))
}

/// A connection that tells its tally what the kernel took.
#[derive(Debug)]
pub struct Counted {
    stream: TcpStream,
    tally: Arc<Tally>,
}

impl Counted {
    /// The stream, told to the tally.
    pub fn new(stream: TcpStream, tally: Arc<Tally>) -> Self {
        Self { stream, tally }
    }

    fn count(&self, written: io::Result<usize>) -> io::Result<usize> {
        if let Ok(bytes) = written {
            self.tally.written.fetch_add(bytes as u64, Ordering::Relaxed);
        }
        written
    }
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes));
        Poll::Ready(self.count(written))
    }

    /// Hyper asks for this only when it holds back nothing itself.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.tally.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, parts));
        Poll::Ready(self.count(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
