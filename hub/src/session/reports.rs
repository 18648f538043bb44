//! What connected devices report, gathered in memory until it is written in one piece: a thousand heartbeats cost one transaction.
//!
//! Only the last report of a device is kept, and a bounded number of events, all of them cut already; what does not fit is counted as lost. A hub that dies loses the
//! reports of its last second, which the next heartbeats bring again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use machine_config::DeviceId;

use crate::model::DeviceEvent;
use crate::store::Beat;

/// Events that wait at most, of all devices together.
const MAX_EVENTS: usize = 20_000;

/// What happened on a device.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Happened {
    pub(super) device: DeviceId,
    pub(super) events: Vec<DeviceEvent>,
}

#[derive(Debug, Default)]
struct Waiting {
    heard: HashMap<DeviceId, Beat>,
    happened: Vec<Happened>,
    events: usize,
}

/// The reports that wait. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Reports(Arc<Mutex<Waiting>>);

/// What was gathered.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) heard: HashMap<DeviceId, Beat>,
    pub(super) happened: Vec<Happened>,
}

impl Reports {
    /// Adds a heartbeat. One without a report keeps that of the one before, if it waits still.
    pub(super) fn heard(&self, mut beat: Beat) {
        let mut waiting = self.lock();
        if beat.report.is_none() {
            beat.report = waiting.heard.remove(&beat.device).and_then(|before| before.report);
        }
        waiting.heard.insert(beat.device.clone(), beat);
    }

    /// Adds events; false: there is no room for them.
    pub(super) fn happened(&self, happened: Happened) -> bool {
        let mut waiting = self.lock();
        let events = waiting.events + happened.events.len();
        if events > MAX_EVENTS {
            return false;
        }
        waiting.events = events;
        waiting.happened.push(happened);
        true
    }

    /// Takes everything that waits.
    pub(super) fn take(&self) -> Batch {
        let Waiting { heard, happened, .. } = std::mem::take(&mut *self.lock());
        Batch { heard, happened }
    }

    /// Puts reports back that could not be written; what came later counts.
    pub(super) fn put_back(&self, heard: HashMap<DeviceId, Beat>) {
        let mut waiting = self.lock();
        for (device, before) in heard {
            match waiting.heard.get_mut(&device) {
                Some(later) if later.report.is_none() => later.report = before.report,
                Some(_) => {}
                None => {
                    waiting.heard.insert(device, before);
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing that could panic happens under it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use api::hub::v1::{Heartbeat, Release, Report};

    use super::*;
    use crate::model::Time;

    fn device() -> DeviceId {
        "ab".repeat(32).parse().unwrap()
    }

    fn beat(number: i64, report: Option<Report>) -> Beat {
        let heartbeat = Heartbeat { report, ..Heartbeat::default() };
        Beat::of(device(), &heartbeat, [192, 0, 2, 1].into(), Time::from_millis(number))
    }

    #[test]
    fn the_last_heartbeat_counts_and_no_report_is_lost_to_a_shorter_one() {
        let reports = Reports::default();
        reports.heard(beat(1, Some(Report::default())));
        reports.heard(beat(2, None));
        let batch = reports.take();
        let last = &batch.heard[&device()];
        assert_eq!((last.at, last.report.is_some()), (Time::from_millis(2), true));
        assert!(reports.take().heard.is_empty());
        reports.heard(beat(3, None));
        reports.put_back(batch.heard);
        let last = reports.take().heard.remove(&device()).unwrap();
        assert_eq!((last.at, last.report.is_some()), (Time::from_millis(3), true), "what could not be written comes back");
    }

    #[test]
    fn a_bloated_report_does_not_wait_as_it_came() {
        let reports = Reports::default();
        let release = Release { version: "v".repeat(300 << 10), ..Release::default() };
        let status = api::v1::StatusResponse { errors: vec![String::new(); 100_000], ..Default::default() };
        reports.heard(beat(1, Some(Report { status: Some(status), release: Some(release) })));
        let kept = format!("{:?}", reports.take().heard);
        assert!(kept.len() < 8 << 10, "{} bytes", kept.len());
    }

    #[test]
    fn events_are_bounded_however_slow_the_database_is() {
        let reports = Reports::default();
        let some = || Happened {
            device: device(),
            events: vec![DeviceEvent::of(&api::v1::Event::default(), Time::from_millis(0)); 500],
        };
        let taken = (0..1000).take_while(|_| reports.happened(some())).count();
        assert_eq!(taken, MAX_EVENTS / 500);
    }
}
