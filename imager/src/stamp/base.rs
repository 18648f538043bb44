//! The image that is stamped: opened once, proved to be whole, and never written to.

use std::fs::{File, Metadata};
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use machine_config::disk::{Partition, SEED_BYTES};
use machine_config::seed::{self, DecodeError, Seed};
use rustix::fs::SeekFrom;
use rustix::io::Errno;

use super::hash::Image;
use crate::image::release::Release;
use crate::inspect::disk::{Disk, DiskError, Found};
use crate::inspect::{self, Depth, InspectError};

/// Why an image cannot be stamped or looked at.
#[derive(Debug, thiserror::Error)]
pub enum BaseError {
    /// It is not whole.
    #[error(transparent)]
    Inspect(#[from] Box<InspectError>),
    /// It is no image.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Its SEED is of another size.
    #[error("cannot use {}: its SEED has {found} bytes instead of {SEED_BYTES}; build the image again", path.display())]
    SeedSize {
        /// The image.
        path: PathBuf,
        /// As found.
        found: u64,
    },
    /// Its SEED is damaged.
    #[error("cannot use {} as the base: {source}", path.display())]
    Seed {
        /// The image.
        path: PathBuf,
        /// Why.
        source: DecodeError,
    },
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The image.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody wrote to it.
    #[error("cannot go on with {}: it was changed meanwhile; stamp again when it is complete", path.display())]
    Changed {
        /// The image.
        path: PathBuf,
    },
}

/// An image with SEED in its place, opened for reading.
#[derive(Debug)]
pub struct Opened {
    path: PathBuf,
    disk: Disk,
    seed: Found,
    bytes: u64,
    /// What tells whether somebody wrote to it since.
    state: [i64; 4],
}

impl Opened {
    /// Opens an image and finds its SEED. Nothing in it is verified but the partition table.
    pub fn open(path: &Path) -> Result<Self, BaseError> {
        let disk = Disk::open(path)?;
        let seed = disk.partition(Partition::Seed)?.clone();
        if seed.bytes != SEED_BYTES {
            return Err(BaseError::SeedSize { path: path.to_owned(), found: seed.bytes });
        }
        let failed = |source| BaseError::Read { path: path.to_owned(), source };
        let state = disk.file().metadata().map(state).map_err(failed)?;
        let bytes = rustix::fs::seek(disk.file(), SeekFrom::End(0)).map_err(|error| failed(error.into()))?;
        Ok(Self { path: path.to_owned(), disk, seed, bytes, state })
    }

    /// As something to hash.
    pub fn image(&self) -> Image<'_> {
        Image { file: self.disk.file(), bytes: self.bytes, seed: &self.seed }
    }

    /// What is in SEED.
    pub fn read_seed(&self) -> Result<Vec<u8>, BaseError> {
        self.image().read_seed().map_err(|source| self.failure(source))
    }

    /// The error of this image for an I/O error.
    pub fn failure(&self, source: io::Error) -> BaseError {
        BaseError::Read { path: self.path.clone(), source }
    }

    /// Whether it is still what was opened.
    pub fn check_unchanged(&self) -> Result<(), BaseError> {
        let now = self.disk.file().metadata().map(state).map_err(|source| self.failure(source))?;
        if now == self.state { Ok(()) } else { Err(BaseError::Changed { path: self.path.clone() }) }
    }
}

fn state(meta: Metadata) -> [i64; 4] {
    [meta.mtime(), meta.mtime_nsec(), meta.size().cast_signed(), meta.ino().cast_signed()]
}

/// The base of a stamp run: an image proved to be whole.
#[derive(Debug)]
pub struct Base {
    /// The file.
    pub opened: Opened,
    /// What it is.
    pub release: Release,
    /// What its SEED holds; none: blank.
    pub seed: Option<Seed>,
    /// Where in the file something is, less SEED; the rest is holes.
    pub data: Vec<Range<u64>>,
}

impl Base {
    /// Opens the image at `path` and verifies that its runtime image is the one its UKI names.
    pub fn open(path: &Path) -> Result<Self, BaseError> {
        let opened = Opened::open(path)?;
        let release = inspect::inspect(path, Depth::Overview).map_err(Box::new)?.release;
        let seed = match seed::decode(&opened.read_seed()?) {
            Ok(decoded) => Some(decoded.seed),
            Err(DecodeError::Blank) => None,
            Err(source) => return Err(BaseError::Seed { path: path.to_owned(), source }),
        };
        let image = opened.image();
        let data = data_ranges(image.file, image.bytes).map_err(|error| opened.failure(error.into()))?;
        let hole = image.seed.offset..image.seed.offset + image.seed.bytes;
        let data = data.into_iter().flat_map(|range| without(range, &hole)).collect();
        Ok(Self { opened, release, seed, data })
    }
}

/// Where a file has data. A file system that knows no holes has data everywhere.
fn data_ranges(file: &File, bytes: u64) -> rustix::io::Result<Vec<Range<u64>>> {
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < bytes {
        let start = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(Errno::NXIO) => break,
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(std::iter::once(0..bytes).collect()),
            Err(other) => return Err(other),
        };
        let end = rustix::fs::seek(file, SeekFrom::Hole(start))?;
        ranges.push(start..end.min(bytes));
        at = end;
    }
    Ok(ranges)
}

/// What is left of a range outside `hole`.
fn without(range: Range<u64>, hole: &Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let before = range.start..range.end.min(hole.start);
    let after = range.start.max(hole.end)..range.end;
    [before, after].into_iter().filter(|range| !range.is_empty())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn seed_is_cut_out_of_what_is_copied() {
        for (range, expected) in [
            (0..10, "[0..10]"),
            (0..25, "[0..20]"),
            (0..100, "[0..20, 30..100]"),
            (22..28, "[]"),
            (25..40, "[30..40]"),
            (30..40, "[30..40]"),
        ] {
            let left: Vec<_> = without(range.clone(), &(20..30)).collect();
            assert_eq!(format!("{left:?}"), expected, "{range:?}");
        }
    }

    #[test]
    fn holes_are_found_or_taken_for_data() {
        let file = tempfile::tempfile().expect("temp file");
        file.set_len(1 << 20).expect("sized");
        file.write_all_at(&[1; 4096], 65536).expect("written");
        let ranges = data_ranges(&file, 1 << 20).expect("asked");
        assert!(ranges.iter().any(|range| range.contains(&65536)), "{ranges:?}");
        assert!(ranges.iter().all(|range| range.end <= 1 << 20));
    }
}
