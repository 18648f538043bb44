//! What the device has to tell: its status as it is now, and events in a queue with bounds. A full queue loses the oldest, and says so.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use api::v1::{Event, StatusResponse};
use prost::Message;
use tokio::sync::{Notify, watch};

/// Events kept while there is no hub to tell.
const MAX_EVENTS: usize = 256;
/// Bytes of one event's text; longer text is cut.
const MAX_TEXT: usize = 512;

/// Status and events of a device.
#[derive(Debug, Clone)]
pub struct Feed {
    /// The status as the API tells it; none: not known yet.
    pub status: watch::Receiver<Option<StatusResponse>>,
    /// Events that no hub has been told yet.
    pub events: EventQueue,
}

/// Events that wait. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct EventQueue(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<Event>,
    lost: u64,
}

impl EventQueue {
    /// Adds one; in a full queue the oldest makes room.
    pub fn push(&self, mut event: Event) {
        for text in [&mut event.kind, &mut event.subject, &mut event.message] {
            text.truncate(text.floor_char_boundary(MAX_TEXT));
        }
        let mut waiting = self.lock();
        if waiting.events.len() >= MAX_EVENTS {
            waiting.events.pop_front();
            waiting.lost += 1;
        }
        waiting.events.push_back(event);
        drop(waiting);
        self.0.news.notify_one();
    }

    /// Takes the oldest ones, as many as fit into so many bytes; before them one that says how many were lost.
    pub fn take(&self, bytes: usize) -> Vec<Event> {
        let mut waiting = self.lock();
        let mut taken = Vec::new();
        if waiting.lost > 0 {
            let message = format!("{} events before this one were lost: nobody took them in time", waiting.lost);
            let next = waiting.events.front();
            let (time, sequence) = (next.and_then(|next| next.time), next.map_or(0, |next| next.sequence.saturating_sub(1)));
            taken.push(Event { time, sequence, kind: "hub".into(), subject: "events".into(), message });
            waiting.lost = 0;
        }
        let mut room = bytes;
        while let Some(event) = waiting.events.front() {
            // A tag and a length stand before each.
            let Some(rest) = room.checked_sub(event.encoded_len() + 8) else { break };
            room = rest;
            taken.extend(waiting.events.pop_front());
        }
        taken
    }

    /// Whether any waits.
    pub fn is_empty(&self) -> bool {
        self.lock().events.is_empty()
    }

    /// Completes when one was added since the last time.
    pub async fn news(&self) {
        self.0.news.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing that could panic happens under it.
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The status without what changes all the time and without what the hub knows itself: what is left changes when something happened.
pub(super) fn steady(status: &StatusResponse) -> StatusResponse {
    StatusResponse { time: None, uptime_ms: 0, hub: String::new(), ..status.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(sequence: u64, message: &str) -> Event {
        Event { sequence, message: message.into(), ..Event::default() }
    }

    #[test]
    fn a_full_queue_loses_the_oldest_and_says_how_many() {
        let queue = EventQueue::default();
        for sequence in 1..=300 {
            queue.push(event(sequence, "x"));
        }
        let taken = queue.take(1 << 20);
        assert_eq!(taken.len(), MAX_EVENTS + 1);
        assert!(taken[0].message.starts_with("44 events"), "{}", taken[0].message);
        assert_eq!((taken[0].sequence, taken[1].sequence), (44, 45));
        assert!(queue.is_empty() && queue.take(1 << 20).is_empty(), "nothing is told twice");
    }

    #[test]
    fn batches_are_bounded_and_long_texts_cut() {
        let queue = EventQueue::default();
        for sequence in 0..100 {
            queue.push(event(sequence, &"ä".repeat(10_000)));
        }
        let taken = queue.take(8 << 10);
        assert_eq!(taken.len(), 15, "{} bytes each", taken[0].encoded_len());
        assert_eq!(queue.take(1 << 20).len(), 85);
    }

    #[test]
    fn time_that_passes_is_no_change() {
        let status =
            StatusResponse { uptime_ms: 1, hub: "admitted".into(), phase: "healthy".into(), ..StatusResponse::default() };
        let later = StatusResponse { uptime_ms: 2, hub: String::new(), ..status.clone() };
        assert_eq!(steady(&status), steady(&later));
        assert_ne!(steady(&status), steady(&StatusResponse { healthy: true, ..later }));
    }
}
