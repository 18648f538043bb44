//! Why an image is not flashed at all.

use std::io;
use std::path::PathBuf;

use crate::bmap::BmapError;
use crate::components::digest::DigestError;
use crate::stamp::manifest::ManifestError;

/// Why an image cannot be flashed.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// It, or a file beside it, cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A device or folder.
    #[error("cannot flash {}: it is no file; name the image first, and drives with --to", path.display())]
    NotAFile {
        /// What was named.
        path: PathBuf,
    },
    /// Nothing a disk can hold.
    #[error("cannot flash {}: {bytes} bytes are no disk image; a disk has whole sectors of 512 bytes", path.display())]
    NotADisk {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: u64,
    },
    /// A compressed image whose map is missing.
    #[error(
        "cannot flash {}: a compressed image needs its block map beside it ({}.bmap), which tells what to write and how much that is",
        path.display(), path.display()
    )]
    NoBmap {
        /// The image.
        path: PathBuf,
    },
    /// A block map that cannot be used.
    #[error("cannot use {}", path.display())]
    Bmap {
        /// The block map.
        path: PathBuf,
        /// Why.
        source: BmapError,
    },
    /// Two lengths.
    #[error("cannot flash {}: it has {found} bytes, {by} says {expected}; copy it again, or use what belongs to it", path.display())]
    Length {
        /// The image.
        path: PathBuf,
        /// As found.
        found: u64,
        /// As it should be.
        expected: u64,
        /// Who says so.
        by: &'static str,
    },
    /// A manifest that is not believed.
    #[error("cannot use {}", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// Why.
        source: ManifestError,
    },
    /// Nothing that a station could have signed.
    #[error(
        "cannot flash {}: --stamped-by asks for a manifest signed by that station, and there is none ({}); get it from the station, or name it with --manifest",
        image.display(), path.display()
    )]
    NoManifest {
        /// The image.
        image: PathBuf,
        /// Where its manifest should be.
        path: PathBuf,
    },
    /// A checksum file without a checksum.
    #[error("cannot use {}: it has no line `SHA-256  {name}`; make it again with `sha256sum {name}`", path.display())]
    NoSum {
        /// The checksum file.
        path: PathBuf,
        /// The image's name.
        name: String,
    },
    /// A checksum that is none.
    #[error("cannot use {}", path.display())]
    Sum {
        /// The checksum file.
        path: PathBuf,
        /// Why.
        source: DigestError,
    },
}
