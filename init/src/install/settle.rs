//! When the list of disks counts as complete. Pure: what came and when in, whether to wait on out.
//!
//! The kernel does not say when it has seen all disks, so this waits for quiet; never for ever, and never to choose among disks that themselves
//! come and go.

use std::fmt;
use std::time::{Duration, Instant};

/// So long after the last device came or went, the list counts as complete.
const QUIET: Duration = Duration::from_secs(5);

/// Other devices that come and go are waited for no longer.
const AT_MOST: Duration = Duration::from_secs(60);

/// What was seen of devices since the wait began. Its text is what a person reads meanwhile.
#[derive(Debug, Clone)]
pub struct Settling {
    began: Instant,
    /// When any device last came or went.
    device: Instant,
    /// When the list of disks last became another.
    listed: Instant,
    disks: Vec<String>,
}

/// Whether the wait is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Not before this moment; it is to be asked again then, and when a device comes or goes.
    Wait(Instant),
    /// It is.
    Over(Ending),
}

/// How the wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// These are all disks.
    Complete,
    /// Disks came and went until the time was over.
    Restless,
}

impl Settling {
    /// The wait begins with these disks.
    pub fn new(now: Instant, disks: Vec<String>) -> Self {
        Self { began: now, device: now, listed: now, disks }
    }

    /// A device came or went; these are the disks now.
    pub fn changed(&mut self, now: Instant, disks: Vec<String>) {
        self.device = now;
        if self.disks != disks {
            self.listed = now;
            self.disks = disks;
        }
    }

    /// Whether the wait is over.
    pub fn verdict(&self, now: Instant) -> Verdict {
        let (quiet, last) = (self.device + QUIET, self.began + AT_MOST);
        match now {
            now if now >= quiet => Verdict::Over(Ending::Complete),
            now if now < last => Verdict::Wait(quiet.min(last)),
            now if now >= self.listed + QUIET => Verdict::Over(Ending::Complete),
            _ => Verdict::Over(Ending::Restless),
        }
    }

    /// The disks there are.
    pub fn disks(&self) -> &[String] {
        &self.disks
    }

    /// Those, for a sentence.
    pub fn listed(&self) -> String {
        if self.disks.is_empty() { "none".to_owned() } else { self.disks.join(", ") }
    }
}

impl fmt::Display for Settling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (disks, quiet, most) = (self.listed(), QUIET.as_secs(), AT_MOST.as_secs());
        write!(
            f,
            "waiting until all disks are there: until no device has come or gone for {quiet} s, {most} s at most; so far {disks}"
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COMPLETE: Verdict = Verdict::Over(Ending::Complete);

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn disks_that_are_still_coming_are_waited_for() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut settling = Settling::new(start, Vec::new());
        assert_eq!(settling.verdict(start), Verdict::Wait(at(5)));
        settling.changed(at(4), names(&["sda"]));
        assert_eq!(settling.verdict(at(5)), Verdict::Wait(at(9)));
        settling.changed(at(8), names(&["sda", "sdb"]));
        assert_eq!((settling.verdict(at(12)), settling.verdict(at(13))), (Verdict::Wait(at(13)), COMPLETE));
        assert!(settling.disks() == ["sda", "sdb"] && settling.to_string().ends_with("60 s at most; so far sda, sdb"));
    }

    #[test]
    fn a_device_that_comes_and_goes_for_ever_holds_nothing_up_unless_it_is_a_disk() {
        for (is_disk, expected) in [(false, COMPLETE), (true, Verdict::Over(Ending::Restless))] {
            let start = Instant::now();
            let mut settling = Settling::new(start, names(&["sda"]));
            for second in 1..60 {
                let loose = is_disk && second % 2 == 1;
                settling.changed(start + Duration::from_secs(second), names(if loose { &["sda", "sdb"] } else { &["sda"] }));
                assert!(matches!(settling.verdict(start + Duration::from_secs(second)), Verdict::Wait(_)), "{second}");
            }
            assert_eq!(settling.verdict(start + Duration::from_secs(60)), expected);
        }
    }

    proptest! {
        #[test]
        fn no_wait_goes_past_its_end_and_no_end_comes_among_changes(events in prop::collection::vec((0..7_000_u64, 0..3_u8), 0..60)) {
            let start = Instant::now();
            let mut settling = Settling::new(start, names(&["0"]));
            let (mut now, mut listed, mut disk) = (start, start, 0);
            for (millis, next) in events {
                let until = match settling.verdict(now) {
                    Verdict::Wait(until) => until,
                    Verdict::Over(Ending::Restless) => {
                        prop_assert!(now >= start + AT_MOST && now < listed + QUIET);
                        break;
                    }
                    Verdict::Over(Ending::Complete) => {
                        prop_assert!(now >= listed + QUIET);
                        break;
                    }
                };
                prop_assert!(until > now && until <= start + AT_MOST);
                if now + Duration::from_millis(millis) >= until {
                    now = until;
                    continue;
                }
                now += Duration::from_millis(millis);
                if next != disk {
                    (listed, disk) = (now, next);
                }
                settling.changed(now, vec![next.to_string()]);
            }
        }
    }
}
