//! A machine's image without a copy of it: the base's file with the machine's SEED laid over it while it is read. Neither file nor SEED is changed.

use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use hyper::body::Bytes;

use crate::stamp::base::Opened;
use crate::stamp::press::Press;

/// An image as one machine gets it.
#[derive(Debug, Clone)]
pub struct Patched {
    press: Arc<Press>,
    seed: Arc<[u8]>,
}

impl Patched {
    /// The press's base with this content in SEED, which is exactly as large.
    pub fn new(press: Arc<Press>, seed: Vec<u8>) -> Self {
        let place = press.base().opened.seed();
        debug_assert_eq!(seed.len() as u64, place.end - place.start, "SEED is replaced as a whole");
        Self { press, seed: seed.into() }
    }

    fn opened(&self) -> &Opened {
        &self.press.base().opened
    }

    /// Its length.
    pub fn bytes(&self) -> u64 {
        self.opened().image().bytes
    }

    /// Fills the buffer from an offset; everything asked for must be there.
    ///
    /// # Errors
    /// The base cannot be read, or has become shorter.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let image = self.opened().image();
        image.file.read_exact_at(buffer, offset)?;
        overlay(buffer, offset, &self.seed, image.seed.start);
        Ok(())
    }

    /// So many bytes from an offset of a base that nobody changed since it was opened; everything asked for must be there.
    ///
    /// # Errors
    /// As [`Patched::read_at`], and when the base was changed: a machine must not get half of one and half of another.
    pub fn chunk(&self, offset: u64, count: u64) -> io::Result<Bytes> {
        let mut bytes = vec![0; usize::try_from(count).map_err(io::Error::other)?];
        self.read_at(&mut bytes, offset)?;
        self.opened().check_unchanged().map_err(io::Error::other)?;
        Ok(bytes.into())
    }
}

/// Lays `patch`, which belongs at `place` in a file, over a buffer with what stands at `offset` there.
fn overlay(buffer: &mut [u8], offset: u64, patch: &[u8], place: u64) {
    let both = shared(offset..offset + buffer.len() as u64, place..place + patch.len() as u64);
    if both.is_empty() {
        return;
    }
    let within = |start: u64| {
        let at = |position: u64| usize::try_from(position - start).expect("within a buffer");
        at(both.start)..at(both.end)
    };
    buffer[within(offset)].copy_from_slice(&patch[within(place)]);
}

fn shared(one: Range<u64>, other: Range<u64>) -> Range<u64> {
    one.start.max(other.start)..one.end.min(other.end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_window_shows_the_patched_file(offset in 0..100usize, length in 0..100usize, place in 0..100usize, patch in 0..60usize) {
            let mut file: Vec<u8> = (0..200).collect();
            let mut buffer = file[offset..offset + length].to_vec();
            let patch = vec![255; patch];
            overlay(&mut buffer, offset as u64, &patch, place as u64);
            file[place..place + patch.len()].copy_from_slice(&patch);
            prop_assert_eq!(&buffer, &file[offset..offset + length]);
        }
    }
}
