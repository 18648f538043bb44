//! The file an image becomes: written sparse, complete or not there. It appears under its name by a rename, after everything is on the disk.

use std::fs::{File, Permissions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// Zero runs shorter than this are written; longer ones stay holes.
const HOLE_BYTES: usize = 4096;
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
    file: NamedTempFile,
}

impl Output {
    /// Begins the output that will be at `path`.
    pub fn create(path: &Path) -> Result<Self, OutputError> {
        let folder = existing_folder(path)?;
        let file = tempfile::Builder::new().prefix(".skerry-").suffix(".part").tempfile_in(folder);
        Ok(Self { path: path.to_owned(), file: file.map_err(|source| failure(path, source))? })
    }

    /// Sets the length; what was not written reads as zeros and takes no space.
    pub fn set_len(&self, bytes: u64) -> Result<(), OutputError> {
        self.file.as_file().set_len(bytes).map_err(|source| self.failure(source))
    }

    /// Writes bytes at an offset; blocks of zeros stay holes. The place must not have been written before.
    pub fn write_at(&self, mut offset: u64, bytes: &[u8]) -> Result<(), OutputError> {
        for chunk in bytes.chunks(HOLE_BYTES) {
            if chunk.iter().any(|byte| *byte != 0) {
                self.file.as_file().write_all_at(chunk, offset).map_err(|source| self.failure(source))?;
            }
            offset += chunk.len() as u64;
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
    pub fn temporary_path(&self) -> &Path {
        self.file.path()
    }

    /// Puts everything on the disk, then gives it its name.
    pub fn publish(self) -> Result<(), OutputError> {
        let Self { path, file } = self;
        let done = file.as_file().set_permissions(Permissions::from_mode(0o644)).and_then(|()| file.as_file().sync_all());
        done.map_err(|source| failure(&path, source))?;
        file.persist(&path).map_err(|error| failure(&path, error.error))?;
        let folder = File::open(folder_of(&path)).and_then(|folder| folder.sync_all());
        folder.map_err(|source| failure(&path, source))
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

/// A part of a file, seen as a file of its own: reading and seeking stay inside.
#[derive(Debug)]
pub struct Window<'a> {
    file: &'a File,
    offset: u64,
    bytes: u64,
    position: u64,
}

impl<'a> Window<'a> {
    /// `bytes` bytes of `file` from `offset`.
    pub fn new(file: &'a File, offset: u64, bytes: u64) -> Self {
        Self { file, offset, bytes, position: 0 }
    }
}

impl Read for Window<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.bytes.saturating_sub(self.position);
        let wanted = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let count = self.file.read_at(&mut buffer[..wanted], self.offset + self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Write for Window<'_> {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::Error::from(ErrorKind::ReadOnlyFilesystem))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Window<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = seek(self.position, self.bytes, to)?;
        Ok(self.position)
    }
}

/// Where a seek leads in something `bytes` bytes long; before its beginning is an error.
pub(super) fn seek(position: u64, bytes: u64, to: SeekFrom) -> io::Result<u64> {
    let target = match to {
        SeekFrom::Start(offset) => Some(offset),
        SeekFrom::End(offset) => bytes.checked_add_signed(offset),
        SeekFrom::Current(offset) => position.checked_add_signed(offset),
    };
    target.ok_or(io::Error::from(ErrorKind::InvalidInput))
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
    fn a_full_disk_and_a_missing_folder_say_so() {
        let full = Output { path: "image".into(), file: NamedTempFile::new().expect("temp file") };
        let error = full.failure(io::Error::from(ErrorKind::StorageFull)).to_string();
        assert!(error.contains("no space left") && error.contains("image"), "{error}");
        let error = Output::create(Path::new("/nowhere/at/all/image")).expect_err("no folder").to_string();
        assert!(error.contains("/nowhere/at/all is not there"), "{error}");
    }

    #[test]
    fn a_window_stays_inside() {
        let file = tempfile::tempfile().expect("temp file");
        file.write_all_at(b"0123456789", 0).expect("written");
        let mut window = Window::new(&file, 3, 4);
        let mut text = String::new();
        window.read_to_string(&mut text).expect("read");
        assert_eq!(text, "3456");
        window.seek(SeekFrom::End(-1)).expect("sought");
        assert_eq!(window.read(&mut [0; 8]).expect("read"), 1);
        assert!(window.seek(SeekFrom::Current(-9)).is_err());
    }
}
