//! STATE of another installation, mounted for reading: whom it obeys and what it last accepted. Nothing is made there.
//!
//! Whoever wrote it is a stranger: only plain files are read, and only so many bytes of them.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use machine_config::{Accepted, FleetTrust};
use serde::de::DeserializeOwned;

use super::store::{ACCEPTED_BYTES, ACCEPTED_RECORD, CONFIG_FOLDER, TRUST};

/// More than a generation and a digest take.
const MOST_OF_RECORD: u64 = 4096;

/// More than a fleet's name and some hundred keys take.
const MOST_OF_TRUST: u64 = 64 << 10;

/// What another installation's STATE says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Foreign {
    /// Whom it obeys.
    pub fleet: Option<FleetTrust>,
    /// What it last accepted.
    pub accepted: Option<Accepted>,
}

/// Why a file of another installation's STATE is not understood.
#[derive(Debug, thiserror::Error)]
pub enum ForeignError {
    /// It cannot be read.
    #[error("cannot read {name}: {source}")]
    Read {
        /// Which file.
        name: &'static str,
        /// Why.
        source: io::Error,
    },
    /// It is not such a file.
    #[error("cannot read {name}: it is no plain file of at most {most} bytes")]
    Odd {
        /// Which file.
        name: &'static str,
        /// How many bytes are read.
        most: u64,
    },
    /// It is not what a system writes there.
    #[error("cannot understand {name}")]
    Damaged {
        /// Which file.
        name: &'static str,
        /// Why.
        source: serde_json::Error,
    },
    /// A configuration without the record of its generation.
    #[error("it has a configuration, and no record of its generation")]
    NoRecord,
}

/// Looks at the STATE that is mounted there.
///
/// # Errors
/// [`ForeignError`]: nothing is known of it then, which is not the same as that there is nothing.
pub fn look_into(root: &Path) -> Result<Foreign, ForeignError> {
    let config = root.join(CONFIG_FOLDER);
    let fleet = read_json(root, TRUST, MOST_OF_TRUST)?;
    let accepted: Option<Accepted> = read_json(&config, ACCEPTED_RECORD, MOST_OF_RECORD)?;
    if accepted.is_none() && open(&config, ACCEPTED_BYTES)?.is_some() {
        return Err(ForeignError::NoRecord);
    }
    Ok(Foreign { fleet, accepted })
}

/// A pipe does not make it wait, and a link is not followed.
fn open(folder: &Path, name: &'static str) -> Result<Option<std::fs::File>, ForeignError> {
    let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW | libc::O_NOCTTY;
    match OpenOptions::new().read(true).custom_flags(flags).open(folder.join(name)) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ForeignError::Read { name, source }),
    }
}

fn read_json<T: DeserializeOwned>(folder: &Path, name: &'static str, most: u64) -> Result<Option<T>, ForeignError> {
    let failed = |source| ForeignError::Read { name, source };
    let Some(file) = open(folder, name)? else { return Ok(None) };
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(ForeignError::Odd { name, most });
    }
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > most {
        return Err(ForeignError::Odd { name, most });
    }
    serde_json::from_slice(&bytes).map(Some).map_err(|source| ForeignError::Damaged { name, source })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::super::Store;
    use super::*;

    fn accepted() -> Accepted {
        Accepted { generation: 3.try_into().expect("not 0"), digest: machine_config::Digest::of(b"three") }
    }

    fn state() -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Store::open(folder.path()).expect("writable").accept(b"three", &accepted()).expect("writable");
        let record = folder.path().join(CONFIG_FOLDER).join(ACCEPTED_RECORD);
        (folder, record)
    }

    #[test]
    fn what_a_system_wrote_is_read() {
        let (folder, _) = state();
        assert_eq!(look_into(folder.path()).expect("readable"), Foreign { fleet: None, accepted: Some(accepted()) });
        let key = machine_config::SigningKey::from_bytes(&[1; 32]).verifying_key();
        let fleet = FleetTrust { name: "acme".parse().expect("a name"), keys: vec![key.try_into().expect("strong")] };
        Store::open(folder.path()).expect("writable").pin_trust(&fleet).expect("writable");
        assert_eq!(look_into(folder.path()).expect("readable").fleet, Some(fleet));
        let empty = tempfile::tempdir().expect("a temporary folder");
        assert_eq!(look_into(empty.path()).expect("readable"), Foreign::default());
    }

    #[test]
    fn a_configuration_without_its_record_is_not_taken_for_none() {
        let (folder, record) = state();
        fs::remove_file(record).expect("there");
        assert!(matches!(look_into(folder.path()), Err(ForeignError::NoRecord)));
    }

    #[test]
    fn what_is_no_short_plain_file_is_refused_without_waiting() {
        let (folder, record) = state();
        fs::rename(&record, folder.path().join("elsewhere")).expect("there");
        symlink(folder.path().join("elsewhere"), &record).expect("writable");
        assert!(matches!(look_into(folder.path()), Err(ForeignError::Read { .. })), "a link");
        fs::remove_file(&record).expect("there");
        rustix::fs::mknodat(rustix::fs::CWD, &record, rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("writable");
        assert!(matches!(look_into(folder.path()), Err(ForeignError::Odd { .. })), "a pipe nobody writes to");
        fs::remove_file(&record).expect("there");
        fs::write(&record, vec![b' '; 4097]).expect("writable");
        assert!(matches!(look_into(folder.path()), Err(ForeignError::Odd { .. })), "too long");
        fs::write(&record, "{}").expect("writable");
        assert!(matches!(look_into(folder.path()), Err(ForeignError::Damaged { .. })), "nonsense");
    }
}
