//! The event log: what happened on this device since boot, bounded, with subscribers.
//!
//! It keeps the newest events in memory and forgets the oldest; it writes nothing to disk.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use tokio::sync::broadcast;

/// Events kept for those who ask later.
const KEPT: usize = 512;

/// Events a slow subscriber may lag behind before it loses some.
const LAG: usize = 64;

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// A boot phase began, waits, ended or failed.
    Phase,
    /// A service changed its state.
    Service,
    /// A configuration was offered, accepted or refused.
    Config,
    /// A link, address or lease changed.
    Network,
    /// A reboot or power-off was asked for.
    Power,
    /// A disk, module or volume: what hardware did.
    Device,
    /// Somebody called a method that changes something.
    Call,
    /// How it stands with the hub, and what the device proved to it.
    Hub,
}

impl EventKind {
    /// The word the API serves.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Phase => "phase",
            Self::Service => "service",
            Self::Config => "config",
            Self::Network => "network",
            Self::Power => "power",
            Self::Device => "device",
            Self::Call => "call",
            Self::Hub => "hub",
        }
    }
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Wall clock when it happened; before the clock was set this may be far in the past.
    pub time: SystemTime,
    /// Counts from 1 since boot without gaps.
    pub sequence: u64,
    /// What it is about.
    pub kind: EventKind,
    /// The phase, service, link or caller.
    pub subject: String,
    /// One line for a person.
    pub message: String,
}

#[derive(Debug, Default)]
struct Ring {
    kept: VecDeque<Arc<Event>>,
    last: u64,
}

/// The log. Clones share one ring.
#[derive(Debug, Clone)]
pub struct EventLog {
    ring: Arc<Mutex<Ring>>,
    live: broadcast::Sender<Arc<Event>>,
}

impl Default for EventLog {
    fn default() -> Self {
        Self { ring: Arc::default(), live: broadcast::channel(LAG).0 }
    }
}

impl EventLog {
    /// Records one event now.
    pub fn record(&self, kind: EventKind, subject: &str, message: &str) {
        tracing::debug!(kind = kind.as_str(), subject, message, "event");
        let mut ring = self.lock();
        ring.last += 1;
        let event = Arc::new(Event {
            time: SystemTime::now(),
            sequence: ring.last,
            kind,
            subject: subject.to_owned(),
            message: message.to_owned(),
        });
        if ring.kept.len() == KEPT {
            ring.kept.pop_front();
        }
        ring.kept.push_back(Arc::clone(&event));
        // An error means only that nobody listens.
        let _ = self.live.send(event);
    }

    /// The newest `count` events, oldest first; 0: all that are kept.
    pub fn tail(&self, count: usize) -> Vec<Arc<Event>> {
        Self::newest(&self.lock(), count)
    }

    /// The newest `count` events and every later one, with no gap and no repeat between the two.
    pub fn follow(&self, count: usize) -> (Vec<Arc<Event>>, broadcast::Receiver<Arc<Event>>) {
        let ring = self.lock();
        (Self::newest(&ring, count), self.live.subscribe())
    }

    fn newest(ring: &Ring, count: usize) -> Vec<Arc<Event>> {
        let skip = if count == 0 { 0 } else { ring.kept.len().saturating_sub(count) };
        ring.kept.iter().skip(skip).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        // A panic while recording leaves at worst one event missing; the log must outlive it.
        self.ring.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_forgets_the_oldest_and_counts_on() {
        let log = EventLog::default();
        for n in 0..KEPT + 3 {
            log.record(EventKind::Service, "containerd", &n.to_string());
        }
        let all = log.tail(0);
        assert_eq!(all.len(), KEPT);
        assert_eq!(all[0].sequence, 4);
        assert_eq!(log.tail(2).iter().map(|event| event.sequence).collect::<Vec<_>>(), [514, 515]);
    }

    #[test]
    fn a_follower_sees_no_gap_and_no_repeat() {
        let log = EventLog::default();
        log.record(EventKind::Phase, "early", "done");
        let (past, mut live) = log.follow(0);
        log.record(EventKind::Phase, "devices", "started");
        assert_eq!(past.len(), 1);
        assert_eq!(live.try_recv().map(|event| event.sequence), Ok(2));
        assert!(live.try_recv().is_err());
    }
}
