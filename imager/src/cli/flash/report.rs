//! What came of all drives, for programs and for people.

use std::path::PathBuf;

use serde::Serialize;

use crate::flash::outcome::{Drive, Failure, Outcome};
use crate::flash::plan::size;
use crate::image::digest::Digest;

/// One drive for programs.
#[derive(Debug, Serialize)]
pub(super) struct DriveReport {
    device: PathBuf,
    drive: Drive,
    image: PathBuf,
    device_name: Option<String>,
    image_sha256: Option<Digest>,
    readback_sha256: Option<Digest>,
    started: String,
    ended: String,
    bytes_written: u64,
    ok: bool,
    failure: Option<Failure>,
}

/// All drives for programs.
pub(super) fn report(outcomes: &[Outcome]) -> Vec<DriveReport> {
    outcomes.iter().map(one).collect()
}

fn one(outcome: &Outcome) -> DriveReport {
    DriveReport {
        device: outcome.device.clone(),
        drive: outcome.drive.clone(),
        image: outcome.image.clone(),
        device_name: outcome.device_name.clone(),
        image_sha256: outcome.image_sha256,
        readback_sha256: outcome.readback_sha256,
        started: outcome.started.to_string(),
        ended: outcome.ended.to_string(),
        bytes_written: outcome.bytes_written,
        ok: outcome.is_good(),
        failure: outcome.result.clone().err(),
    }
}

/// All drives for people: a line each.
pub(super) fn summary(outcomes: &[Outcome]) -> String {
    outcomes.iter().map(|outcome| format!("{}\n", line(outcome))).collect()
}

/// One drive for people.
pub(super) fn line(outcome: &Outcome) -> String {
    let device = outcome.device.display();
    let name = outcome.device_name.as_ref().map(|name| format!("  {name}")).unwrap_or_default();
    match &outcome.result {
        Ok(()) => {
            let seconds = outcome.ended.duration_since(outcome.started).as_secs_f64();
            let digest = outcome.readback_sha256.map(|digest| digest.hex()).unwrap_or_default();
            format!("{device}{name}  ok  {} in {seconds:.1} s, read back {digest}", size(outcome.bytes_written))
        }
        Err(failure) => format!("{device}{name}  FAILED ({})  {}", failure.reason, failure.text),
    }
}
