//! The file an image becomes: written sparse, complete or not there. It appears under its name by a rename, after everything is on the disk.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::{Path, PathBuf};

use crate::draft::{Draft, folder_of};

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
    /// Something is there that an image must not replace.
    #[error("cannot write {}: it is {found}; name a file with --out, then copy that file to where it is needed", path.display())]
    NotAFile {
        /// The output.
        path: PathBuf,
        /// What is there.
        found: &'static str,
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

/// Where an output will be: in a folder that is there, over nothing or over a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// As the caller named it, for messages.
    named: PathBuf,
    /// The file itself, behind links.
    real: PathBuf,
}

impl Place {
    /// Looks whether a file can be put at `path`, before any work is done. A link is followed; a device or folder is refused.
    pub fn new(path: &Path) -> Result<Self, OutputError> {
        let place = Self { named: path.to_owned(), real: real_path(path)? };
        Draft::create(folder_of(&place.real)).map(drop).map_err(|source| place.failure(source))?;
        Ok(place)
    }

    /// As the caller named it.
    pub fn named(&self) -> &Path {
        &self.named
    }

    /// An empty file without a name, on the disk where the output will be. It is gone when it is closed.
    pub fn scratch(&self) -> Result<File, OutputError> {
        tempfile::tempfile_in(folder_of(&self.real)).map_err(|source| self.failure(source))
    }

    /// The error of the output for an I/O error.
    pub fn failure(&self, source: io::Error) -> OutputError {
        failure(&self.named, source)
    }
}

/// The file itself, behind links, which may not be there yet.
fn real_path(path: &Path) -> Result<PathBuf, OutputError> {
    let named = path.to_owned();
    match std::fs::canonicalize(path) {
        Ok(real) if real.is_file() => Ok(real),
        Ok(real) => Err(OutputError::NotAFile { path: named, found: kind_of(&real) }),
        Err(_) if path.file_name().is_none() || path.as_os_str().as_encoded_bytes().ends_with(b"/") => {
            Err(OutputError::NotAFile { path: named, found: "the name of a folder" })
        }
        Err(_) if !folder_of(path).is_dir() => Err(OutputError::NoFolder { path: named, folder: folder_of(path).to_owned() }),
        Err(source) if source.kind() != ErrorKind::NotFound || path.is_symlink() => Err(failure(path, source)),
        Err(_) => Ok(named),
    }
}

fn kind_of(path: &Path) -> &'static str {
    let kind = std::fs::metadata(path).map(|meta| meta.file_type());
    match kind {
        Ok(kind) if kind.is_dir() => "a folder",
        Ok(kind) if kind.is_block_device() || kind.is_char_device() => "a device",
        Ok(_) | Err(_) => "a pipe or socket",
    }
}

/// An output on its way. Dropped without [`Output::publish`], it leaves nothing behind.
#[derive(Debug)]
pub struct Output {
    place: Place,
    draft: Draft,
}

impl Output {
    /// Begins the output that will be at `place`.
    pub fn create(place: &Place) -> Result<Self, OutputError> {
        let draft = Draft::create(folder_of(&place.real)).map_err(|source| place.failure(source))?;
        Ok(Self { place: place.clone(), draft })
    }

    /// The same, to be readable by its owner only.
    pub fn private(self) -> Self {
        Self { draft: self.draft.private(), ..self }
    }

    /// The file, until it is published.
    pub fn file(&self) -> &File {
        self.draft.file()
    }

    /// Sets the length; what was not written reads as zeros and takes no space.
    pub fn set_len(&self, bytes: u64) -> Result<(), OutputError> {
        self.draft.file().set_len(bytes).map_err(|source| self.failure(source))
    }

    /// Writes bytes at an offset; blocks of zeros stay holes. The place must not have been written before.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), OutputError> {
        let is_hole = |block: &&[u8]| **block == ZEROS[..block.len()];
        let blocks: Vec<&[u8]> = bytes.chunks(HOLE_BYTES).collect();
        let mut at = 0;
        for run in blocks.chunk_by(|one, next| is_hole(one) == is_hole(next)) {
            let end = at + run.iter().map(|block| block.len()).sum::<usize>();
            if !run.first().is_some_and(is_hole) {
                let written = self.draft.file().write_all_at(&bytes[at..end], offset + at as u64);
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
        self.draft.path()
    }

    /// Puts everything on the disk, then gives it its name.
    pub fn publish(self) -> Result<(), OutputError> {
        let Self { place, draft } = self;
        let done = draft.file().sync_all().and_then(|()| draft.publish(&place.real));
        let done = done.and_then(|()| File::open(folder_of(&place.real))?.sync_all());
        done.map_err(|source| place.failure(source))
    }

    /// The error of this output for an I/O error.
    pub fn failure(&self, source: io::Error) -> OutputError {
        self.place.failure(source)
    }
}

fn failure(path: &Path, source: io::Error) -> OutputError {
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

    fn begun(path: &Path) -> Output {
        Output::create(&Place::new(path).expect("a place")).expect("begun")
    }

    #[test]
    fn nothing_is_left_of_an_output_that_was_not_published() {
        let folder = tempfile::tempdir().expect("temp folder");
        let output = begun(&folder.path().join("image"));
        output.write_at(0, b"half").expect("written");
        drop(output);
        assert_eq!(std::fs::read_dir(folder.path()).expect("listed").count(), 0);
    }

    #[test]
    fn zeros_take_no_space() {
        let folder = tempfile::tempdir().expect("temp folder");
        let path = folder.path().join("image");
        let output = begun(&path);
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
    fn an_old_output_stays_until_the_new_one_is_complete_also_behind_a_link() {
        let folder = tempfile::tempdir().expect("temp folder");
        let (path, link) = (folder.path().join("image"), folder.path().join("link"));
        std::fs::write(&path, "old").expect("written");
        std::os::unix::fs::symlink("image", &link).expect("linked");
        let output = begun(&link);
        output.write_at(0, b"new").expect("written");
        assert_eq!(std::fs::read(&path).expect("read"), b"old");
        assert_eq!(std::fs::read(output.temporary_path()).expect("read back"), b"new");
        output.publish().expect("published");
        assert_eq!(std::fs::read(&path).expect("read"), b"new");
        assert!(link.is_symlink());
        assert_eq!(std::fs::read_dir(folder.path()).expect("listed").count(), 2);
    }

    #[test]
    fn what_is_no_file_is_never_replaced() {
        let folder = tempfile::tempdir().expect("temp folder");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("nowhere", &link).expect("linked");
        let text = folder.path().to_str().expect("text").to_owned();
        for (path, expected) in [
            ("/dev/zero", "it is a device"),
            (text.as_str(), "it is a folder"),
            (&format!("{text}/new/"), "it is the name of a folder"),
            ("..", "it is a folder"),
            ("/proc/image", "cannot write"),
            ("/nowhere/at/all/image", "the folder /nowhere/at/all is not there"),
            (link.to_str().expect("text"), "cannot write"),
        ] {
            let error = Place::new(Path::new(path)).expect_err(expected).to_string();
            assert!(error.contains(expected) && error.contains(path), "{error}");
        }
    }

    #[test]
    fn a_full_disk_says_so() {
        let error = failure(Path::new("image"), io::Error::from(ErrorKind::StorageFull)).to_string();
        assert!(error.contains("no space left") && error.contains("image"), "{error}");
    }
}
