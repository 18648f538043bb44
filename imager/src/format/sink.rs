//! Writes a stream to an output, sparse, and takes its SHA-256 on the way.

use std::io::{self, Write};

use crate::image::digest::{Digest, Hasher};
use crate::image::output::{Output, OutputError};

/// Written at once; a multiple of the block in which holes are found.
const CHUNK_BYTES: usize = 1 << 20;

/// A stream into an output.
pub(super) struct Sink<'a> {
    output: &'a Output,
    hasher: Hasher,
    /// Written so far.
    at: u64,
    /// Not written yet; less than a chunk.
    rest: Vec<u8>,
    failed: Option<OutputError>,
}

impl<'a> Sink<'a> {
    /// A stream into an output to which nothing was written.
    pub(super) fn new(output: &'a Output) -> Self {
        Self { output, hasher: Hasher::new(), at: 0, rest: Vec::with_capacity(CHUNK_BYTES), failed: None }
    }

    fn put(&mut self) -> io::Result<()> {
        if let Err(error) = self.output.write_at(self.at, &self.rest) {
            self.failed = Some(error);
            return Err(io::Error::other("the output cannot be written"));
        }
        self.hasher.update(&self.rest);
        self.at += self.rest.len() as u64;
        self.rest.clear();
        Ok(())
    }

    /// What went wrong with the output itself, if that made the stream fail.
    pub(super) fn failure(&mut self) -> Option<OutputError> {
        self.failed.take()
    }

    /// Writes what is left; gives length and SHA-256.
    pub(super) fn finish(mut self) -> Result<(u64, Digest), OutputError> {
        if let Err(error) = self.put() {
            return Err(self.failed.unwrap_or_else(|| self.output.failure(error)));
        }
        self.output.set_len(self.at)?;
        Ok((self.at, self.hasher.finish()))
    }
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(CHUNK_BYTES - self.rest.len());
        self.rest.extend_from_slice(&bytes[..count]);
        if self.rest.len() == CHUNK_BYTES {
            self.put()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
