//! How often something may happen: a few times at once, and then once in a while. The clock is an argument.

use std::time::{Duration, Instant};

/// So many at once, and one more after each period.
#[derive(Debug)]
pub(super) struct Bound {
    burst: u32,
    period: Duration,
    left: u32,
    counted: Option<Instant>,
}

impl Bound {
    /// Nothing has happened yet.
    pub(super) fn new(burst: u32, period: Duration) -> Self {
        Self { burst, period, left: burst, counted: None }
    }

    /// Whether it may happen now; if so, it counts.
    pub(super) fn allows(&mut self, now: Instant) -> bool {
        let since = self.counted.get_or_insert(now);
        let periods = now.saturating_duration_since(*since).as_nanos() / self.period.as_nanos().max(1);
        let periods = u32::try_from(periods).unwrap_or(u32::MAX);
        *since = since.checked_add(self.period.saturating_mul(periods)).unwrap_or(now);
        self.left = self.left.saturating_add(periods).min(self.burst);
        let allowed = self.left > 0;
        self.left = self.left.saturating_sub(1);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_one_for_each_period() {
        let (mut bound, start) = (Bound::new(3, Duration::from_secs(2)), Instant::now());
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut allowed = |seconds| bound.allows(at(seconds));
        assert_eq!([0, 0, 0, 0, 1].map(&mut allowed), [true, true, true, false, false]);
        assert_eq!([2, 2, 3, 4].map(&mut allowed), [true, false, false, true]);
        assert_eq!([1000; 4].map(&mut allowed), [true, true, true, false], "a long rest saves up one burst, not more");
    }

    #[test]
    fn a_clock_that_steps_back_allows_nothing_more() {
        let (mut bound, start) = (Bound::new(1, Duration::from_secs(1)), Instant::now() + Duration::from_secs(100));
        assert!(bound.allows(start));
        assert!(!bound.allows(start - Duration::from_secs(50)));
        assert!(bound.allows(start + Duration::from_secs(1)));
    }
}
