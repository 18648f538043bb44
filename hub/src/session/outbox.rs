//! What the hub has to say to a device and the connection has not taken yet: a bounded queue that is the call's answer.
//!
//! The session never waits for a slow device here, so it goes on reading; a device that does not read fills its queue and is cut off.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use api::hub::v1::{HubMessage, hub_message};
use api::hub::{MAX_MESSAGE_BYTES, MAX_TUNNELS, TUNNEL_WINDOW_BYTES};
use prost::Message as _;
use tokio::sync::Notify;
use tokio_stream::Stream;
use tonic::Status;

/// Bytes that wait for one device at most: the windows of all its tunnels, and two configurations.
const MAX_BYTES: usize = MAX_TUNNELS * TUNNEL_WINDOW_BYTES as usize + 2 * MAX_MESSAGE_BYTES;
/// Messages that wait for it at most.
const MAX_MESSAGES: usize = 512;

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<HubMessage>,
    bytes: usize,
    waker: Option<Waker>,
    finished: bool,
    /// The connection is gone.
    gone: bool,
}

/// The session's side.
#[derive(Debug)]
pub(super) struct Outbox(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Wakes the session when the connection is gone.
    session: Arc<Notify>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that could panic happens under it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The connection's side.
#[derive(Debug)]
pub(super) struct Messages(Arc<Shared>);

/// The device does not take what it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the device does not read what it is sent")]
pub(super) struct Stuffed;

/// A new queue.
pub(super) fn outbox(session: Arc<Notify>) -> (Outbox, Messages) {
    let shared = Arc::new(Shared { state: Mutex::default(), session });
    (Outbox(Arc::clone(&shared)), Messages(shared))
}

impl Outbox {
    /// Puts a message behind the others.
    pub(super) fn push(&self, kind: hub_message::Kind) -> Result<(), Stuffed> {
        let message = HubMessage { kind: Some(kind) };
        let bytes = message.encoded_len();
        let mut state = self.0.state();
        if state.queue.len() >= MAX_MESSAGES || state.bytes + bytes > MAX_BYTES {
            return Err(Stuffed);
        }
        state.queue.push_back(message);
        state.bytes += bytes;
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
        Ok(())
    }

    /// Whether the connection is gone, so that nothing will be taken any more.
    pub(super) fn gone(&self) -> bool {
        self.0.state().gone
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.finished = true;
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }
}

impl Stream for Messages {
    type Item = Result<HubMessage, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut state = self.0.state();
        if let Some(message) = state.queue.pop_front() {
            state.bytes -= message.encoded_len();
            if state.queue.is_empty() {
                // An idle device keeps no memory for what it was once sent.
                state.queue.shrink_to(4);
            }
            return Poll::Ready(Some(Ok(message)));
        }
        if state.finished {
            return Poll::Ready(None);
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        self.0.state().gone = true;
        self.0.session.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use api::hub::v1::{HeartbeatReceived, TunnelData};
    use tokio_stream::StreamExt as _;

    use super::*;

    #[tokio::test]
    async fn messages_come_in_order_and_then_the_end() {
        let (outbox, mut messages) = outbox(Arc::default());
        for number in 1..=3 {
            outbox.push(hub_message::Kind::HeartbeatReceived(HeartbeatReceived { number })).unwrap();
        }
        drop(outbox);
        for expected in 1..=3 {
            let kind = messages.next().await.unwrap().unwrap().kind;
            assert_eq!(kind, Some(hub_message::Kind::HeartbeatReceived(HeartbeatReceived { number: expected })));
        }
        assert!(messages.next().await.is_none());
    }

    #[test]
    fn a_device_that_does_not_read_costs_a_bounded_amount() {
        let (outbox, messages) = outbox(Arc::default());
        let data = || hub_message::Kind::TunnelData(TunnelData { id: 1, data: vec![0; 16 << 10] });
        let taken = (0..10_000).take_while(|_| outbox.push(data()).is_ok()).count();
        assert!(taken * (16 << 10) <= MAX_BYTES, "{taken} pieces");
        drop(messages);
        assert!(outbox.gone());
    }
}
