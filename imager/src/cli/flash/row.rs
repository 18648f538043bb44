//! What is said of a drive while it is flashed: one line of text, from nothing but how far it is and how long that took. Pure; whoever shows it brings
//! the clock.

use std::fmt;
use std::time::Duration;

use crate::flash::outcome::Outcome;
use crate::flash::plan::size;
use crate::flash::status::Stage;

/// Characters between the brackets of the bar.
const BAR: usize = 24;

/// How far a drive is with what it is going through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pace {
    /// What that is.
    pub(super) stage: Stage,
    /// Bytes of the image that are through it.
    pub(super) done: u64,
    /// All bytes of the image.
    pub(super) total: u64,
    /// Since it began with it.
    pub(super) elapsed: Duration,
}

impl Pace {
    /// Bytes per second so far; 0 before there are any.
    pub(super) fn bytes_per_second(&self) -> u64 {
        let milliseconds = self.elapsed.as_millis().max(1);
        u64::try_from(u128::from(self.done) * 1000 / milliseconds).unwrap_or(u64::MAX)
    }

    /// Seconds to the end of this stage at the speed so far, rounded up; none: nothing tells yet.
    pub(super) fn seconds_left(&self) -> Option<u64> {
        let left = u128::from(self.total.saturating_sub(self.done));
        let milliseconds = (left * self.elapsed.as_millis()).checked_div(u128::from(self.done))?;
        u64::try_from(milliseconds.div_ceil(1000)).ok()
    }

    fn bar(&self) -> String {
        let filled = self.done.min(self.total) as u128 * BAR as u128;
        let filled = filled.checked_div(u128::from(self.total)).map_or(0, |filled| usize::try_from(filled).unwrap_or(BAR));
        let head = if self.done < self.total { ">" } else { "" };
        format!("{:<BAR$}", "=".repeat(filled) + head)
    }
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let left = self.seconds_left().map_or_else(|| "-".to_owned(), clock);
        write!(f, "{:<12} [{}] {:>12}/s {left:>8} left", self.stage.as_str(), self.bar(), size(self.bytes_per_second()))
    }
}

/// Minutes and seconds, or hours before them.
fn clock(seconds: u64) -> String {
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

/// How a drive's line ends.
pub(super) fn ended(outcome: &Outcome) -> String {
    match &outcome.result {
        Ok(()) => "ok".to_owned(),
        Err(failure) => format!("FAILED ({})", failure.reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flash::record::testing::outcome;

    const MIB: u64 = 1 << 20;

    fn pace(stage: Stage, done: u64, seconds: u64) -> Pace {
        Pace { stage, done: done * MIB, total: 300 * MIB, elapsed: Duration::from_secs(seconds) }
    }

    #[test]
    fn a_line_tells_state_speed_and_time_left() {
        for (pace, expected) in [
            (pace(Stage::Opening, 0, 0), "opening      [>                       ]          0 B/s        - left"),
            (pace(Stage::Clearing, 0, 9), "clearing     [>                       ]          0 B/s        - left"),
            (pace(Stage::Writing, 100, 4), "writing      [========>               ]     25.0 MiB/s     0:08 left"),
            (pace(Stage::ReadingBack, 1, 60), "reading back [>                       ]     17.0 KiB/s  4:59:00 left"),
            (pace(Stage::ReadingBack, 299, 299), "reading back [=======================>]      1.0 MiB/s     0:01 left"),
            (pace(Stage::Writing, 300, 3), "writing      [========================]    100.0 MiB/s     0:00 left"),
        ] {
            assert_eq!(pace.to_string(), expected);
        }
    }

    #[test]
    fn an_empty_image_and_a_clock_that_stands_still_divide_by_nothing() {
        let empty = Pace { stage: Stage::Writing, done: 0, total: 0, elapsed: Duration::ZERO };
        assert_eq!((empty.bytes_per_second(), empty.seconds_left()), (0, None));
        let still = Pace { stage: Stage::Writing, done: 1, total: u64::MAX, elapsed: Duration::ZERO };
        assert_eq!((still.bytes_per_second(), still.seconds_left()), (1000, Some(0)));
        assert_eq!(Pace { elapsed: Duration::from_secs(1 << 40), ..still }.seconds_left(), None, "longer than can be told");
    }

    #[test]
    fn the_end_says_ok_or_why_not() {
        assert_eq!((ended(&outcome(0)).as_str(), ended(&outcome(2)).as_str()), ("ok", "FAILED (bad-block)"));
    }
}
