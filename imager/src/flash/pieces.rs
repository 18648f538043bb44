//! Cuts the mapped ranges of an image into the pieces that are read, written, hashed and read back one by one. Pure arithmetic.

use std::ops::Range;

use super::buffer::BUFFER_BYTES;

/// The head of a disk: partition table and whatever boot code stands before the first partition. It is written last, so that a drive pulled before
/// is no half of a system.
pub const HEAD_BYTES: u64 = 1 << 20;

/// A gap of this size or less is written with its zeros: that is quicker than one more write.
pub const GAP_BYTES: u64 = 64 << 10;

/// The pieces of ascending, disjoint ranges: none larger than a buffer, none across a multiple of a buffer's size (drives like aligned writes), none
/// across the end of the head.
pub fn pieces(mapped: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut pieces = Vec::new();
    for range in mapped {
        let mut at = range.start;
        while at < range.end {
            let end = next_border(at).min(range.end);
            pieces.push(at..end);
            at = end;
        }
    }
    pieces
}

fn next_border(at: u64) -> u64 {
    match at < HEAD_BYTES {
        true => HEAD_BYTES,
        false => (at + 1).next_multiple_of(BUFFER_BYTES as u64),
    }
}

/// The ranges with small gaps closed.
pub fn closed(mapped: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut closed: Vec<Range<u64>> = Vec::new();
    for range in mapped {
        match closed.last_mut().filter(|last| range.start - last.end <= GAP_BYTES) {
            Some(last) => last.end = range.end,
            None => closed.push(range.clone()),
        }
    }
    closed
}

/// What ascending, disjoint ranges leave out of `0..bytes`.
pub fn holes(mapped: &[Range<u64>], bytes: u64) -> Vec<Range<u64>> {
    let ends = std::iter::once(0).chain(mapped.iter().map(|range| range.end));
    let starts = mapped.iter().map(|range| range.start).chain(std::iter::once(bytes));
    ends.zip(starts).map(|(start, end)| start..end).filter(|hole| !hole.is_empty()).collect()
}

/// How many bytes ranges have in all.
pub fn total(ranges: &[Range<u64>]) -> u64 {
    ranges.iter().map(|range| range.end - range.start).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pieces_end_at_the_head_and_at_multiples_of_a_buffer() {
        const MIB: u64 = 1 << 20;
        let cut = pieces(&[0..9 * MIB, 10 * MIB..10 * MIB + 4096]);
        assert_eq!(cut, [0..MIB, MIB..4 * MIB, 4 * MIB..8 * MIB, 8 * MIB..9 * MIB, 10 * MIB..10 * MIB + 4096]);
    }

    #[test]
    fn small_gaps_are_closed() {
        let mapped = [0..4096, 8192..12288, 12288 + GAP_BYTES..100_000_000, 200_000_000..200_000_512];
        assert_eq!(closed(&mapped), [0..100_000_000, 200_000_000..200_000_512]);
        assert_eq!(closed(&[]), []);
    }

    proptest! {
        #[test]
        fn pieces_and_holes_cover_everything_once(cuts in proptest::collection::btree_set(1u64..6000, 0..12)) {
            let cuts: Vec<u64> = cuts.into_iter().map(|block| block * 4096).collect();
            let mapped: Vec<_> = cuts.chunks_exact(2).map(|pair| pair[0]..pair[1]).collect();
            let bytes = 6000 * 4096;
            let mut all = [pieces(&mapped), holes(&mapped, bytes)].concat();
            all.sort_by_key(|range| range.start);
            let mut at = 0;
            for range in all {
                prop_assert_eq!(range.start, at);
                prop_assert!(range.start < range.end);
                at = range.end;
            }
            prop_assert_eq!(at, bytes);
            prop_assert!(pieces(&mapped).iter().all(|piece| piece.end - piece.start <= BUFFER_BYTES as u64));
        }
    }
}
