//! What connected devices report, gathered in memory until it is written in one piece: a thousand heartbeats cost one transaction.
//!
//! Only the last report of a device is kept, and a bounded number of events; what does not fit is counted as lost. A hub that dies loses the
//! reports of its last second, which the next heartbeats bring again.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use api::hub::v1::Heartbeat;
use machine_config::DeviceId;

use crate::model::Time;

/// Events that wait at most, of all devices together.
const MAX_EVENTS: usize = 20_000;

/// The last report of a device.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Heard {
    pub(super) from: IpAddr,
    pub(super) at: Time,
    pub(super) heartbeat: Heartbeat,
}

/// What happened on a device.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Happened {
    pub(super) device: DeviceId,
    pub(super) at: Time,
    pub(super) events: Vec<api::v1::Event>,
}

#[derive(Debug, Default)]
struct Waiting {
    heard: HashMap<DeviceId, Heard>,
    happened: Vec<Happened>,
    events: usize,
}

/// The reports that wait. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Reports(Arc<Mutex<Waiting>>);

/// What was gathered.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) heard: HashMap<DeviceId, Heard>,
    pub(super) happened: Vec<Happened>,
}

impl Reports {
    /// Adds a heartbeat. One without a report keeps that of the one before, if it waits still.
    pub(super) fn heard(&self, device: DeviceId, mut heard: Heard) {
        let mut waiting = self.lock();
        if heard.heartbeat.report.is_none() {
            heard.heartbeat.report = waiting.heard.remove(&device).and_then(|before| before.heartbeat.report);
        }
        waiting.heard.insert(device, heard);
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
    pub(super) fn put_back(&self, heard: HashMap<DeviceId, Heard>) {
        let mut waiting = self.lock();
        for (device, before) in heard {
            match waiting.heard.get_mut(&device) {
                Some(later) if later.heartbeat.report.is_none() => later.heartbeat.report = before.heartbeat.report,
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
    use api::hub::v1::Report;

    use super::*;

    fn device() -> DeviceId {
        "ab".repeat(32).parse().unwrap()
    }

    fn heard(number: u64, report: bool) -> Heard {
        let heartbeat = Heartbeat { number, report: report.then(Report::default), ..Heartbeat::default() };
        Heard { from: [192, 0, 2, 1].into(), at: Time::from_millis(number as i64), heartbeat }
    }

    #[test]
    fn the_last_heartbeat_counts_and_no_report_is_lost_to_a_shorter_one() {
        let reports = Reports::default();
        reports.heard(device(), heard(1, true));
        reports.heard(device(), heard(2, false));
        let batch = reports.take();
        let last = &batch.heard[&device()].heartbeat;
        assert_eq!((last.number, last.report.is_some()), (2, true));
        assert!(reports.take().heard.is_empty());
        reports.heard(device(), heard(3, false));
        reports.put_back(batch.heard);
        let last = reports.take().heard.remove(&device()).unwrap().heartbeat;
        assert_eq!((last.number, last.report.is_some()), (3, true), "what could not be written comes back");
    }

    #[test]
    fn events_are_bounded_however_slow_the_database_is() {
        let reports = Reports::default();
        let some = || Happened { device: device(), at: Time::from_millis(0), events: vec![api::v1::Event::default(); 500] };
        let taken = (0..1000).take_while(|_| reports.happened(some())).count();
        assert_eq!(taken, MAX_EVENTS / 500);
    }
}
