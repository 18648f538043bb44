//! Pauses that grow, with chance in them: a thousand devices that lost their hub at once do not come back at once.
//!
//! Chance is an argument's: the same seed gives the same pauses.

use std::time::Duration;

/// The first pause.
pub const FIRST: Duration = Duration::from_secs(1);
/// The longest.
pub const LONGEST: Duration = Duration::from_secs(300);

/// A source of chance that is good enough for pauses and for nothing else (splitmix64).
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// Begins anywhere; two devices must not begin at the same place.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Between so many percent of a duration and all of it.
    pub fn part_of(&mut self, whole: Duration, least_percent: u32) -> Duration {
        let least = whole * least_percent.min(100) / 100;
        let spread = u64::try_from((whole - least).as_micros()).unwrap_or(u64::MAX);
        least + Duration::from_micros(self.next().checked_rem(spread.saturating_add(1)).unwrap_or(0))
    }
}

/// Where the growing pauses stand.
#[derive(Debug, Clone)]
pub struct Backoff {
    step: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { step: FIRST }
    }
}

impl Backoff {
    /// The next pause: half of the step at least, all of it at most; the step doubles up to [`LONGEST`].
    pub fn next(&mut self, chance: &mut Chance) -> Duration {
        let pause = chance.part_of(self.step, 50);
        self.step = (self.step * 2).min(LONGEST);
        pause
    }

    /// Begins anew: the hub answered.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_the_longest_and_keep_to_the_upper_half() {
        let (mut backoff, mut chance) = (Backoff::default(), Chance::new(1));
        for step in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300] {
            let step = Duration::from_secs(step);
            let pause = backoff.next(&mut chance);
            assert!(pause >= step / 2 && pause <= step, "{pause:?} of {step:?}");
        }
        backoff.reset();
        assert!(backoff.next(&mut chance) <= FIRST);
    }

    #[test]
    fn devices_that_begin_elsewhere_come_back_at_other_times() {
        let pause = |seed| Backoff { step: LONGEST }.next(&mut Chance::new(seed));
        let mut pauses: Vec<_> = (0..1000).map(pause).collect();
        pauses.sort();
        let (early, late) = (pauses[100], pauses[900]);
        assert!(late - early > Duration::from_secs(100), "{early:?} to {late:?}: not spread over the upper half of 300 s");
    }
}
