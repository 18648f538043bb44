//! The files of STATE: identity, trust, accepted configuration, clock floor. One method per question.
//!
//! `accepted.yaml` is the commit point of an acceptance: it is replaced first. `accepted.json` beside it remembers generation and
//! digest, so that an older file put in its place later is refused.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use machine_config::{Accepted, FleetTrust, IdentitySeed};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::durable::{self, DurableError, replace};
use super::identity::{Identity, IdentityError};
use crate::clock::{self, Proof};

const IDENTITY: &str = "identity.key";
pub(super) const TRUST: &str = "trust.json";
const CLOCK: &str = "clock";
pub(super) const CONFIG_FOLDER: &str = "config";
pub(super) const ACCEPTED_BYTES: &str = "accepted.yaml";
pub(super) const ACCEPTED_RECORD: &str = "accepted.json";

/// Why STATE cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not what this version writes.
    #[error("cannot understand {}: restore STATE, or flash the image again", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// A file cannot be replaced.
    #[error(transparent)]
    Write(#[from] DurableError),
    /// The identity cannot be had.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// The accepted configuration as it lies on the disk; nothing has been verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedConfig {
    /// Exact bytes.
    pub bytes: Vec<u8>,
    /// What was recorded of the last acceptance; none: the cut came between the two files of the very first one.
    pub record: Option<Accepted>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClockFile {
    version: u32,
    floor: u64,
}

/// STATE, mounted.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
    proof: Proof,
}

impl Store {
    /// Opens the folder STATE is mounted at.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let config = root.join(CONFIG_FOLDER);
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&config).and_then(|()| durable::sync_folder(root));
        made.map_err(|source| DurableError { step: "create", path: config, source })?;
        Ok(Self { root: root.to_owned(), proof: Proof::default() })
    }

    /// The identity. When there is none yet it is the one that SEED brings, or else made.
    pub fn identity(&self, given: Option<&IdentitySeed>) -> Result<Identity, StoreError> {
        if let Some(bytes) = self.read(&self.root.join(IDENTITY))? {
            return Ok(Identity::from_file(&bytes)?);
        }
        let identity = given.map_or_else(Identity::generate, |given| Ok(Identity::from_seed(given)))?;
        replace(&self.root, IDENTITY, &identity.to_file(), 0o600)?;
        Ok(identity)
    }

    /// The fleet this device belongs to: pinned by the first SEED it ever saw.
    pub fn trust(&self) -> Result<Option<FleetTrust>, StoreError> {
        self.read_json(&self.root.join(TRUST))
    }

    /// Pins the fleet.
    pub fn pin_trust(&self, fleet: &FleetTrust) -> Result<(), StoreError> {
        Ok(replace(&self.root, TRUST, fleet.to_json().as_bytes(), 0o644)?)
    }

    /// The accepted configuration.
    pub fn accepted(&self) -> Result<Option<AcceptedConfig>, StoreError> {
        let record = self.read_json(&self.config().join(ACCEPTED_RECORD))?;
        let bytes = self.read(&self.config().join(ACCEPTED_BYTES))?;
        Ok(bytes.map(|bytes| AcceptedConfig { bytes, record }))
    }

    /// Whether a configuration was ever accepted, however little is left of it.
    pub fn has_accepted(&self) -> Result<bool, StoreError> {
        let there = |name| {
            let path = self.config().join(name);
            path.try_exists().map_err(|source| StoreError::Read { path, source })
        };
        Ok(there(ACCEPTED_RECORD)? || there(ACCEPTED_BYTES)?)
    }

    /// What was last accepted; also when its bytes are gone.
    pub fn accepted_record(&self) -> Result<Option<Accepted>, StoreError> {
        self.read_json(&self.config().join(ACCEPTED_RECORD))
    }

    /// Records an acceptance; once this returns it holds across a power cut.
    pub fn accept(&self, bytes: &[u8], record: &Accepted) -> Result<(), StoreError> {
        replace(&self.config(), ACCEPTED_BYTES, bytes, 0o600)?;
        let json = serde_json::to_vec(record).expect("a number and a digest");
        Ok(replace(&self.config(), ACCEPTED_RECORD, &json, 0o600)?)
    }

    /// The time below which the clock is wrong, in seconds since 1970; 0: never recorded.
    pub fn clock_floor(&self) -> Result<u64, StoreError> {
        Ok(self.read_json::<ClockFile>(&self.root.join(CLOCK))?.map_or(0, |file| file.floor))
    }

    /// Says from where on the clock is proven; until then only the time since the kernel started is.
    pub fn trust_clock_from(&mut self, proof: Proof) {
        self.proof = proof;
    }

    /// Raises the floor to the time that is proven now.
    pub fn record_clock(&self) -> Result<(), StoreError> {
        self.raise_clock_floor(self.proof.reached(clock::now(), clock::uptime()))
    }

    /// Raises the floor; a lower one is ignored.
    fn raise_clock_floor(&self, floor: u64) -> Result<(), StoreError> {
        if floor <= self.clock_floor()? {
            return Ok(());
        }
        let json = serde_json::to_vec(&ClockFile { version: 1, floor }).expect("two numbers");
        Ok(replace(&self.root, CLOCK, &json, 0o644)?)
    }

    fn config(&self) -> PathBuf {
        self.root.join(CONFIG_FOLDER)
    }

    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
        match fs::read(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StoreError::Read { path: path.to_owned(), source }),
        }
    }

    fn read_json<T: DeserializeOwned>(&self, path: &Path) -> Result<Option<T>, StoreError> {
        let parse = |bytes: Vec<u8>| serde_json::from_slice(&bytes);
        self.read(path)?.map(parse).transpose().map_err(|source| StoreError::Damaged { path: path.to_owned(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(folder.path()).expect("writable");
        (folder, store)
    }

    fn record(generation: u64) -> Accepted {
        Accepted {
            generation: generation.try_into().expect("not 0"),
            digest: machine_config::Digest::of(&generation.to_le_bytes()),
        }
    }

    #[test]
    fn the_identity_survives_and_is_made_once() {
        let (folder, store) = store();
        let id = store.identity(None).expect("made").device_id();
        assert_eq!(Store::open(folder.path()).expect("there").identity(None).expect("read").device_id(), id);
    }

    #[test]
    fn seed_gives_the_identity_only_while_there_is_none() {
        let (given, other) = (IdentitySeed::new([7; 32]), IdentitySeed::new([8; 32]));
        let (_folder, store) = store();
        assert_eq!(store.identity(Some(&given)).expect("made").device_id(), given.device_id());
        assert_eq!(store.identity(Some(&other)).expect("read").device_id(), given.device_id());
        assert_eq!(store.identity(None).expect("read").device_id(), given.device_id());
    }

    #[test]
    fn a_damaged_identity_is_an_error_and_stays_as_it_is() {
        let (folder, store) = store();
        fs::write(folder.path().join(IDENTITY), "{").expect("writable");
        assert!(store.identity(None).is_err());
        assert_eq!(fs::read(folder.path().join(IDENTITY)).expect("there"), b"{");
    }

    #[test]
    fn an_acceptance_is_read_back_and_a_cut_between_its_files_loses_nothing() {
        let (folder, store) = store();
        assert_eq!(store.accepted().expect("readable"), None);
        store.accept(b"one", &record(1)).expect("writable");
        store.accept(b"two", &record(2)).expect("writable");
        let accepted = store.accepted().expect("readable").expect("there");
        assert_eq!((accepted.bytes.as_slice(), accepted.record), (&b"two"[..], Some(record(2))));
        replace(&folder.path().join(CONFIG_FOLDER), ACCEPTED_BYTES, b"three", 0o600).expect("writable");
        let accepted = store.accepted().expect("readable").expect("there");
        assert_eq!((accepted.bytes.as_slice(), accepted.record), (&b"three"[..], Some(record(2))));
    }

    #[test]
    fn the_clock_floor_only_rises() {
        let (_folder, store) = store();
        assert_eq!(store.clock_floor().expect("readable"), 0);
        store.raise_clock_floor(100).expect("writable");
        store.raise_clock_floor(50).expect("writable");
        assert_eq!(store.clock_floor().expect("readable"), 100);
    }

    #[test]
    fn a_damaged_file_is_named() {
        let (folder, store) = store();
        fs::write(folder.path().join(TRUST), "nonsense").expect("writable");
        assert!(store.trust().expect_err("damaged").to_string().contains("trust.json"));
    }
}
