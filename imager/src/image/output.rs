//! The file an image becomes: written sparse, complete or not there. It appears under its name by a rename, after everything is on the disk.

use std::fs::{File, Permissions};
use std::io::{self, ErrorKind, Read, Seek};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use tempfile::NamedTempFile;

/// Blocks of this many zeros stay holes.
const HOLE_BYTES: usize = 4096;
const ZEROS: [u8; HOLE_BYTES] = [0; HOLE_BYTES];
/// Bytes copied at once.
const COPY_BYTES: usize = 1 << 20;

/// Why an output cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The folder of the output is not there.
    #[error("cannot write {}: the folder {} is not there; make it first", path.display(), folder.display())]
    NoFolder {
        /// The output.
        path: PathBuf,
        /// Its folder.
        folder: PathBuf,
    },
    /// The disk is full.
    #[error("cannot write {}: no space left on its disk; free some or choose another place with --out", path.display())]
    Full {
        /// The output.
        path: PathBuf,
    },
    /// Anything else.
    #[error("cannot write {}", path.display())]
    Write {
        /// The output.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// An output on its way. Dropped without [`Output::publish`], it leaves nothing behind.
#[derive(Debug)]
pub struct Output {
    path: PathBuf,
    store: Store,
}

/// Where the bytes are until they have a name.
#[derive(Debug)]
enum Store {
    /// In a file without a name: gone with this process, however it ends.
    Unnamed(File),
    /// Under a temporary name, where the file system knows no files without one.
    Named(NamedTempFile),
}

impl Store {
    fn create(folder: &Path) -> io::Result<Self> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        match rustix::fs::open(folder, flags, Mode::RUSR | Mode::WUSR) {
            Ok(file) => Ok(Self::Unnamed(file.into())),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
                tempfile::Builder::new().prefix(".skerry-").suffix(".part").tempfile_in(folder).map(Self::Named)
            }
            Err(other) => Err(other.into()),
        }
    }

    fn file(&self) -> &File {
        match self {
            Self::Unnamed(file) => file,
            Self::Named(file) => file.as_file(),
        }
    }

    /// A path that opens the same file while this lives.
    fn path(&self) -> PathBuf {
        match self {
            Self::Unnamed(file) => format!("/proc/self/fd/{}", file.as_raw_fd()).into(),
            Self::Named(file) => file.path().to_owned(),
        }
    }

    /// Gives the file its name, in place of whatever has it.
    fn rename(self, path: &Path) -> io::Result<()> {
        let from = self.path();
        match self {
            Self::Unnamed(_file) => {
                // A file gets its first name only where none is yet, so it gets another one first.
                let between = folder_of(path).join(format!(".skerry-{}.part", std::process::id()));
                rustix::fs::linkat(CWD, &from, CWD, &between, AtFlags::SYMLINK_FOLLOW)?;
                std::fs::rename(&between, path).inspect_err(|_| drop(std::fs::remove_file(&between)))
            }
            Self::Named(file) => file.persist(path).map(drop).map_err(|error| error.error),
        }
    }
}

impl Output {
    /// Begins the output that will be at `path`.
    pub fn create(path: &Path) -> Result<Self, OutputError> {
        let store = Store::create(existing_folder(path)?).map_err(|source| failure(path, source))?;
        Ok(Self { path: path.to_owned(), store })
    }

    /// Sets the length; what was not written reads as zeros and takes no space.
    pub fn set_len(&self, bytes: u64) -> Result<(), OutputError> {
        self.store.file().set_len(bytes).map_err(|source| self.failure(source))
    }

    /// Writes bytes at an offset; blocks of zeros stay holes. The place must not have been written before.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), OutputError> {
        let is_hole = |block: &&[u8]| **block == ZEROS[..block.len()];
        let blocks: Vec<&[u8]> = bytes.chunks(HOLE_BYTES).collect();
        let mut at = 0;
        for run in blocks.chunk_by(|one, next| is_hole(one) == is_hole(next)) {
            let end = at + run.iter().map(|block| block.len()).sum::<usize>();
            if !run.first().is_some_and(is_hole) {
                let written = self.store.file().write_all_at(&bytes[at..end], offset + at as u64);
                written.map_err(|source| self.failure(source))?;
            }
            at = end;
        }
        Ok(())
    }

    /// Copies the first `bytes` bytes of `source` to an offset.
    pub fn copy_at(&self, mut offset: u64, source: &mut File, bytes: u64) -> Result<(), OutputError> {
        source.rewind().map_err(|error| self.failure(error))?;
        let mut source = source.take(bytes);
        let mut buffer = vec![0; COPY_BYTES];
        loop {
            let count = source.read(&mut buffer).map_err(|error| self.failure(error))?;
            if count == 0 {
                return Ok(());
            }
            self.write_at(offset, &buffer[..count])?;
            offset += count as u64;
        }
    }

    /// Where it is until it is published, for reading it back.
    pub fn temporary_path(&self) -> PathBuf {
        self.store.path()
    }

    /// Puts everything on the disk, then gives it its name.
    pub fn publish(self) -> Result<(), OutputError> {
        let Self { path, store } = self;
        let folder = folder_of(&path).to_owned();
        let file = store.file();
        let done = file.set_permissions(Permissions::from_mode(0o644)).and_then(|()| file.sync_all());
        let done = done.and_then(|()| store.rename(&path)).and_then(|()| File::open(folder)?.sync_all());
        done.map_err(|source| failure(&path, source))
    }

    /// The error of this output for an I/O error.
    pub fn failure(&self, source: io::Error) -> OutputError {
        failure(&self.path, source)
    }
}

/// An empty file without a name, on the disk where `out` will be. It is gone when it is closed.
pub fn unnamed_beside(out: &Path) -> Result<File, OutputError> {
    tempfile::tempfile_in(existing_folder(out)?).map_err(|source| failure(out, source))
}

fn existing_folder(path: &Path) -> Result<&Path, OutputError> {
    let folder = folder_of(path);
    if folder.is_dir() { Ok(folder) } else { Err(OutputError::NoFolder { path: path.to_owned(), folder: folder.to_owned() }) }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        Some(_) | None => Path::new("."),
    }
}

/// The error of the output at `path` for an I/O error.
pub fn failure(path: &Path, source: io::Error) -> OutputError {
    match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            OutputError::Full { path: path.to_owned() }
        }
        _ => OutputError::Write { path: path.to_owned(), source },
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn nothing_is_left_of_an_output_that_was_not_published() {
        let folder = tempfile::tempdir().expect("temp folder");
        let output = Output::create(&folder.path().join("image")).expect("begun");
        output.write_at(0, b"half").expect("written");
        drop(output);
        assert_eq!(std::fs::read_dir(folder.path()).expect("listed").count(), 0);
    }

    #[test]
    fn zeros_take_no_space() {
        let folder = tempfile::tempdir().expect("temp folder");
        let path = folder.path().join("image");
        let output = Output::create(&path).expect("begun");
        output.set_len(64 << 20).expect("sized");
        let mut bytes = vec![0; 1 << 20];
        bytes[500_000] = 1;
        output.write_at(1 << 20, &bytes).expect("written");
        output.publish().expect("published");
        let meta = std::fs::metadata(&path).expect("there");
        assert_eq!(meta.len(), 64 << 20);
        assert!(meta.blocks() * 512 <= 64 << 10, "{} bytes allocated", meta.blocks() * 512);
        assert_eq!(std::fs::read(&path).expect("read")[(1 << 20) + 500_000], 1);
    }

    #[test]
    fn an_old_output_stays_until_the_new_one_is_complete() {
        let folder = tempfile::tempdir().expect("temp folder");
        let path = folder.path().join("image");
        std::fs::write(&path, "old").expect("written");
        let output = Output::create(&path).expect("begun");
        output.write_at(0, b"new").expect("written");
        assert_eq!(std::fs::read(&path).expect("read"), b"old");
        output.publish().expect("published");
        assert_eq!(std::fs::read(&path).expect("read"), b"new");
    }

    #[test]
    fn a_file_system_without_unnamed_files_will_do() {
        let folder = tempfile::tempdir().expect("temp folder");
        let path = folder.path().join("image");
        std::fs::write(&path, "old").expect("written");
        let store = Store::Named(NamedTempFile::new_in(folder.path()).expect("temp file"));
        let output = Output { path: path.clone(), store };
        output.write_at(0, b"new").expect("written");
        assert_eq!(std::fs::read(output.temporary_path()).expect("read back"), b"new");
        output.publish().expect("published");
        assert_eq!(std::fs::read(&path).expect("read"), b"new");
        assert_eq!(std::fs::read_dir(folder.path()).expect("listed").count(), 1);
    }

    #[test]
    fn a_full_disk_and_a_missing_folder_say_so() {
        let full = Output { path: "image".into(), store: Store::Named(NamedTempFile::new().expect("temp file")) };
        let error = full.failure(io::Error::from(ErrorKind::StorageFull)).to_string();
        assert!(error.contains("no space left") && error.contains("image"), "{error}");
        let error = Output::create(Path::new("/nowhere/at/all/image")).expect_err("no folder").to_string();
        assert!(error.contains("/nowhere/at/all is not there"), "{error}");
    }
}
