//! Writes the name files and sets the kernel's host name, each only when it differs. Readers see the old file or the new one, never half.

use std::io;
use std::path::{Path, PathBuf};

use super::names::Names;

/// Why a file could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum NamesError {
    /// A file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kernel does not take the name.
    #[error("cannot set the host name to {name}")]
    Hostname {
        /// Which name.
        name: String,
        /// Why.
        source: io::Error,
    },
}

/// Brings the three files below `etc` and the kernel's host name up to date.
pub(super) fn write(etc: &Path, names: &Names) -> Result<(), NamesError> {
    replace(&etc.join("resolv.conf"), &names.resolv_conf)?;
    replace(&etc.join("hosts"), &names.hosts)?;
    replace(&etc.join("hostname"), &format!("{}\n", names.hostname))?;
    if rustix::system::uname().nodename().to_bytes() == names.hostname.as_bytes() {
        return Ok(());
    }
    rustix::system::sethostname(names.hostname.as_bytes())
        .map_err(|error| NamesError::Hostname { name: names.hostname.clone(), source: error.into() })
}

/// /etc lies in RAM, so there is nothing to sync.
fn replace(path: &Path, text: &str) -> Result<(), NamesError> {
    if std::fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    let fresh = path.with_extension("new");
    let written = std::fs::write(&fresh, text).and_then(|()| std::fs::rename(&fresh, path));
    written.map_err(|source| NamesError::Write { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_only_when_it_differs() {
        use std::os::unix::fs::MetadataExt;

        let folder = tempfile::tempdir().expect("a temp folder");
        let path = folder.path().join("resolv.conf");
        let inode = || std::fs::metadata(&path).expect("it is there").ino();
        replace(&path, "one\n").expect("it can be written");
        let first = inode();
        replace(&path, "one\n").expect("it can be written");
        assert_eq!(inode(), first);
        replace(&path, "two\n").expect("it can be written");
        assert_eq!(std::fs::read_to_string(&path).expect("it is there"), "two\n");
        assert_eq!(std::fs::read_dir(folder.path()).expect("it is there").count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let error = replace(Path::new("/nowhere/hosts"), "").expect_err("there is no such folder");
        assert_eq!(error.to_string(), "cannot write /nowhere/hosts");
    }
}
