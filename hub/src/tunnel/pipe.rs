//! The two ends of a tunnel inside the hub: the operator's, which reads and writes bytes, and the session's, which moves them as the device's
//! credit allows.
//!
//! Each direction holds one window of bytes at most, whoever is slow. Nothing is looked at: the bytes are TLS between operator and device.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use api::hub::TUNNEL_WINDOW_BYTES;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

/// Bytes on their way to the device that wait here at most.
const WINDOW: usize = TUNNEL_WINDOW_BYTES as usize;

#[derive(Debug)]
enum Stage {
    Opening,
    Open,
    /// Over; the reason is empty when it ended as it should.
    Closed(String),
}

#[derive(Debug)]
struct State {
    stage: Stage,
    to_device: VecDeque<u8>,
    to_operator: VecDeque<u8>,
    /// Read by the operator, not yet told to the session.
    taken: u32,
    left: bool,
    /// Waits for bytes, or for the stage to change.
    reader: Option<Waker>,
    /// Waits for room.
    writer: Option<Waker>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Wakes the session.
    session: Arc<Notify>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that could panic happens under it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }
}

/// The operator's end. Dropping it closes the tunnel.
#[derive(Debug)]
pub struct OperatorEnd(Arc<Shared>);

/// The session's end. Dropping it closes the tunnel.
#[derive(Debug)]
pub struct SessionEnd(Arc<Shared>);

/// A new tunnel; `session` is woken when there is something to do for it.
pub fn pipe(session: Arc<Notify>) -> (OperatorEnd, SessionEnd) {
    let state = State {
        stage: Stage::Opening,
        to_device: VecDeque::new(),
        to_operator: VecDeque::new(),
        taken: 0,
        left: false,
        reader: None,
        writer: None,
    };
    let shared = Arc::new(Shared { state: Mutex::new(state), session });
    (OperatorEnd(Arc::clone(&shared)), SessionEnd(shared))
}

impl OperatorEnd {
    /// Waits until the device has opened it; the error says why it did not.
    pub async fn opened(&mut self) -> Result<(), String> {
        std::future::poll_fn(|context| {
            let mut state = self.0.state();
            match &state.stage {
                Stage::Open => Poll::Ready(Ok(())),
                Stage::Closed(reason) if reason.is_empty() => Poll::Ready(Err("the device closed the connection".to_owned())),
                Stage::Closed(reason) => Poll::Ready(Err(reason.clone())),
                Stage::Opening => {
                    state.reader = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}

impl AsyncRead for OperatorEnd {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.state();
        if state.to_operator.is_empty() {
            return match &state.stage {
                Stage::Closed(reason) if reason.is_empty() => Poll::Ready(Ok(())),
                Stage::Closed(reason) => Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionReset, reason.clone()))),
                Stage::Opening | Stage::Open => {
                    state.reader = Some(context.waker().clone());
                    Poll::Pending
                }
            };
        }
        let piece = state.to_operator.as_slices().0;
        let bytes = piece.len().min(buffer.remaining());
        buffer.put_slice(&piece[..bytes]);
        state.to_operator.drain(..bytes);
        state.taken = state.taken.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        self.0.session.notify_one();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for OperatorEnd {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.0.state();
        if matches!(state.stage, Stage::Closed(_)) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = WINDOW - state.to_device.len().min(WINDOW);
        if room == 0 {
            state.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        let piece = &bytes[..bytes.len().min(room)];
        state.to_device.extend(piece);
        self.0.session.notify_one();
        Poll::Ready(Ok(piece.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Waits until the session has taken everything; dropping the end then loses nothing.
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.state();
        if state.to_device.is_empty() || matches!(state.stage, Stage::Closed(_)) {
            return Poll::Ready(Ok(()));
        }
        state.writer = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Drop for OperatorEnd {
    fn drop(&mut self) {
        self.0.state().left = true;
        self.0.session.notify_one();
    }
}

impl SessionEnd {
    /// The device has opened it.
    pub fn opened(&self) {
        let mut state = self.0.state();
        if matches!(state.stage, Stage::Opening) {
            state.stage = Stage::Open;
        }
        state.wake();
    }

    /// It is over; the operator still gets what is on its way.
    pub fn closed(&self, reason: String) {
        let mut state = self.0.state();
        if !matches!(state.stage, Stage::Closed(_)) {
            state.stage = Stage::Closed(reason);
        }
        state.wake();
    }

    /// What waits for the device, at most so much of it.
    pub fn take(&self, most: usize) -> Vec<u8> {
        let mut state = self.0.state();
        let bytes = most.min(state.to_device.len());
        let data = state.to_device.drain(..bytes).collect();
        if bytes > 0 {
            state.wake();
        }
        data
    }

    /// Hands bytes of the device to the operator. The caller keeps the books: no more than a window is on its way.
    pub fn give(&self, data: &[u8]) {
        let mut state = self.0.state();
        state.to_operator.extend(data);
        state.wake();
    }

    /// What the operator has read since this was asked last.
    pub fn taken(&self) -> u32 {
        std::mem::take(&mut self.0.state().taken)
    }

    /// Whether the operator is gone.
    pub fn left(&self) -> bool {
        self.0.state().left
    }
}

impl Drop for SessionEnd {
    fn drop(&mut self) {
        self.closed("the device's session ended".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn bytes_pass_both_ways_and_the_last_ones_are_not_lost() {
        let (mut operator, session) = pipe(Arc::default());
        session.opened();
        operator.opened().await.unwrap();
        operator.write_all(b"hello").await.unwrap();
        assert_eq!(session.take(3), b"hel");
        assert_eq!(session.take(99), b"lo");
        session.give(b"wor");
        session.give(b"ld");
        session.closed(String::new());
        let mut all = Vec::new();
        operator.read_to_end(&mut all).await.unwrap();
        assert_eq!((all.as_slice(), session.taken(), session.taken()), (b"world".as_slice(), 5, 0));
    }

    #[tokio::test]
    async fn an_operator_who_sends_faster_than_the_device_takes_has_to_wait() {
        let (mut operator, session) = pipe(Arc::default());
        let flood = timeout(Duration::from_millis(20), operator.write_all(&vec![0; 10 * WINDOW])).await;
        assert!(flood.is_err(), "it waits");
        assert_eq!(session.take(usize::MAX).len(), WINDOW, "and a window is kept, no more");
    }

    #[tokio::test]
    async fn who_is_gone_is_noticed_on_the_other_side() {
        let (operator, session) = pipe(Arc::default());
        drop(operator);
        assert!(session.left());
        let (mut operator, session) = pipe(Arc::default());
        drop(session);
        assert_eq!(operator.opened().await.unwrap_err(), "the device's session ended");
        let reset = operator.read_u8().await.unwrap_err();
        assert_eq!(reset.kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(operator.write_u8(1).await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn shutting_down_waits_until_all_was_taken() {
        let (mut operator, session) = pipe(Arc::default());
        operator.write_all(b"bye").await.unwrap();
        assert!(timeout(Duration::from_millis(20), operator.shutdown()).await.is_err());
        session.take(3);
        operator.shutdown().await.unwrap();
    }
}
