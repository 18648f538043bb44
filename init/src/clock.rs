//! The clock floor: a device without a clock boots in 1970, and then no certificate and no log is any good.
//!
//! The clock is only ever set forward, to the highest time this device or its image is known to have seen.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, Timespec, clock_settime};

use crate::node::{Clock, boottime_usec};

/// What to do with the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockPlan {
    /// It is at or after the floor.
    Keep,
    /// It is behind; set it to this many seconds since 1970.
    SetTo(u64),
}

/// Decides; `floors` are those of the image and of STATE.
pub fn plan(now: SystemTime, floors: [u64; 2]) -> ClockPlan {
    let floor = floors[0].max(floors[1]);
    let behind = now < UNIX_EPOCH + Duration::from_secs(floor);
    if behind { ClockPlan::SetTo(floor) } else { ClockPlan::Keep }
}

/// Carries the plan out and says how far the clock is to be believed.
pub fn act(plan: ClockPlan) -> std::io::Result<Clock> {
    match plan {
        ClockPlan::Keep => Ok(Clock::Trusted),
        ClockPlan::SetTo(seconds) => {
            let tv_sec = i64::try_from(seconds).map_err(|_| std::io::ErrorKind::InvalidData)?;
            clock_settime(ClockId::Realtime, Timespec { tv_sec, tv_nsec: 0 })?;
            Ok(Clock::Floor)
        }
    }
}

/// How far the clock is proven: the floor it was at or above when this boot measured it, and the time that has passed since.
///
/// What the hardware clock claims beyond that is not recorded: one bad battery would move the floor into a future in which every
/// client certificate has expired, for good.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Proof {
    floor: u64,
    since: Duration,
}

impl Proof {
    /// A clock at or above `floor` at the moment `since` of [`uptime`].
    pub fn new(floor: u64, since: Duration) -> Self {
        Self { floor, since }
    }

    /// The highest time, in seconds since 1970, that is proven at the moment `uptime` by a clock that shows `now`.
    pub fn reached(self, now: u64, uptime: Duration) -> u64 {
        now.min(self.floor.saturating_add(uptime.saturating_sub(self.since).as_secs()))
    }
}

/// Time since the kernel started, also while it slept.
pub fn uptime() -> Duration {
    Duration::from_micros(boottime_usec())
}

/// Seconds since 1970; 0 before.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_goes_forward_to_the_highest_floor_and_never_back() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(plan(at(5), [100, 200]), ClockPlan::SetTo(200));
        assert_eq!(plan(at(150), [100, 0]), ClockPlan::Keep);
        assert_eq!(plan(at(100), [100, 0]), ClockPlan::Keep);
        assert_eq!(plan(UNIX_EPOCH - Duration::from_secs(9), [0, 0]), ClockPlan::SetTo(0));
    }

    #[test]
    fn a_clock_that_leaps_into_the_future_proves_nothing() {
        let proof = Proof::new(1_000, Duration::from_secs(10));
        let at = Duration::from_secs;
        assert_eq!(proof.reached(1_005, at(15)), 1_005, "it shows what it must");
        assert_eq!(proof.reached(4_000_000, at(15)), 1_005, "a broken battery");
        assert_eq!(proof.reached(900, at(15)), 900, "set back since");
        assert_eq!(proof.reached(1_001, at(3)), 1_000);
    }
}
