//! Reading what a warehouse signed: manifests of `imager stamp` and logs of `imager flash`. Pure. What is believed is signed by a station whose key
//! is registered at the hub; nothing else makes a place for a device.

use imager::flash::record::chain::{self, LogError};
use imager::flash::record::{Record, Verdict};
use imager::stamp::manifest::{Manifest, ManifestError};
use machine_config::{KeyId, PublicKey};

use crate::model::{Expected, Source, Station, Time, check_labels};

/// Bytes of a manifest at most.
const MAX_MANIFEST_BYTES: usize = 64 << 10;
/// Bytes of a log at most: some ten thousand drives.
const MAX_LOG_BYTES: usize = 16 << 20;

/// Why a file is not believed.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Longer than any.
    #[error("cannot import a file of {bytes} bytes: at most {limit}; divide it")]
    Size {
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        limit: usize,
    },
    /// Not a manifest, or a changed one.
    #[error("cannot import the manifest")]
    Manifest(#[source] Box<ManifestError>),
    /// Not a log, or a changed one.
    #[error("cannot import the log of flashed drives")]
    Log(#[source] Box<LogError>),
    /// Signed by somebody.
    #[error("cannot import it: station {station} signed it, which this hub does not know; register its public key first")]
    Station {
        /// Who signed.
        station: KeyId,
    },
    /// Labels no device of the hub can have.
    #[error("cannot import it: {0}")]
    Labels(#[source] crate::model::LabelError),
}

impl ImportError {
    /// A stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Size { .. } => "size",
            Self::Manifest(_) => "manifest",
            Self::Log(_) => "log",
            Self::Station { .. } => "station-unknown",
            Self::Labels(_) => "labels",
        }
    }
}

fn check_size(bytes: &[u8], limit: usize) -> Result<(), ImportError> {
    if bytes.len() > limit { Err(ImportError::Size { bytes: bytes.len(), limit }) } else { Ok(()) }
}

fn check_station(key: &PublicKey, stations: &[Station]) -> Result<(), ImportError> {
    if stations.iter().any(|station| station.key == *key) { Ok(()) } else { Err(ImportError::Station { station: key.id() }) }
}

/// What a manifest announces.
#[derive(Debug, Clone, PartialEq)]
pub struct Announced {
    /// The device it is for.
    pub place: Expected,
    /// What is kept of the join token that was made for the device ([`crate::tokens::hash`]); none: nobody made one.
    pub token: Option<[u8; 32]>,
}

/// The device a manifest is for, and its join token.
///
/// # Errors
/// See [`ImportError`].
pub fn read_manifest(file: &[u8], stations: &[Station], now: Time) -> Result<Announced, ImportError> {
    check_size(file, MAX_MANIFEST_BYTES)?;
    let manifest = Manifest::read(file, None).map_err(|error| ImportError::Manifest(Box::new(error)))?;
    check_station(&manifest.station, stations)?;
    check_labels(&manifest.device.labels).map_err(ImportError::Labels)?;
    let token = manifest.seed.made_token().map(|hash| *hash.as_bytes());
    let place = Expected {
        name: Some(manifest.device.name.to_string()),
        serial: manifest.device.serial,
        mac: manifest.device.mac,
        device_id: manifest.identity.map(|identity| identity.device_id),
        board: manifest.base.board,
        fleet: manifest.seed.fleet.to_string(),
        base_sha256: manifest.base.sha256.hex(),
        image_sha256: manifest.image.sha256.hex(),
        station: Some(manifest.station.id()),
        labels: manifest.device.labels,
        ..Expected::blank(Source::Manifest, now)
    };
    Ok(Announced { place, token })
}

/// The devices whose drives a log proves, each once, as it was flashed last.
///
/// # Errors
/// See [`ImportError`].
pub fn read_log(file: &[u8], stations: &[Station], now: Time) -> Result<Vec<Expected>, ImportError> {
    check_size(file, MAX_LOG_BYTES)?;
    let log = chain::read(file, None).map_err(|error| ImportError::Log(Box::new(error)))?;
    log.records().try_for_each(|record| check_station(&record.station, stations))?;
    let mut devices: Vec<Expected> = vec![];
    for found in log.records().filter_map(|record| flashed(record, now)) {
        devices.retain(|earlier| earlier.key() != found.key());
        devices.push(found);
    }
    Ok(devices)
}

fn flashed(record: &Record, now: Time) -> Option<Expected> {
    let device = record.flash.device.clone().filter(|_| record.flash.result == Verdict::Ok)?;
    Some(Expected {
        name: Some(device.name.to_string()),
        serial: device.serial,
        device_id: device.id,
        board: device.board,
        fleet: device.fleet.to_string(),
        image_sha256: record.flash.image_sha256.map(|digest| digest.hex()).unwrap_or_default(),
        station: Some(record.station.id()),
        ..Expected::blank(Source::Record, now)
    })
}

/// What is known of a place when more is told of it: the newer word counts where it says something, and who claimed or took the place stays.
pub fn merge(old: Expected, new: Expected) -> Expected {
    let text = |new: String, old: String| if new.is_empty() { old } else { new };
    Expected {
        name: new.name.or(old.name),
        serial: new.serial.or(old.serial),
        mac: new.mac.or(old.mac),
        device_id: new.device_id.or(old.device_id),
        board: text(new.board, old.board),
        fleet: text(new.fleet, old.fleet),
        base_sha256: text(new.base_sha256, old.base_sha256),
        image_sha256: text(new.image_sha256, old.image_sha256),
        station: new.station.or(old.station),
        source: if old.source == Source::Manifest { old.source } else { new.source },
        labels: if new.labels.is_empty() { old.labels } else { new.labels },
        site: text(new.site, old.site),
        claimed_by: new.claimed_by.or(old.claimed_by),
        taken_by: old.taken_by.or(new.taken_by),
        imported_at: new.imported_at,
    }
}
