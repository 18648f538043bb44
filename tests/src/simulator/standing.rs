//! How a simulated device stands with its hub, and how many of them are admitted: told by the devices, waited for by whoever watches.

use std::time::Duration;

use api::internal::HubState;
use apid::phone_home::HubReport;
use tokio::sync::watch;
use tokio::time::Instant;

/// How a device stands with its hub.
#[derive(Debug, Clone)]
pub struct Standing {
    /// The word; none: nothing is known yet.
    pub state: Option<HubState>,
    /// One line for a person.
    pub message: String,
    /// Since when.
    pub since: Instant,
    /// How often it was admitted.
    pub admissions: u32,
    /// The device is no more: what it still says does not count.
    gone: bool,
}

impl Standing {
    pub(super) fn unknown() -> Self {
        Self { state: None, message: String::new(), since: Instant::now(), admissions: 0, gone: false }
    }

    /// Whether a hub has admitted it in a connection that is still open.
    pub fn is_admitted(&self) -> bool {
        self.state == Some(HubState::Admitted)
    }

    pub(super) fn ended(&mut self) {
        (self.state, self.gone) = (None, true);
    }

    pub(super) fn told(&mut self, report: HubReport) {
        if self.gone {
            return;
        }
        self.admissions += u32::from(report.state == HubState::Admitted);
        (self.state, self.message, self.since) = (Some(report.state), report.message, Instant::now());
    }
}

/// The number of admitted devices. Clones count together.
#[derive(Debug, Clone)]
pub struct Tally(watch::Sender<usize>);

impl Default for Tally {
    fn default() -> Self {
        Self(watch::channel(0).0)
    }
}

impl Tally {
    pub(super) fn moved(&self, was_admitted: bool, is_admitted: bool) {
        match (was_admitted, is_admitted) {
            (false, true) => self.0.send_modify(|count| *count += 1),
            (true, false) => self.0.send_modify(|count| *count -= 1),
            (true, true) | (false, false) => {}
        }
    }

    /// How many are admitted now.
    pub fn admitted(&self) -> usize {
        *self.0.borrow()
    }

    /// Waits until the number is as it must be; false: it did not come to that in time.
    pub async fn wait_for(&self, within: Duration, holds: impl Fn(usize) -> bool) -> bool {
        let mut seen = self.0.subscribe();
        let reached = seen.wait_for(|count| holds(*count));
        matches!(tokio::time::timeout(within, reached).await, Ok(Ok(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_device_that_comes_and_goes_is_counted_once() {
        let tally = Tally::default();
        for (was, is, count) in [(false, true, 1), (true, true, 1), (true, false, 0), (false, false, 0)] {
            tally.moved(was, is);
            assert_eq!(tally.admitted(), count, "{was} {is}");
        }
        assert!(!tally.wait_for(Duration::from_millis(1), |count| count > 0).await);
    }
}
