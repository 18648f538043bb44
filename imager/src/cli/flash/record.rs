//! The log of an `imager flash`: what it says already, and what is appended. None when there is no `--record`.

use std::io::ErrorKind;

use anyhow::{Context as _, Result};
use machine_config::PublicKey;

use super::args::FlashArgs;
use crate::flash::outcome::Outcome;
use crate::flash::record::append::{AppendError, Recorder};
use crate::flash::record::chain;
use crate::flash::record::{Entry, Verdict};
use crate::stamp::manifest::Manifest;
use crate::stamp::station;

/// The log, if there is one.
pub(super) struct Records(Option<Open>);

struct Open {
    recorder: Recorder,
    /// Drives that are good already.
    good: Vec<Entry>,
}

impl Records {
    /// Opens the log that the options name, and believes it or refuses, before any drive is touched.
    pub(super) fn open(args: &FlashArgs) -> Result<Self> {
        let (Some(path), Some(key)) = (&args.record, &args.station_key) else { return Ok(Self(None)) };
        let key = station::load(key)?;
        let public = PublicKey::try_from(key.verifying_key()).context("cannot use the station's key")?;
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let log = chain::read(&bytes, Some(&public)).with_context(|| format!("cannot add to {}", path.display()))?;
        let good = log.records().filter(|record| record.flash.result == Verdict::Ok).map(|record| record.flash.clone()).collect();
        Ok(Self(Some(Open { recorder: Recorder::open(path, key)?, good })))
    }

    /// Whether the very image with this manifest is on a good drive already.
    pub(super) fn has(&self, manifest: &Manifest) -> bool {
        let is_it = |entry: &Entry| {
            let same_device = entry.device.as_ref().is_some_and(|device| device.name == manifest.device.name);
            same_device && entry.image_sha256 == Some(manifest.image.sha256)
        };
        self.0.iter().any(|open| open.good.iter().any(is_it))
    }

    /// Appends what came of a drive; returns what somebody should be told.
    pub(super) fn append(&self, outcome: &Outcome, manifest: Option<&Manifest>) -> Result<Option<String>, AppendError> {
        let Some(open) = &self.0 else { return Ok(None) };
        let appended = open.recorder.append(Entry::new(outcome, manifest))?;
        let told = |aside: crate::flash::record::SetAside| {
            format!("the log ended in an unfinished line of {} bytes; it was put aside into {}", aside.bytes, aside.file)
        };
        Ok(appended.set_aside.map(told))
    }
}
