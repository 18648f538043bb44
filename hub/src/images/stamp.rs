//! A file with other bytes in one place. What is read from it is what a copy with those bytes would hold.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

/// The file, and what stands in it instead.
#[derive(Debug)]
pub(super) struct Patched {
    pub(super) file: File,
    /// Where the patch begins.
    pub(super) at: u64,
    /// The patch; empty: the file as it is.
    pub(super) patch: Vec<u8>,
}

impl Patched {
    /// These bytes of it.
    pub(super) fn read(&self, range: Range<u64>) -> io::Result<Vec<u8>> {
        let length = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, range.start)?;
        overlay(&mut bytes, range.start, &self.patch, self.at);
        Ok(bytes)
    }
}

/// Puts the part of `patch` that lies in `bytes` into it; both begin somewhere in the same file.
fn overlay(bytes: &mut [u8], at: u64, patch: &[u8], patch_at: u64) {
    let start = at.max(patch_at);
    let end = (at + bytes.len() as u64).min(patch_at + patch.len() as u64);
    if start < end {
        let within = |from: u64| (start - from) as usize..(end - from) as usize;
        bytes[within(at)].copy_from_slice(&patch[within(patch_at)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn every_piece_is_the_piece_of_the_patched_whole(
            whole in proptest::collection::vec(0u8..100, 1..200), patch in proptest::collection::vec(100u8.., 0..100),
            patch_at in 0usize..200, from in 0usize..200, length in 0usize..200,
        ) {
            let mut expected = whole.clone();
            for (at, byte) in patch.iter().enumerate() {
                if let Some(place) = expected.get_mut(patch_at + at) {
                    *place = *byte;
                }
            }
            let (from, to) = (from.min(whole.len()), (from + length).min(whole.len()));
            let mut piece = whole[from..to.max(from)].to_vec();
            overlay(&mut piece, from as u64, &patch, patch_at as u64);
            proptest::prop_assert_eq!(&piece, &expected[from..to.max(from)]);
        }
    }
}
