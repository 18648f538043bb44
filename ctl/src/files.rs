//! Reading and writing whole files. A written file appears by rename, complete, or not at all.

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::failure::{Exit, Explain};

/// Who may read a file that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Mode 0644: holds nothing secret.
    Public,
    /// Mode 0600: holds a private key or a secret.
    Secret,
}

impl Access {
    fn permissions(self) -> Permissions {
        Permissions::from_mode(match self {
            Self::Public => 0o644,
            Self::Secret => 0o600,
        })
    }
}

/// Why a file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Reading failed.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Writing failed; the file is as it was before.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Removing failed.
    #[error("cannot remove {path}")]
    Remove {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is there already and must not be replaced.
    #[error("cannot write {path}: it exists already")]
    Exists {
        /// The file.
        path: PathBuf,
    },
}

impl Explain for FileError {
    fn exit(&self) -> Exit {
        Exit::Failure
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Exists { .. } => Some("choose another name, or move the file away first".into()),
            Self::Read { .. } | Self::Write { .. } | Self::Remove { .. } => None,
        }
    }
}

/// The file's bytes.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    fs::read(path).map_err(|source| FileError::Read { path: path.into(), source })
}

/// The file's text; bytes that are not UTF-8 are an error.
pub(crate) fn read_text(path: &Path) -> Result<String, FileError> {
    fs::read_to_string(path).map_err(|source| FileError::Read { path: path.into(), source })
}

/// Writes a file that must not exist yet.
pub(crate) fn write_new(path: &Path, bytes: &[u8], access: Access) -> Result<(), FileError> {
    appear(prepare(path, bytes, access)?, path)
}

fn appear(file: NamedTempFile, path: &Path) -> Result<(), FileError> {
    match file.persist_noclobber(path) {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Err(FileError::Exists { path: path.into() }),
        Err(error) => Err(FileError::Write { path: path.into(), source: error.error }),
    }
}

/// A file that is written piece by piece and must not exist yet. It is gone again unless it is finished.
#[derive(Debug)]
pub(crate) struct Draft {
    file: NamedTempFile,
    path: PathBuf,
}

impl Draft {
    /// Begins one. A path that is taken already is refused at once.
    pub(crate) fn begin(path: &Path, access: Access) -> Result<Self, FileError> {
        if path.symlink_metadata().is_ok() {
            return Err(FileError::Exists { path: path.into() });
        }
        let failed = |source| FileError::Write { path: path.into(), source };
        let file = NamedTempFile::new_in(folder_of(path)).map_err(failed)?;
        file.as_file().set_permissions(access.permissions()).map_err(failed)?;
        Ok(Self { file, path: path.into() })
    }

    /// Adds bytes.
    pub(crate) fn add(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.file.write_all(bytes).map_err(|source| FileError::Write { path: self.path.clone(), source })
    }

    /// Makes it appear.
    pub(crate) fn finish(self) -> Result<(), FileError> {
        self.file.as_file().sync_all().map_err(|source| FileError::Write { path: self.path.clone(), source })?;
        appear(self.file, &self.path)
    }
}

/// Writes a file, replacing the one that may be there and keeping its mode; a new one is [`Access::Public`]. A link stays a link.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let path = &path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let failed = |source| FileError::Write { path: path.clone(), source };
    let file = prepare(path, bytes, Access::Public)?;
    match fs::metadata(path) {
        Ok(there) => file.as_file().set_permissions(there.permissions()).map_err(failed)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    file.persist(path).map(drop).map_err(|error| failed(error.error))
}

/// Writes a file that only its owner may read, replacing the one that may be there.
pub(crate) fn replace_secret(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let file = prepare(path, bytes, Access::Secret)?;
    file.persist(path).map(drop).map_err(|error| FileError::Write { path: path.into(), source: error.error })
}

/// Removes a file; one that is not there is removed already.
pub(crate) fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FileError::Remove { path: path.into(), source: error }),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn prepare(path: &Path, bytes: &[u8], access: Access) -> Result<NamedTempFile, FileError> {
    let failed = |source| FileError::Write { path: path.into(), source };
    let mut file = NamedTempFile::new_in(folder_of(path)).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.as_file().set_permissions(access.permissions()).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    Ok(file)
}

/// The folder a path lies in; `.` for a bare name.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_never_replaces_one_that_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        write_new(&path, b"first", Access::Secret).unwrap();
        let error = write_new(&path, b"second", Access::Secret).unwrap_err();
        assert!(matches!(error, FileError::Exists { .. }), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "the temporary file is gone");
    }

    #[test]
    fn replacing_keeps_the_mode_and_writes_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("node.yaml"), dir.path().join("link.yaml"));
        write_new(&path, b"a", Access::Secret).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        replace(&link, b"b").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"b");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        replace_secret(&dir.path().join("new"), b"token").unwrap();
        assert_eq!(fs::metadata(dir.path().join("new")).unwrap().permissions().mode() & 0o777, 0o600);
        remove(&dir.path().join("new")).unwrap();
        remove(&dir.path().join("new")).unwrap();
        replace(&dir.path().join("new"), b"c").unwrap();
        assert_eq!(fs::metadata(dir.path().join("new")).unwrap().permissions().mode() & 0o777, 0o644);
    }

    #[test]
    fn a_bare_name_lies_in_the_current_folder() {
        assert_eq!(folder_of(Path::new("a.yaml")), Path::new("."));
        assert_eq!(folder_of(Path::new("b/a.yaml")), Path::new("b"));
    }
}
