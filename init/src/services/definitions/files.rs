//! The files that services read: a plan as data, and the one function that carries it out.
//!
//! A file is replaced as a whole, by rename, and only when it differs. What an earlier plan wrote and this one does not is removed, but only
//! where the plan says that it owns the place.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Everything to be written. Paths are absolute, as the device sees them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FilePlan {
    /// Made first, in this order.
    pub folders: Vec<Folder>,
    /// Then these.
    pub links: Vec<Link>,
    /// Then these.
    pub files: Vec<ManagedFile>,
    /// What else lies here goes.
    pub owned: Vec<Owned>,
}

/// One folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// Where.
    pub path: PathBuf,
    /// Permission bits.
    pub mode: u32,
}

impl Folder {
    pub(super) fn new(path: &str, mode: u32) -> Self {
        Self { path: path.into(), mode }
    }
}

/// One symbolic link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Where.
    pub path: PathBuf,
    /// What it points at.
    pub target: PathBuf,
}

impl Link {
    pub(super) fn new(path: &str, target: &str) -> Self {
        Self { path: path.into(), target: target.into() }
    }
}

/// One file.
#[derive(Clone, PartialEq, Eq)]
pub struct ManagedFile {
    /// Where.
    pub path: PathBuf,
    /// Permission bits.
    pub mode: u32,
    /// What is in it; may be secret, so `Debug` does not show it.
    pub content: String,
}

impl ManagedFile {
    /// A file that everybody may read.
    pub(super) fn public(path: &str, content: String) -> Self {
        Self { path: path.into(), mode: 0o644, content }
    }

    /// A file for root alone.
    pub(super) fn secret(path: &str, content: String) -> Self {
        Self { path: path.into(), mode: 0o600, content }
    }
}

impl std::fmt::Debug for ManagedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ManagedFile").field("path", &self.path).field("mode", &self.mode).finish_non_exhaustive()
    }
}

/// The entries of a folder whose names begin with a prefix: those that are not in the plan are removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    /// The folder.
    pub folder: PathBuf,
    /// Empty: every entry.
    pub prefix: String,
}

impl Owned {
    pub(super) fn whole(folder: &str) -> Self {
        Self::prefixed(folder, "")
    }

    pub(super) fn prefixed(folder: &str, prefix: &str) -> Self {
        Self { folder: folder.into(), prefix: prefix.to_owned() }
    }
}

/// What could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: is its file system mounted and not full?", path.display())]
pub struct FileError {
    /// What was being done.
    pub action: &'static str,
    /// To what.
    pub path: PathBuf,
    /// Why not.
    pub source: io::Error,
}

impl FilePlan {
    /// Carries it out below `root`, off the main loop: some of it lies on a disk, which may be dying.
    pub async fn write_apart(self, root: &Path) -> Result<(), FileError> {
        let root = root.to_owned();
        let written = tokio::task::spawn_blocking(move || self.write(&root)).await;
        written.expect("it does not panic, and the runtime outlives its tasks")
    }

    /// Carries it out below `root`.
    pub fn write(&self, root: &Path) -> Result<(), FileError> {
        for Folder { path, mode } in &self.folders {
            let path = below(root, path);
            let made = fs::create_dir_all(&path).and_then(|()| fs::set_permissions(&path, Permissions::from_mode(*mode)));
            made.map_err(|source| FileError { action: "make folder", path, source })?;
        }
        for Link { path, target } in &self.links {
            let path = below(root, path);
            place_link(&path, target).map_err(|source| FileError { action: "make link", path, source })?;
        }
        for file in &self.files {
            let path = below(root, &file.path);
            replace(&path, file).map_err(|source| FileError { action: "write", path, source })?;
        }
        self.owned.iter().try_for_each(|owned| self.clear(root, owned))
    }

    fn clear(&self, root: &Path, owned: &Owned) -> Result<(), FileError> {
        let folder = below(root, &owned.folder);
        let fail = |path: &Path, source| FileError { action: "clear", path: path.to_owned(), source };
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(|error| fail(&folder, error))?,
        };
        for entry in entries {
            let entry = entry.map_err(|error| fail(&folder, error))?;
            let name = entry.file_name();
            if name.as_encoded_bytes().starts_with(owned.prefix.as_bytes()) && !self.has(&owned.folder.join(&name)) {
                remove(&entry).map_err(|error| fail(&entry.path(), error))?;
            }
        }
        Ok(())
    }

    fn has(&self, path: &Path) -> bool {
        self.files.iter().any(|file| file.path.starts_with(path)) || self.folders.iter().any(|folder| folder.path == path)
    }
}

fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

fn place_link(path: &Path, target: &Path) -> io::Result<()> {
    if fs::read_link(path).is_ok_and(|found| found == target) {
        return Ok(());
    }
    symlink(target, path)
}

fn replace(path: &Path, file: &ManagedFile) -> io::Result<()> {
    let same_mode = fs::symlink_metadata(path).is_ok_and(|found| found.is_file() && found.mode() & 0o7777 == file.mode);
    if same_mode && fs::read(path).is_ok_and(|found| found == file.content.as_bytes()) {
        return Ok(());
    }
    let temporary = path.with_file_name(format!(".{}.new", path.file_name().unwrap_or_default().to_string_lossy()));
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut options = fs::OpenOptions::new();
    std::os::unix::fs::OpenOptionsExt::mode(options.write(true).create_new(true), 0o600);
    io::Write::write_all(&mut options.open(&temporary)?, file.content.as_bytes())?;
    fs::set_permissions(&temporary, Permissions::from_mode(file.mode))?;
    fs::rename(&temporary, path)
}

fn remove(entry: &fs::DirEntry) -> io::Result<()> {
    if entry.file_type()?.is_dir() { fs::remove_dir_all(entry.path()) } else { fs::remove_file(entry.path()) }
}

/// Names what is in the files that a service reads at its start: other content is another spec.
pub(super) fn fingerprint(files: &[ManagedFile]) -> String {
    let mut hash = Sha256::new();
    for file in files {
        for part in [file.path.as_os_str().as_encoded_bytes(), file.content.as_bytes()] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    }
    hex::encode(hash.finalize())
}
