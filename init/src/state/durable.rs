//! Replacing a file so that after a power cut it is either the old one or the new one, whole.
//!
//! The order is what makes it true: write a temporary file, sync it, rename it over the old one, sync the folder.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Why a file was not replaced. The old one is still there.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step} {}", path.display())]
pub struct DurableError {
    /// Which of the steps.
    pub step: &'static str,
    /// The file.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// Replaces `folder/name` with these bytes and mode.
pub fn replace(folder: &Path, name: &str, bytes: &[u8], mode: u32) -> Result<(), DurableError> {
    let path = folder.join(name);
    let temporary = folder.join(format!(".{name}.new"));
    let failed = |step| {
        let path = path.clone();
        move |source| DurableError { step, path, source }
    };
    // Left behind by a cut; O_EXCL below makes sure that the mode is the one asked for.
    let _ = std::fs::remove_file(&temporary);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary).map_err(failed("create"))?;
    file.write_all(bytes).map_err(failed("write"))?;
    file.sync_all().map_err(failed("sync"))?;
    std::fs::rename(&temporary, &path).map_err(failed("rename"))?;
    sync_folder(folder).map_err(failed("sync the folder of"))
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_with_its_mode() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        replace(folder.path(), "a", b"old", 0o600).expect("writable");
        replace(folder.path(), "a", b"new", 0o600).expect("writable");
        assert_eq!(std::fs::read(folder.path().join("a")).expect("there"), b"new");
        let mode = std::fs::metadata(folder.path().join("a")).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).expect("there").count(), 1, "nothing temporary stays");
    }

    #[test]
    fn what_a_cut_left_behind_is_no_obstacle() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join(".a.new"), b"half").expect("writable");
        replace(folder.path(), "a", b"whole", 0o600).expect("writable");
        assert_eq!(std::fs::read(folder.path().join("a")).expect("there"), b"whole");
    }

    #[test]
    fn a_missing_folder_is_named() {
        let error = replace(Path::new("/nonexistent"), "a", b"", 0o600).expect_err("no folder");
        assert_eq!(error.to_string(), "cannot create /nonexistent/a");
    }
}
