//! Which devices get a label: of a log, those whose drive was proved, each once, as it was flashed last. Pure.

use std::collections::HashSet;

use crate::flash::record::chain::Log;
use crate::flash::record::{Device, Record, Verdict};

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// Every device.
    All,
    /// The devices that were flashed last.
    Last(usize),
    /// These.
    Named(Vec<String>),
}

/// Why there are no labels.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// Nothing to print.
    #[error(
        "cannot print labels: the log tells of no device whose drive was proved; was its manifest named when it was flashed?"
    )]
    Empty,
    /// It is not in the log.
    #[error("cannot print the label of {name}: the log does not tell of it")]
    Unknown {
        /// The device.
        name: String,
    },
    /// It has no good drive.
    #[error("cannot print the label of {name}: its drive failed (line {line} of the log: {reason}); flash another one")]
    Failed {
        /// The device.
        name: String,
        /// The last record of it.
        line: u64,
        /// The reason's code.
        reason: &'static str,
    },
}

/// The devices of a log that were chosen, in the order they were flashed, or named.
///
/// # Errors
/// See [`SelectError`].
pub fn devices(log: &Log, choice: &Choice) -> Result<Vec<Device>, SelectError> {
    let mut proved = proved(log);
    match choice {
        Choice::All => {}
        Choice::Last(count) => drop(proved.drain(..proved.len().saturating_sub(*count))),
        Choice::Named(names) => return names.iter().map(|name| named(log, &proved, name)).collect(),
    }
    if proved.is_empty() { Err(SelectError::Empty) } else { Ok(proved) }
}

/// Each device whose drive was proved, as it was flashed last; the one flashed last stands last.
fn proved(log: &Log) -> Vec<Device> {
    let mut seen = HashSet::new();
    let good = log.records().rev().filter(|record| record.flash.result == Verdict::Ok);
    let devices = good.filter_map(|record| record.flash.device.as_ref());
    let mut latest: Vec<Device> = devices.filter(|device| seen.insert(device.name.clone())).cloned().collect();
    latest.reverse();
    latest
}

fn named(log: &Log, proved: &[Device], name: &str) -> Result<Device, SelectError> {
    if let Some(device) = proved.iter().find(|device| device.name.as_str() == name) {
        return Ok(device.clone());
    }
    let is_it = |record: &&Record| record.flash.device.as_ref().is_some_and(|device| device.name.as_str() == name);
    let failed = log.records().rev().find(is_it).map(|record| (record.line, &record.flash.result));
    match failed {
        Some((line, Verdict::Failed(failure))) => {
            Err(SelectError::Failed { name: name.to_owned(), line, reason: failure.reason.code() })
        }
        Some((_, Verdict::Ok)) | None => Err(SelectError::Unknown { name: name.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flash::record::testing::{device, entry, log_of};
    use crate::flash::record::{Entry, chain};

    /// A log of devices: `2` failed, `4` was flashed twice, the last time with another serial number.
    fn log() -> Log {
        let mut entries: Vec<_> = (0..6).map(entry).collect();
        let mut again = entry(4);
        again.device = again.device.map(|device| Device { serial: Some("new".into()), ..device });
        entries.push(again);
        entries.push(Entry { device: None, ..entry(7) });
        chain::read(log_of(entries).concat().as_bytes(), None).expect("sound")
    }

    fn names(choice: &Choice) -> Vec<String> {
        devices(&log(), choice).expect("chosen").iter().map(|device| device.name.to_string()).collect()
    }

    #[test]
    fn each_proved_device_gets_one_label_as_it_was_flashed_last() {
        assert_eq!(names(&Choice::All), ["box-0", "box-1", "box-3", "box-4"]);
        assert_eq!(names(&Choice::Last(2)), ["box-3", "box-4"]);
        assert_eq!(names(&Choice::Last(99)).len(), 4);
        let four = &devices(&log(), &Choice::Named(vec!["box-4".into(), "box-0".into()])).expect("chosen")[0];
        assert_eq!(four, &Device { serial: Some("new".into()), ..device("box-4") });
    }

    #[test]
    fn a_device_without_a_good_drive_gets_none() {
        let refused = |name: &str| devices(&log(), &Choice::Named(vec![name.into()])).expect_err("refused").to_string();
        assert!(refused("box-2").contains("its drive failed (line 3 of the log: bad-block)"), "{}", refused("box-2"));
        assert!(refused("box-9").contains("does not tell of it"));
        assert_eq!(devices(&Log::default(), &Choice::All), Err(SelectError::Empty));
    }
}
