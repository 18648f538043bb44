//! Why a file of some form cannot be inspected.

use std::io;
use std::path::PathBuf;

use crate::format::{Shape, SourceError};
use crate::inspect::InspectError;
use crate::inspect::disk::DiskError;
use crate::seed_place::SeedPlaceError;
use crate::stamp::ram::RamBaseError;

/// Why a file cannot be inspected.
#[derive(Debug, thiserror::Error)]
pub enum UnfoldError {
    /// It cannot be opened, or no disk image is in it.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The disk image is refused.
    #[error(transparent)]
    Inspect(#[from] Box<InspectError>),
    /// Something boots from it, and SEED is not where it must be.
    #[error("cannot use {}", path.display())]
    Place {
        /// The file.
        path: PathBuf,
        /// Why.
        source: SeedPlaceError,
    },
    /// It runs from RAM and is not whole.
    #[error("cannot use {}", path.display())]
    Ram {
        /// The file.
        path: PathBuf,
        /// Why.
        source: RamBaseError,
    },
    /// An archive of something else.
    #[error("cannot use {}: it is a tar archive, and no netboot archive: no initramfs in the RAM form is in it", path.display())]
    NoInitramfs {
        /// The file.
        path: PathBuf,
    },
    /// A virtual machine's disk that imager did not write.
    #[error("cannot use {}: {reason}", path.display())]
    Qcow2 {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: &'static str,
    },
    /// It ends too early, or is damaged.
    #[error("cannot read {}: it is damaged or cut short; copy it again", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no room for the disk image.
    #[error("cannot unfold the image in {}: TMPDIR names a folder with more room", std::env::temp_dir().display())]
    Scratch(#[source] io::Error),
    /// What it must be cannot be told.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// What it boots is not what belongs to the disk image in it.
    #[error(
        "cannot trust {}: from byte {offset} on it is not the {form} of the disk image in it: it is damaged, or another version of imager made it", path.display()
    )]
    Differs {
        /// The file.
        path: PathBuf,
        /// What it is.
        form: Shape,
        /// Where.
        offset: u64,
    },
}
