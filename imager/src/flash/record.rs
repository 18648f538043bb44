//! What became of one drive, in words that can be proved: a line of JSON, signed by the station, that carries the hash of the line before it. It has
//! exactly one byte form, and holds no secret. [`Record::parse`] is the only way from a line to a record; whether a line stands where it was written
//! is judged by [`chain`], which sees all of them; [`append`] writes them.

use std::time::Duration;

use jiff::Timestamp;
use machine_config::types::{DnsName, HostName};
use machine_config::{DeviceId, PublicKey, SigningKey};
use serde::{Deserialize, Serialize};

use super::outcome::{Drive, Failure, Outcome};
use crate::image::digest::Digest;
use crate::signed::{self, SignatureError};
use crate::stamp::manifest::Manifest;

pub mod append;
pub mod chain;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

/// Stands before the record in what is signed, so that no signature made for another purpose is one over a record.
const CONTEXT: &[u8] = b"skerry.dev/v1 flash record signature\0";
/// The form's name and version.
const FORM: &str = "skerry.dev/v1 flash record";
/// No line is longer: every text in it comes from a kernel file, an inventory or an error message.
pub(crate) const MAX_LINE_BYTES: usize = 64 << 10;

/// One line of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Record {
    /// Always the same words.
    form: String,
    /// Where the line stands in its log, from 1.
    pub line: u64,
    /// SHA-256 of the line before it with its line break; none: it is the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Digest>,
    /// An unfinished line that stood here and was put aside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_aside: Option<SetAside>,
    /// Version of imager.
    pub imager: String,
    /// What became of the drive.
    pub flash: Entry,
    /// Whose bench it was.
    pub station: PublicKey,
}

/// A line that a power cut left unfinished.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SetAside {
    /// The file beside the log that it was put into.
    pub file: String,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of it.
    pub sha256: Digest,
}

/// What became of one drive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Entry {
    /// When it began, in UTC.
    pub started: Timestamp,
    /// When it was over.
    pub ended: Timestamp,
    /// How long it took.
    pub milliseconds: u64,
    /// The file that was written to.
    pub path: String,
    /// What the drive tells of itself.
    pub drive: Drive,
    /// The device that the image is for; none: the image is nobody's in particular.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<Device>,
    /// SHA-256 of the image; none: it was not known when the drive failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_sha256: Option<Digest>,
    /// SHA-256 of the image as it was read back from the drive, what was not written taken as zeros; none: it was not read to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readback_sha256: Option<Digest>,
    /// Bytes that reached the drive.
    pub bytes_written: u64,
    /// How it ended.
    pub result: Verdict,
}

/// The device, as the manifest of its image has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Device {
    /// What it is called.
    pub name: HostName,
    /// Who it will be, when its key was made before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<DeviceId>,
    /// Its serial number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// Its board.
    pub board: String,
    /// Version of Skerry.
    pub version: String,
    /// The fleet it obeys.
    pub fleet: DnsName,
    /// Address of its hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub: Option<String>,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Verdict {
    /// Every byte was read back as it should be.
    Ok,
    /// The drive is not to be used.
    Failed(Failure),
}

/// Why a line is not believed.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Not a record.
    #[error("it is not a record that `imager flash` wrote")]
    Form(#[source] serde_json::Error),
    /// Of another version.
    #[error("its form is `{found}`, this version reads `{FORM}`")]
    Version {
        /// As found.
        found: String,
    },
    /// The same words in another form.
    #[error("it was written again or changed after it was signed")]
    Rewritten,
    /// The signature does not hold, or is another station's.
    #[error("it was changed after it was signed, or --station-key is another station's")]
    Signature(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<SignatureError> for RecordError {
    fn from(error: SignatureError) -> Self {
        Self::Signature(Box::new(error))
    }
}

/// Where a record stands.
#[derive(Debug, Clone, Default)]
pub(crate) struct Link {
    pub(crate) line: u64,
    pub(crate) previous: Option<Digest>,
    pub(crate) set_aside: Option<SetAside>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    record: Record,
    signature: String,
}

impl Signed {
    fn to_line(&self) -> String {
        serde_json::to_string(self).expect("plain fields have a JSON form") + "\n"
    }
}

impl Record {
    /// The line of a log, with its line break, signed.
    pub(crate) fn line(flash: Entry, link: Link, station: &SigningKey) -> String {
        let Link { line, previous, set_aside } = link;
        let public = PublicKey::try_from(station.verifying_key()).expect("a key that signs is strong");
        let imager = env!("CARGO_PKG_VERSION").to_owned();
        let record = Self { form: FORM.into(), line, previous, set_aside, imager, flash, station: public };
        let signature = signed::sign(CONTEXT, &record, station);
        Signed { record, signature }.to_line()
    }

    /// The record in a line (with its line break) whose signature holds, under `station` when it is given, else under the key that the record names.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub fn parse(line: &[u8], station: Option<&PublicKey>) -> Result<Self, RecordError> {
        let signed: Signed = serde_json::from_slice(line).map_err(RecordError::Form)?;
        if signed.record.form != FORM {
            return Err(RecordError::Version { found: signed.record.form });
        }
        if signed.to_line().as_bytes() != line {
            return Err(RecordError::Rewritten);
        }
        let record = signed.record;
        signed::check(CONTEXT, &record, &signed.signature, &record.station, station)?;
        Ok(record)
    }
}

impl Entry {
    /// What became of a drive. `manifest` is that of the image, when it has one; times are kept to the millisecond.
    pub fn new(outcome: &Outcome, manifest: Option<&Manifest>) -> Self {
        let rounded = |time: Timestamp| Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time);
        let (started, ended) = (rounded(outcome.started), rounded(outcome.ended));
        let took = Duration::try_from(ended.duration_since(started)).unwrap_or_default(); // the clock was set back meanwhile
        Self {
            started,
            ended,
            milliseconds: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            path: outcome.device.to_string_lossy().into_owned(),
            drive: outcome.drive.clone(),
            device: manifest.map(Device::from),
            image_sha256: outcome.image_sha256,
            readback_sha256: outcome.readback_sha256,
            bytes_written: outcome.bytes_written,
            result: match &outcome.result {
                Ok(()) => Verdict::Ok,
                Err(failure) => Verdict::Failed(failure.clone()),
            },
        }
    }
}

impl From<&Manifest> for Device {
    fn from(manifest: &Manifest) -> Self {
        Self {
            name: manifest.device.name.clone(),
            id: manifest.identity.as_ref().map(|identity| identity.device_id.clone()),
            serial: manifest.device.serial.clone(),
            board: manifest.base.board.clone(),
            version: manifest.base.version.clone(),
            fleet: manifest.seed.fleet.clone(),
            hub: manifest.seed.hub.clone(),
        }
    }
}
