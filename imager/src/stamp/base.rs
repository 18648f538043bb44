//! The image that is stamped: opened once, proved to be whole, and never written to.

use std::fs::{File, Metadata};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use machine_config::seed::{self, DecodeError, Seed};

use super::hash::Image;
use super::ram::{self, RamBaseError};
use crate::image::release::Release;
use crate::inspect::disk::{self, Disk, DiskError};
use crate::inspect::{self, Depth, InspectError};
use crate::seed_place::{self, Form, Place, SeedPlaceError};
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
    /// It has no SEED, or nobody finds it.
    #[error("cannot use {}", path.display())]
    NoSeed {
        /// The image.
        path: PathBuf,
        /// Why.
        source: SeedPlaceError,
    },
    /// It runs from RAM and is not whole.
    #[error("cannot use {}", path.display())]
    Ram {
        /// The image.
        path: PathBuf,
        /// Why.
        source: RamBaseError,
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
    place: Place,
    bytes: u64,
    /// What tells whether somebody wrote to it since.
    state: [i64; 4],
}

impl Opened {
    /// Opens an image of any form that has a SEED, and finds it. Nothing in it is verified but what leads to SEED.
    pub fn open(path: &Path) -> Result<Self, BaseError> {
        let (file, bytes) = disk::open(path)?;
        let failed = |source| BaseError::Read { path: path.to_owned(), source };
        let state = file.metadata().map(state).map_err(failed)?;
        let place = match (seed_place::place(&file), Disk::open(path)) {
            // Both tables of a disk must be whole, and the file as long as they say.
            (Ok(Place { form: Form::Disk, .. }) | Err(SeedPlaceError::Table { .. }), Err(error)) => return Err(error.into()),
            (Ok(place), Ok(_) | Err(_)) => place,
            (Err(source), Ok(_) | Err(_)) => return Err(BaseError::NoSeed { path: path.to_owned(), source }),
        };
        Ok(Self { path: path.to_owned(), file, place, bytes, state })
    }

    /// The file's name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its form.
    pub fn form(&self) -> Form {
        self.place.form
    }

    /// As something to hash.
    pub fn image(&self) -> Image<'_> {
        Image { file: &self.file, bytes: self.bytes, seed: self.seed() }
    }

    /// The first `bytes` bytes of it, as something to hash: an image on a larger disk. None when it is shorter, or SEED does not lie in them.
    pub fn first(&self, bytes: u64) -> Option<Image<'_>> {
        (self.seed().end <= bytes && bytes <= self.bytes).then(|| Image { bytes, ..self.image() })
    }

    /// Whether this is what an image of `bytes` bytes was written to, and not the image's own file: a block device, or more than the image.
    pub fn is_disk(&self, bytes: u64) -> bool {
        self.bytes > bytes || self.file.metadata().is_ok_and(|meta| meta.file_type().is_block_device())
    }

    /// Where SEED is.
    pub fn seed(&self) -> Range<u64> {
        let seed = self.place.seed;
        seed.offset..seed.offset + seed.bytes
    }

    /// What an image stamped from it is called at its end.
    pub fn suffix(&self) -> &'static str {
        match self.place.form {
            Form::Disk => "img",
            Form::Disc => "iso",
            Form::Program => "efi",
            Form::Initramfs => "initramfs",
        }
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
    /// Opens the image at `path` and verifies that it is whole: a disk's runtime image is the one its UKI names, the blocks in the RAM form are those of
    /// its index.
    pub fn open(path: &Path) -> Result<Self, BaseError> {
        let opened = Opened::open(path)?;
        let release = match opened.place.initramfs {
            None => inspect::inspect(path, Depth::Overview).map_err(Box::new)?.release,
            Some(initramfs) => {
                ram::check(&opened.file, initramfs).map_err(|source| BaseError::Ram { path: path.to_owned(), source })?
            }
        };
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
