//! What was served, kept in a file so that a restarted server remembers it: how often each machine loaded its image completely, and when last. A
//! machine that always boots from the network first would install itself again and again without it (`--once`).

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use machine_config::types::MacAddress;
use serde::{Deserialize, Serialize};

use crate::image::output::{Output, OutputError, Place};

/// The file in the folder of records.
pub const FILE: &str = "served.json";
const FORM: &str = "skerry.dev/v1 served";

/// Why the ledger cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is something else.
    #[error("cannot use {}: it is not a ledger that `imager serve` wrote; move it away to begin anew", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// It cannot be written.
    #[error(transparent)]
    Write(#[from] OutputError),
}

/// One machine's line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Entry {
    /// What it was called.
    pub name: String,
    /// How often it loaded its image completely.
    pub loads: u32,
    /// When it did last.
    pub last: Timestamp,
}

/// What the ledger's file should say.
#[derive(Debug)]
pub struct Page {
    place: Place,
    text: Vec<u8>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    form: String,
    machines: BTreeMap<MacAddress, Entry>,
}

/// The ledger.
#[derive(Debug)]
pub struct Ledger {
    place: Place,
    content: Content,
}

impl Ledger {
    /// The ledger in a folder; a new one when there is none.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub fn open(folder: &Path) -> Result<Self, LedgerError> {
        let path = folder.join(FILE);
        let place = Place::new(&path)?;
        let content = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|source| LedgerError::Form { path, source })?,
            Err(error) if error.kind() == ErrorKind::NotFound => Content { form: FORM.into(), ..Content::default() },
            Err(source) => return Err(LedgerError::Read { path, source }),
        };
        Ok(Self { place, content })
    }

    /// How often a machine loaded its image completely.
    pub fn loads(&self, mac: &MacAddress) -> u32 {
        self.content.machines.get(mac).map_or(0, |entry| entry.loads)
    }

    /// Every machine that ever did.
    pub fn machines(&self) -> &BTreeMap<MacAddress, Entry> {
        &self.content.machines
    }

    /// Notes one more complete load in memory; says how many that makes.
    pub fn note(&mut self, mac: &MacAddress, name: &str, now: Timestamp) -> u32 {
        let loads = self.loads(mac).saturating_add(1);
        self.content.machines.insert(mac.clone(), Entry { name: name.to_owned(), loads, last: now });
        loads
    }

    /// All of it, to be written.
    pub fn page(&self) -> Page {
        let mut text = serde_json::to_vec_pretty(&self.content).expect("plain fields have a JSON form");
        text.push(b'\n');
        Page { place: self.place.clone(), text }
    }
}

impl Page {
    /// Writes it, and waits for the disk. Of two at once the older must come first.
    ///
    /// # Errors
    /// [`LedgerError::Write`].
    pub fn write(&self) -> Result<(), LedgerError> {
        let output = Output::create(&self.place)?;
        output.file().write_all_at(&self.text, 0).map_err(|error| output.failure(error))?;
        Ok(output.publish()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_are_remembered_over_a_restart() {
        let folder = tempfile::tempdir().expect("temp folder");
        let (one, two): (MacAddress, MacAddress) =
            ("52:54:00:00:00:01".parse().expect("good"), "52:54:00:00:00:02".parse().expect("good"));
        let mut ledger = Ledger::open(folder.path()).expect("new");
        assert_eq!(ledger.note(&one, "store-1", Timestamp::UNIX_EPOCH), 1);
        assert_eq!(ledger.note(&one, "store-1", Timestamp::UNIX_EPOCH), 2);
        ledger.page().write().expect("written");
        let again = Ledger::open(folder.path()).expect("read back");
        assert_eq!((again.loads(&one), again.loads(&two)), (2, 0));
        assert_eq!(again.machines()[&one].name, "store-1");
    }

    #[test]
    fn what_is_no_ledger_says_so() {
        let folder = tempfile::tempdir().expect("temp folder");
        std::fs::write(folder.path().join(FILE), "{\"machines\": 1}").expect("written");
        let error = Ledger::open(folder.path()).expect_err("no ledger").to_string();
        assert!(error.contains("served.json") && error.contains("move it away"), "{error}");
        assert!(Ledger::open(&folder.path().join("none")).expect_err("no folder").to_string().contains("make it first"));
    }
}
