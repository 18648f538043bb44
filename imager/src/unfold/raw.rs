//! The raw image that a file is unfolded into: without a name, so that nothing is left of it, and without a byte of disk for what is zero.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::error::UnfoldError;
use crate::bmap::BLOCK_BYTES;

const READ_BYTES: u64 = 1 << 20;

/// A raw image on its way.
#[derive(Debug)]
pub(super) struct Raw {
    file: File,
}

impl Raw {
    /// Nothing yet.
    pub(super) fn new() -> Result<Self, UnfoldError> {
        Ok(Self { file: tempfile::tempfile().map_err(UnfoldError::Scratch)? })
    }

    /// What a stream holds, to its end. `path` is where it comes from.
    pub(super) fn of_stream(path: &Path, mut from: impl Read) -> Result<File, UnfoldError> {
        let (raw, mut at, mut part) = (Self::new()?, 0, Vec::new());
        loop {
            part.clear();
            let read = from.by_ref().take(READ_BYTES).read_to_end(&mut part);
            read.map_err(|source| UnfoldError::Read { path: path.to_owned(), source })?;
            if part.is_empty() {
                return raw.finish(at);
            }
            raw.put(at, &part).map_err(UnfoldError::Scratch)?;
            at += part.len() as u64;
        }
    }

    /// Writes what is not zero.
    pub(super) fn put(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let blocks = bytes.chunks(BLOCK_BYTES as usize).zip((offset..).step_by(BLOCK_BYTES as usize));
        let mut blocks = blocks.filter(|(block, _)| block.iter().any(|byte| *byte != 0));
        blocks.try_for_each(|(block, at)| self.file.write_all_at(block, at))
    }

    /// The image of `bytes` bytes.
    pub(super) fn finish(self, bytes: u64) -> Result<File, UnfoldError> {
        self.file.set_len(bytes).map_err(UnfoldError::Scratch)?;
        Ok(self.file)
    }
}
