//! The image that is stamped: opened once, proved to be whole, and never written to.

use std::fs::{File, Metadata};
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use machine_config::disk::{Partition, SEED_BYTES};
use machine_config::seed::{self, DecodeError, Seed};
use rustix::fs::SeekFrom;

use super::hash::Image;
use crate::image::release::Release;
use crate::inspect::disk::{Disk, DiskError};
use crate::inspect::{self, Depth, InspectError};
use crate::sparse;

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
    file: File,
    seed: Range<u64>,
    bytes: u64,
    /// What tells whether somebody wrote to it since.
    state: [i64; 4],
}

impl Opened {
    /// Opens an image and finds its SEED. Nothing in it is verified but what leads to SEED.
    pub fn open(path: &Path) -> Result<Self, BaseError> {
        let disk = Disk::open(path)?;
        let found = disk.partition(Partition::Seed)?;
        if found.bytes != SEED_BYTES {
            return Err(BaseError::SeedSize { path: path.to_owned(), found: found.bytes });
        }
        let seed = found.offset..found.offset + found.bytes;
        let failed = |source| BaseError::Read { path: path.to_owned(), source };
        let file = disk.file().try_clone().map_err(failed)?;
        let state = file.metadata().map(state).map_err(failed)?;
        let bytes = rustix::fs::seek(&file, SeekFrom::End(0)).map_err(|error| failed(error.into()))?;
        Ok(Self { path: path.to_owned(), file, seed, bytes, state })
    }

    /// As something to hash.
    pub fn image(&self) -> Image<'_> {
        Image { file: &self.file, bytes: self.bytes, seed: self.seed.clone() }
    }

    /// The first `bytes` bytes of it, as something to hash: an image on a larger disk. None when it is shorter, or SEED does not lie in them.
    pub fn first(&self, bytes: u64) -> Option<Image<'_>> {
        (self.seed.end <= bytes && bytes <= self.bytes).then(|| Image { bytes, ..self.image() })
    }

    /// Where SEED is.
    pub fn seed(&self) -> Range<u64> {
        self.seed.clone()
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
        let now = self.file.metadata().map(state).map_err(|source| self.failure(source))?;
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
        let data = sparse::data_ranges(image.file, image.bytes).map_err(|error| opened.failure(error.into()))?;
        let data = data.into_iter().flat_map(|range| sparse::without(range, &image.seed)).collect();
        Ok(Self { opened, release, seed, data })
    }
}
