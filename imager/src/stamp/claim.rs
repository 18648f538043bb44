//! Which device a key was given to, noted beside the key: another inventory, folder or bench command must not give it to a second device, for two
//! devices with one key are one to everybody. The note is named after the device id, so a copy of the key in that folder is known too; a copy elsewhere is not.

use std::fs::Permissions;
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use machine_config::DeviceId;

use crate::draft::folder_of;

/// Ends the name of a note.
const SUFFIX: &str = "device";
/// There is no secret in a note, and root and its owner both read it.
const MODE: u32 = 0o644;

/// Why a key is not given to a device.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Another device has it.
    #[error(
        "cannot give the key {} to {wanted}: {} says that {first} has it, and each device has its own; name another key, or remove that note if {first} never got it",
        key.display(), note.display()
    )]
    Taken {
        /// The key's file.
        key: PathBuf,
        /// The note.
        note: PathBuf,
        /// Who has it.
        first: String,
        /// Who should have got it.
        wanted: String,
    },
    /// The note cannot be read or written.
    #[error("cannot note in {} which device has that key; put the key into a folder that can be written", note.display())]
    Note {
        /// The note.
        note: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Gives the key in a file, which is the device `id`, to `owner`, once and for all; giving it to the same one again is nothing new.
///
/// # Errors
/// See [`ClaimError`].
pub fn claim(key: &Path, id: &DeviceId, owner: &str) -> Result<(), ClaimError> {
    // Behind links: the folder is the key's own, by whatever name it was reached.
    let real = key.canonicalize().unwrap_or_else(|_| key.to_owned());
    let note = folder_of(&real).join(format!("{id}.{SUFFIX}"));
    let failed = |source| ClaimError::Note { note: note.clone(), source };
    if write(&note, owner).map_err(failed)? {
        return Ok(());
    }
    let first = std::fs::read_to_string(&note).map_err(failed)?.trim().to_owned();
    if first == owner {
        return Ok(());
    }
    Err(ClaimError::Taken { key: key.to_owned(), note, first, wanted: owner.to_owned() })
}

/// Writes a note unless there is one; it appears whole. Whether it was written.
fn write(note: &Path, owner: &str) -> io::Result<bool> {
    let mut file = tempfile::Builder::new().permissions(Permissions::from_mode(MODE)).tempfile_in(folder_of(note))?;
    writeln!(file, "{owner}")?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(note) {
        Ok(_) => Ok(true),
        Err(error) if error.error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error.error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stamp::testing;

    #[test]
    fn a_key_belongs_to_the_device_it_was_given_to_first() {
        let folder = tempfile::tempdir().expect("temp folder");
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("a.key"), "a").expect("written");
        std::os::unix::fs::symlink(path("a.key"), path("link")).expect("made");
        let id = DeviceId::of(&testing::key(7).verifying_key());
        claim(&path("a.key"), &id, "acme/store-1").expect("free");
        claim(&path("a.key"), &id, "acme/store-1").expect("the same device");
        for (key, owner) in
            [("a.key", "acme/store-2"), ("a.key", "rival/store-1"), ("link", "acme/store-2"), ("copy", "acme/store-2")]
        {
            let error = claim(&path(key), &id, owner).expect_err("taken").to_string();
            assert!(error.contains(owner) && error.contains("says that acme/store-1 has it"), "{error}");
        }
        claim(&path("b.key"), &DeviceId::of(&testing::key(8).verifying_key()), "acme/store-2").expect("another key");
        std::fs::remove_file(path(&format!("{id}.device"))).expect("there");
        claim(&path("a.key"), &id, "acme/store-2").expect("given back");
    }

    #[test]
    fn what_cannot_be_noted_is_not_given() {
        let id = DeviceId::of(&testing::key(7).verifying_key());
        let error = claim(Path::new("/nowhere/a.key"), &id, "acme/store-1").expect_err("no folder").to_string();
        assert!(error.contains(&format!("/nowhere/{id}.device")) && error.contains("can be written"), "{error}");
    }
}
