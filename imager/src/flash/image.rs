//! An image to flash: where its content lies, what it must hash to, whose it is. Everything that can be known before it is read.
//!
//! The map comes from the block map beside it, from what the blocks of a Skerry image mean, or from the holes of the file; what it must hash to from its
//! manifest, the `.sha256` file beside it, or the block map. Compressed images are never unpacked to a disk.

use std::fs::{File, Metadata};
use std::io::{self, BufReader, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use machine_config::PublicKey;
use machine_config::disk::SECTOR_BYTES;

mod beside;
mod error;

pub use beside::{Claim, Of};
pub use error::ImageError;

use super::facts::Kept;
use super::pieces;
use crate::bmap::{BLOCK_BYTES, Bmap};
use crate::format::mapped;
use crate::image::digest::Digest;
use crate::image::window::Window;
use crate::inspect::disk::Disk;
use crate::sparse;
use crate::stamp::manifest::Manifest;

/// How the file holds the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As it is.
    Raw,
    /// As zstd frames.
    Zstd,
    /// As gzip members.
    Gzip,
}

impl Encoding {
    fn of(path: &Path) -> Self {
        match path.extension().and_then(|end| end.to_str()) {
            Some("zst") => Self::Zstd,
            Some("gz") => Self::Gzip,
            Some(_) | None => Self::Raw,
        }
    }
}

/// Where it is known from which blocks must be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Map {
    /// This block map.
    Bmap(PathBuf),
    /// What the blocks of a Skerry image mean.
    Meaning,
    /// The file's holes.
    Holes,
}

/// What blocks that are not mapped stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmapped {
    /// Nothing: a drive may have anything there.
    Nothing,
    /// Perhaps zeros that mean something, such as those in the middle of an allocation table.
    Zeros,
}

impl Map {
    /// What blocks stand for that this map leaves out.
    pub fn unmapped(&self) -> Unmapped {
        match self {
            Self::Bmap(_) | Self::Meaning => Unmapped::Nothing,
            Self::Holes => Unmapped::Zeros,
        }
    }
}

/// Which manifest to believe.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// This one; none: `NAME.manifest.json` beside `NAME.img`, if there is one.
    pub manifest: Option<PathBuf>,
    /// The station that must have signed it; none: whoever did.
    pub station: Option<PublicKey>,
}

/// An image to flash.
#[derive(Debug)]
pub struct Image {
    /// The file, as the caller named it.
    pub path: PathBuf,
    /// The same file, open.
    file: File,
    /// When its content was changed last, as it was when it was opened.
    modified: io::Result<SystemTime>,
    /// The same file and what lies beside it: no drive may be any of them.
    pub kept: Vec<Kept>,
    /// How it holds the image.
    pub encoding: Encoding,
    /// Length of the image.
    pub bytes: u64,
    /// What must be written: ascending and disjoint.
    pub mapped: Vec<Range<u64>>,
    /// What is written: the same, with gaps between that are too small to be worth another write.
    pub written: Vec<Range<u64>>,
    /// Where that is known from.
    pub map: Map,
    /// What it must hash to.
    pub claims: Vec<Claim>,
    /// What each mapped range must hash to, when nothing says so for the whole content.
    pub(super) range_sums: Vec<Digest>,
    /// Data that the file has where the map has none; it must be zeros.
    pub(super) stray: Vec<Range<u64>>,
    /// Its manifest.
    pub manifest: Option<Manifest>,
}

impl Image {
    /// Opens an image and reads what lies beside it.
    ///
    /// # Errors
    /// See [`ImageError`].
    pub fn open(path: &Path, trust: &Trust) -> Result<Self, ImageError> {
        let unreadable = |source| ImageError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(unreadable)?;
        let meta = file.metadata().map_err(unreadable)?;
        if !meta.is_file() {
            return Err(ImageError::NotAFile { path: path.to_owned() });
        }
        let (encoding, bmap) = (Encoding::of(path), beside::bmap(path)?);
        let (manifest, mut claims) = beside::manifest(path, trust)?;
        claims.extend(beside::sha256(path, encoding)?);
        let bytes = match (encoding, &bmap) {
            (Encoding::Raw, _) => meta.len(),
            (Encoding::Zstd | Encoding::Gzip, Some((_, bmap))) => bmap.image_bytes,
            (Encoding::Zstd | Encoding::Gzip, None) => return Err(ImageError::NoBmap { path: path.to_owned() }),
        };
        // What is known of a compressed file says nothing of the map that is laid over its content.
        let whole_known = claims.iter().any(|claim| claim.of == Of::Content);
        let range_sums = match (&bmap, whole_known) {
            (Some((_, bmap)), false) => bmap.ranges.iter().map(|range| range.sha256).collect(),
            (Some(_) | None, _) => Vec::new(),
        };
        let (map, mapped) = match bmap {
            Some((beside, bmap)) => (Map::Bmap(beside), bmap_ranges(&bmap)),
            None => match meaning_map(path) {
                Some(mapped) => (Map::Meaning, mapped),
                None => (Map::Holes, holes_map(&file, bytes).map_err(unreadable)?),
            },
        };
        let stray = match encoding {
            Encoding::Raw => stray(&file, bytes, &mapped).map_err(unreadable)?,
            Encoding::Zstd | Encoding::Gzip => Vec::new(),
        };
        let kept = beside::all(path, trust).iter().filter_map(|path| Kept::of(path)).collect();
        let (path, written) = (path.to_owned(), pieces::closed(&mapped));
        let modified = meta.modified();
        let image =
            Self { path, file, modified, kept, encoding, bytes, mapped, written, map, claims, range_sums, stray, manifest };
        image.check_length()?;
        Ok(image)
    }

    fn check_length(&self) -> Result<(), ImageError> {
        let path = || self.path.clone();
        if self.bytes == 0 || !self.bytes.is_multiple_of(SECTOR_BYTES) {
            return Err(ImageError::NotADisk { path: path(), bytes: self.bytes });
        }
        match &self.manifest {
            Some(manifest) if manifest.image.bytes != self.bytes => {
                Err(ImageError::Length { path: path(), found: self.bytes, expected: manifest.image.bytes, by: "its manifest" })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The device it was stamped for.
    pub fn device_name(&self) -> Option<&str> {
        self.manifest.as_ref().map(|manifest| manifest.device.name.as_str())
    }

    /// How many bytes are written.
    pub fn written_bytes(&self) -> u64 {
        pieces::total(&self.written)
    }

    /// How many ranges the block map has checksums for that are compared; none when something says what the whole hashes to.
    pub fn range_sums_known(&self) -> usize {
        self.range_sums.len()
    }

    /// Whether nobody has written to the file since it was opened, as far as its times and its length tell.
    pub(super) fn is_unchanged(&self) -> bool {
        let now = self.file.metadata();
        let same_length = |meta: &Metadata| self.encoding != Encoding::Raw || meta.len() == self.bytes;
        let same_time = |meta: &Metadata| matches!((meta.modified(), &self.modified), (Ok(now), Ok(then)) if now == *then);
        now.is_ok_and(|meta| same_length(&meta) && same_time(&meta))
    }

    /// The file.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// The content of a compressed image from its beginning.
    pub(super) fn unpack(&self) -> io::Result<Box<dyn Read + Send + '_>> {
        let file = BufReader::with_capacity(1 << 20, self.whole_file()?);
        Ok(match self.encoding {
            Encoding::Raw => Box::new(file),
            Encoding::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(file)?),
            Encoding::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(file)),
        })
    }

    /// The file's own bytes, compressed or not.
    pub(super) fn whole_file(&self) -> io::Result<Window<'_>> {
        Ok(Window::new(&self.file, 0, self.file.metadata()?.len()))
    }
}

fn bmap_ranges(bmap: &Bmap) -> Vec<Range<u64>> {
    bmap.ranges.iter().map(|range| bmap.bytes_of(range)).collect()
}

/// The map of a Skerry image that has none beside it, such as a stamped one; none: it is something else.
fn meaning_map(path: &Path) -> Option<Vec<Range<u64>>> {
    Some(mapped::of(&Disk::open(path).ok()?).ok()?.ranges)
}

fn holes_map(file: &File, bytes: u64) -> io::Result<Vec<Range<u64>>> {
    Ok(sparse::whole_blocks(sparse::data_ranges(file, bytes)?, BLOCK_BYTES, bytes))
}

fn stray(file: &File, bytes: u64, mapped: &[Range<u64>]) -> io::Result<Vec<Range<u64>>> {
    let (data, holes) = (sparse::data_ranges(file, bytes)?, pieces::holes(mapped, bytes));
    let within = |data: &Range<u64>| {
        let data = data.clone();
        holes.iter().map(move |hole| hole.start.max(data.start)..hole.end.min(data.end)).filter(|part| part.start < part.end)
    };
    Ok(data.iter().flat_map(within).collect())
}

#[cfg(test)]
mod tests;
