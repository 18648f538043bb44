//! Block maps: which blocks of a disk image must be written, with a SHA-256 for each run of them, as bmap-tools reads and writes them (format 2.0).
//!
//! Reading is strict: a map that leaves any doubt about which bytes belong on a disk is refused. It writes to no disk.

mod xml;

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;

use rustix::fs::SeekFrom;

use crate::image::digest::{Digest, Hasher};
use crate::image::window::Window;
use crate::parallel;
use crate::sparse;

/// Bytes in a block of every map this project writes or reads.
pub const BLOCK_BYTES: u64 = 4096;
const READ_BYTES: usize = 1 << 20;

/// The block map of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bmap {
    /// Length of the image. Where it is no multiple of a block, the last block is short.
    pub image_bytes: u64,
    /// Always [`BLOCK_BYTES`].
    pub block_bytes: u64,
    /// What must be written, ascending, without overlap.
    pub ranges: Vec<BmapRange>,
}

/// A run of blocks that must be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BmapRange {
    /// Number of the first block.
    pub first_block: u64,
    /// How many; at least one.
    pub blocks: u64,
    /// Of their bytes, which end where the image ends.
    pub sha256: Digest,
}

/// Why a block map cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BmapError {
    /// It is not the XML of a block map.
    #[error("cannot read the block map: {reason}; make it again with `bmaptool create`, or do without it")]
    Form {
        /// What is wrong.
        reason: String,
    },
    /// Its own checksum does not fit.
    #[error(
        "cannot use the block map: it was changed or damaged (its checksum says {expected}, its content gives {found}); copy it again"
    )]
    Checksum {
        /// As written in it.
        expected: String,
        /// As computed.
        found: String,
    },
    /// Its numbers contradict each other.
    #[error("cannot use the block map: {reason}; it does not describe any image")]
    Contradiction {
        /// What is wrong.
        reason: String,
    },
}

impl Bmap {
    /// The map of a file whose holes are what needs not be written. What is a hole depends on the file system that holds it.
    pub fn from_sparse_file(file: &File) -> io::Result<Self> {
        let bytes = rustix::fs::seek(file, SeekFrom::End(0))?;
        Self::of_ranges(file, bytes, &sparse::whole_blocks(sparse::data_ranges(file, bytes)?, BLOCK_BYTES, bytes))
    }

    /// The map of the first `bytes` bytes of a file with these ranges of it: ascending, whole blocks, no overlap. Ranges that touch stay apart.
    pub fn of_ranges(file: &File, bytes: u64, ranges: &[Range<u64>]) -> io::Result<Self> {
        let ranges = parallel::map(ranges, |range| {
            let length = range.end.min(bytes) - range.start;
            let sha256 = digest(Window::new(file, range.start, length), length)?;
            let blocks = length.div_ceil(BLOCK_BYTES);
            Ok::<_, io::Error>(BmapRange { first_block: range.start / BLOCK_BYTES, blocks, sha256 })
        })?;
        Ok(Self { image_bytes: bytes, block_bytes: BLOCK_BYTES, ranges })
    }

    /// The bytes of a range: from where to where in the image.
    pub fn bytes_of(&self, range: &BmapRange) -> Range<u64> {
        let start = range.first_block * self.block_bytes;
        start..(start + range.blocks * self.block_bytes).min(self.image_bytes)
    }

    /// How many bytes must be written.
    pub fn mapped_bytes(&self) -> u64 {
        self.ranges.iter().map(|range| self.bytes_of(range)).map(|bytes| bytes.end - bytes.start).sum()
    }

    /// The text of the `.bmap` file.
    pub fn to_xml(&self) -> String {
        xml::write(self)
    }

    /// Reads the text of a `.bmap` file.
    pub fn parse(text: &str) -> Result<Self, BmapError> {
        xml::read(text)
    }

    /// Blocks of the image, written or not.
    fn blocks(&self) -> u64 {
        self.image_bytes.div_ceil(self.block_bytes)
    }

    fn mapped_blocks(&self) -> u64 {
        self.ranges.iter().map(|range| range.blocks).sum()
    }
}

fn digest(mut window: Window<'_>, bytes: u64) -> io::Result<Digest> {
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; READ_BYTES.min(usize::try_from(bytes).unwrap_or(READ_BYTES))];
    let mut left = bytes;
    while left > 0 {
        let count = window.read(&mut buffer)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        hasher.update(&buffer[..count]);
        left -= count as u64;
    }
    Ok(hasher.finish())
}

#[cfg(test)]
mod tests;
