//! Whether a disk without any known mark is blank: what is looked at of it is all zero, or all 0xff as erased flash reads.
//!
//! Samples cannot prove that a disk is empty. They are dense where file systems, volume managers and databases begin, and even over the rest; what
//! shows only elsewhere is not seen.

use std::io;

use super::facts::Edges;
use crate::disk::gpt::ReadAt;

/// Bytes of a sample.
const SAMPLE_BYTES: usize = 64 << 10;

/// Samples with even spaces between them.
const SAMPLES: u64 = 64;

/// Samples begin where blocks of most formats do.
const ALIGNMENT: u64 = 4096;

/// The first place found on a disk of this length that holds data.
pub(super) fn first_data(device: &impl ReadAt, bytes: u64, edges: &Edges) -> io::Result<Option<u64>> {
    let tail_at = bytes - edges.tail.len() as u64;
    if let Some(at) = data_in(&edges.head).or_else(|| Some(tail_at + data_in(&edges.tail)?)) {
        return Ok(Some(at));
    }
    let mut sample = vec![0; SAMPLE_BYTES];
    for place in places(edges.head.len() as u64, tail_at) {
        device.read_at(&mut sample, place)?;
        if let Some(at) = data_in(&sample) {
            return Ok(Some(place + at));
        }
    }
    Ok(None)
}

/// Where samples lie between these two places, in order.
fn places(from: u64, to: u64) -> Vec<u64> {
    let doubling = std::iter::successors(Some(from), |at| at.checked_mul(2)).take_while(|at| *at > 0 && *at < to);
    let even = (1..=SAMPLES).map(|nth| (to / (SAMPLES + 1) * nth) & !(ALIGNMENT - 1));
    let fits = |at: &u64| *at >= from && at.checked_add(SAMPLE_BYTES as u64).is_some_and(|end| end <= to);
    let mut places: Vec<u64> = doubling.chain(even).filter(fits).collect();
    places.sort_unstable();
    places.dedup();
    places
}

/// The first byte that is not like those before it, or is no filling at all.
fn data_in(bytes: &[u8]) -> Option<u64> {
    let filling = if bytes.first() == Some(&0xff) { 0xff } else { 0 };
    bytes.iter().position(|byte| *byte != filling).map(|at| at as u64)
}

#[cfg(test)]
mod tests {
    use super::super::content::HEAD_BYTES;
    use super::*;
    use crate::disk::gpt::tests::MemoryDisk;

    const MIB: u64 = 1 << 20;

    /// A disk of this length with one sector of data at each of these places.
    fn disk(bytes: u64, data: &[u64]) -> MemoryDisk {
        let mut disk = MemoryDisk::blank(bytes / 512);
        for at in data {
            disk.put(at / 512, &[[0; 7].as_slice(), &[9; 505]].concat());
        }
        disk
    }

    fn found(bytes: u64, data: &[u64]) -> Option<u64> {
        let disk = disk(bytes, data);
        let edges = Edges::read(&disk, bytes).expect("in memory");
        first_data(&disk, bytes, &edges).expect("in memory")
    }

    #[test]
    fn data_without_a_mark_is_found_at_both_ends_and_between() {
        for (bytes, data, expected) in [
            (500 * MIB, &[][..], None),
            (500 * MIB, &[0], Some(7)),
            (500 * MIB, &[MIB - 512], Some(MIB - 505)),
            (500 * MIB, &[499 * MIB], Some(499 * MIB + 7)),
            (500 * MIB, &[500 * MIB - 512], Some(500 * MIB - 505)),
            (500 * MIB, &[16 * MIB + 4096], Some(16 * MIB + 4103)),
            (500 * MIB, &[300 * MIB, 200 * MIB, 200 * MIB + 512], None),
            (64 * MIB, &[32 * MIB], Some(32 * MIB + 7)),
            (MIB / 2, &[MIB / 4], Some(MIB / 4 + 7)),
            (512, &[0], Some(7)),
            (2 * MIB, &[], None),
        ] {
            assert_eq!(found(bytes, data), expected, "{bytes} {data:?}");
        }
    }

    #[test]
    fn a_file_that_fills_a_part_of_the_disk_is_found_wherever_it_lies() {
        let bytes = 1024 * MIB;
        for start in (1..1000).step_by(37) {
            let data: Vec<u64> = (start * MIB..(start + 17) * MIB).step_by(SAMPLE_BYTES).collect();
            assert!(found(bytes, &data).is_some(), "from {start} MiB on");
        }
    }

    #[test]
    fn erased_flash_and_zeros_hold_nothing() {
        let bytes = 4 * MIB;
        let mut erased = MemoryDisk::blank(bytes / 512);
        erased.put(0, &vec![0xff; 4 << 20]);
        let edges = Edges::read(&erased, bytes).expect("in memory");
        assert_eq!(first_data(&erased, bytes, &edges).expect("in memory"), None);
        erased.put(MIB / 512 - 1, &[0; 512]);
        let edges = Edges::read(&erased, bytes).expect("in memory");
        assert_eq!(first_data(&erased, bytes, &edges).expect("in memory"), Some(MIB - 512), "a hole in erased flash was written");
        assert_eq!((data_in(&[]), data_in(&[7]), data_in(&[0xff, 0])), (None, Some(0), Some(1)));
    }

    #[test]
    fn samples_are_dense_where_formats_begin_and_lie_inside() {
        let (from, to) = (HEAD_BYTES as u64, 500_107_862_016);
        let places = places(from, to);
        assert!((80..90).contains(&places.len()), "{}", places.len());
        assert_eq!(places[..4], [MIB, 2 * MIB, 4 * MIB, 8 * MIB]);
        assert!(places.windows(2).all(|pair| pair[1] - pair[0] <= to / 64 && pair[0] < pair[1]));
        assert!(places.iter().all(|at| at.is_multiple_of(ALIGNMENT) && *at + SAMPLE_BYTES as u64 <= to));
        assert!(to - places.last().expect("some") <= to / 64);
    }
}
