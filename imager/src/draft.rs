//! A file on its way: complete under its name, or not there at all. It has no name until it is published, so nothing is left of it
//! when the program ends in the middle, however it ends. Judges no content.

use std::fs::{File, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use tempfile::NamedTempFile;

const PREFIX: &str = ".skerry-";
const SUFFIX: &str = ".part";
/// What carries no secret: an image as built, a lock, a manifest.
const PERMISSIONS: u32 = 0o644;
/// What carries one: a stamped image, a key, a token.
const PRIVATE_PERMISSIONS: u32 = 0o600;

/// A file that is not published yet. Dropped, it is gone.
#[derive(Debug)]
pub struct Draft {
    store: Store,
    permissions: u32,
}

/// Where the bytes are until they have a name.
#[derive(Debug)]
enum Store {
    /// In a file without a name: gone with this process, however it ends.
    Unnamed(File),
    /// Under a temporary name, where the file system knows no files without one.
    Named(NamedTempFile),
}

impl Draft {
    /// An empty file on the disk of `folder`.
    pub fn create(folder: &Path) -> io::Result<Self> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        match rustix::fs::open(folder, flags, Mode::RUSR | Mode::WUSR) {
            Ok(file) => Ok(Self { store: Store::Unnamed(file.into()), permissions: PERMISSIONS }),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => Self::create_named(folder),
            Err(other) => Err(other.into()),
        }
    }

    fn create_named(folder: &Path) -> io::Result<Self> {
        let file = tempfile::Builder::new().prefix(PREFIX).suffix(SUFFIX).tempfile_in(folder)?;
        Ok(Self { store: Store::Named(file), permissions: PERMISSIONS })
    }

    /// The same, to be published readable by its owner only.
    pub fn private(self) -> Self {
        Self { permissions: PRIVATE_PERMISSIONS, ..self }
    }

    /// The file.
    pub fn file(&self) -> &File {
        match &self.store {
            Store::Unnamed(file) => file,
            Store::Named(file) => file.as_file(),
        }
    }

    /// A path that opens the same file while this lives.
    pub fn path(&self) -> PathBuf {
        match &self.store {
            Store::Unnamed(file) => format!("/proc/self/fd/{}", file.as_raw_fd()).into(),
            Store::Named(file) => file.path().to_owned(),
        }
    }

    /// Gives the file its name, in place of whatever file has it. Whether it survives a power cut is the caller's business.
    pub fn publish(self, path: &Path) -> io::Result<()> {
        self.file().set_permissions(Permissions::from_mode(self.permissions))?;
        let from = self.path();
        match self.store {
            Store::Unnamed(_file) => match link(&from, path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => link_over(&from, path),
                other => other,
            },
            Store::Named(file) => file.persist(path).map(drop).map_err(|error| error.error),
        }
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file().flush()
    }
}

fn link(from: &Path, to: &Path) -> io::Result<()> {
    Ok(rustix::fs::linkat(CWD, from, CWD, to, AtFlags::SYMLINK_FOLLOW)?)
}

/// A file gets its first name only where none is yet, so it gets another one first.
fn link_over(from: &Path, to: &Path) -> io::Result<()> {
    let between = tempfile::Builder::new().prefix(PREFIX).suffix(SUFFIX).make_in(folder_of(to), |name| link(from, name))?;
    between.persist(to).map(drop).map_err(|error| error.error)
}

/// The folder a path lies in.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        Some(_) | None => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).expect("listed");
        entries.map(|entry| entry.expect("entry").file_name().into_string().expect("text")).collect()
    }

    #[test]
    fn a_draft_has_no_name_until_it_is_published_and_then_only_its_own() {
        for create in [Draft::create, Draft::create_named] {
            let folder = tempfile::tempdir().expect("temp folder");
            let path = folder.path().join("file");
            drop(create(folder.path()).expect("begun"));
            assert_eq!(names(folder.path()), [] as [String; 0], "dropped");
            for text in ["first", "second"] {
                let mut draft = create(folder.path()).expect("begun");
                draft.write_all(text.as_bytes()).expect("written");
                assert_eq!(std::fs::read(draft.path()).expect("read"), text.as_bytes());
                draft.publish(&path).expect("published");
                assert_eq!(names(folder.path()), ["file"]);
                assert_eq!(std::fs::read(&path).expect("read"), text.as_bytes());
                assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, PERMISSIONS);
            }
        }
    }

    #[test]
    fn what_is_private_is_its_owners_only() {
        let folder = tempfile::tempdir().expect("temp folder");
        for (name, create) in [("unnamed", Draft::create as fn(&Path) -> _), ("named", Draft::create_named)] {
            let path = folder.path().join(name);
            create(folder.path()).expect("begun").private().publish(&path).expect("published");
            assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, PRIVATE_PERMISSIONS);
        }
    }

    #[test]
    fn a_draft_never_replaces_a_folder() {
        let folder = tempfile::tempdir().expect("temp folder");
        let path = folder.path().join("folder");
        std::fs::create_dir(&path).expect("made");
        Draft::create(folder.path()).expect("begun").publish(&path).expect_err("a folder is there");
        assert_eq!(names(folder.path()), ["folder"]);
    }
}
