//! How often anybody may ask: an address before anybody is proven, and whoever was proven after it, so that one program's loop does not take
//! the hub from everybody behind the same router.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::error::AuthError;
use crate::listen::neighbour;
use crate::model::Actor;

/// Forgotten callers are dropped after so many calls.
const SWEEP: u32 = 4096;

/// How many calls anybody has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Of one address in a second; a whole site may be one address.
    pub address: u32,
    /// Of one proven caller in a second.
    pub caller: u32,
    /// So many seconds' worth may come at once.
    pub burst_seconds: u32,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { address: 100, caller: 50, burst_seconds: 10 }
    }
}

impl Allowance {
    fn quota(self, per_second: u32) -> Quota {
        let at_least_one = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        Quota::per_second(at_least_one(per_second)).allow_burst(at_least_one(per_second.saturating_mul(self.burst_seconds)))
    }
}

/// The counts.
#[derive(Debug)]
pub(super) struct Rates {
    addresses: DefaultKeyedRateLimiter<IpAddr>,
    callers: DefaultKeyedRateLimiter<String>,
    calls: AtomicU32,
}

impl Rates {
    pub(super) fn new(allowance: Allowance) -> Self {
        Self {
            addresses: RateLimiter::keyed(allowance.quota(allowance.address)),
            callers: RateLimiter::keyed(allowance.quota(allowance.caller)),
            calls: AtomicU32::new(0),
        }
    }

    pub(super) fn count_address(&self, from: IpAddr) -> Result<(), AuthError> {
        if self.calls.fetch_add(1, Ordering::Relaxed).is_multiple_of(SWEEP) {
            self.addresses.retain_recent();
            self.callers.retain_recent();
        }
        self.addresses
            .check_key(&neighbour(from))
            .map_err(|until| AuthError::Often { wait: until.wait_time_from(DefaultClock::default().now()) })
    }

    pub(super) fn count_caller(&self, actor: &Actor) -> Result<(), AuthError> {
        let counted = self.callers.check_key(&actor.to_string());
        counted.map_err(|until| AuthError::Often { wait: until.wait_time_from(DefaultClock::default().now()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asks_too_often_waits_and_others_do_not() {
        let rates = Rates::new(Allowance { address: 1, caller: 2, burst_seconds: 3 });
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let served = (0..1000).filter(|_| rates.count_address(address("192.0.2.1")).is_ok()).count();
        assert!((3..=4).contains(&served), "{served}");
        assert_eq!(rates.count_address(address("192.0.2.1")).unwrap_err().code(), "often");
        assert!(rates.count_address(address("192.0.2.2")).is_ok());
        let kim = Actor::User("kim".into());
        let served = (0..1000).filter(|_| rates.count_caller(&kim).is_ok()).count();
        assert!((6..=7).contains(&served), "{served}");
        assert!(rates.count_caller(&Actor::AdminToken).is_ok());
    }
}
