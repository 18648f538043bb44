//! How many messages one may send: some at once, then one per pause. Pure.

use std::time::{Duration, Instant};

/// A bucket that refills by one per pause.
#[derive(Debug)]
pub(super) struct Allowance {
    left: u32,
    most: u32,
    pause: Duration,
    counted_to: Instant,
}

impl Allowance {
    /// A full one.
    pub(super) fn new(now: Instant, most: u32, pause: Duration) -> Self {
        Self { left: most, most, pause, counted_to: now }
    }

    /// Takes one; false: there is none.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        self.refill(now);
        let Some(left) = self.left.checked_sub(1) else { return false };
        self.left = left;
        true
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.counted_to);
        let pauses = u32::try_from(passed.as_nanos() / self.pause.as_nanos().max(1)).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(pauses).min(self.most);
        self.counted_to = if self.left == self.most { now } else { self.counted_to + self.pause * pauses };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_sends_too_fast_has_to_wait() {
        let start = Instant::now();
        let mut allowance = Allowance::new(start, 3, Duration::from_secs(10));
        assert!((0..3).all(|_| allowance.take(start)));
        assert!(!allowance.take(start + Duration::from_secs(9)));
        assert!(allowance.take(start + Duration::from_secs(10)));
        assert!(!allowance.take(start + Duration::from_secs(19)));
        assert!(allowance.take(start + Duration::from_secs(3600)));
    }
}
