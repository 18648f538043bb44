//! Where a file has data, and block ranges made of byte ranges. Reads nothing: whether data is all zeros is not its business.

use std::fs::File;
use std::ops::Range;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

/// Where a file of `bytes` bytes has data. A file system that knows no holes has data everywhere.
pub fn data_ranges(file: &File, bytes: u64) -> rustix::io::Result<Vec<Range<u64>>> {
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < bytes {
        let start = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(Errno::NXIO) => break,
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(std::iter::once(0..bytes).collect()),
            Err(other) => return Err(other),
        };
        let end = rustix::fs::seek(file, SeekFrom::Hole(start))?;
        ranges.push(start..end.min(bytes));
        at = end;
    }
    Ok(ranges)
}

/// Byte ranges widened to whole blocks of `block` bytes, sorted, those that touch or overlap made one. The last block may reach past `bytes`, the
/// length of the file, and is cut there.
pub fn whole_blocks(mut ranges: Vec<Range<u64>>, block: u64, bytes: u64) -> Vec<Range<u64>> {
    ranges.retain(|range| range.start < range.end);
    ranges.sort_by_key(|range| range.start);
    let mut merged: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        let range = range.start / block * block..range.end.next_multiple_of(block).min(bytes);
        match merged.last_mut().filter(|last| range.start <= last.end) {
            Some(last) => last.end = last.end.max(range.end),
            None => merged.push(range),
        }
    }
    merged
}

/// What is left of a range outside `hole`.
pub fn without(range: Range<u64>, hole: &Range<u64>) -> impl Iterator<Item = Range<u64>> + use<> {
    let before = range.start..range.end.min(hole.start);
    let after = range.start.max(hole.end)..range.end;
    [before, after].into_iter().filter(|range| !range.is_empty())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn what_is_cut_out_is_in_no_range() {
        for (range, expected) in [
            (0..10, "[0..10]"),
            (0..25, "[0..20]"),
            (0..100, "[0..20, 30..100]"),
            (22..28, "[]"),
            (25..40, "[30..40]"),
            (30..40, "[30..40]"),
        ] {
            let left: Vec<_> = without(range.clone(), &(20..30)).collect();
            assert_eq!(format!("{left:?}"), expected, "{range:?}");
        }
    }

    #[test]
    fn holes_are_found_or_taken_for_data() {
        let file = tempfile::tempfile().expect("temp file");
        file.set_len(1 << 20).expect("sized");
        file.write_all_at(&[1; 4096], 65536).expect("written");
        let ranges = data_ranges(&file, 1 << 20).expect("asked");
        assert!(ranges.iter().any(|range| range.contains(&65536)), "{ranges:?}");
        assert!(ranges.iter().all(|range| range.end <= 1 << 20));
    }

    #[test]
    #[expect(clippy::single_range_in_vec_init, reason = "a list of ranges is what is meant")]
    fn ranges_become_whole_blocks_and_grow_together() {
        for (ranges, expected) in [
            (vec![], "[]"),
            (vec![5..5], "[]"),
            (vec![1..2], "[0..10]"),
            (vec![30..31, 1..2], "[0..10, 30..40]"),
            (vec![1..11, 15..16], "[0..20]"),
            (vec![1..10, 10..11], "[0..20]"),
            (vec![0..50, 5..6], "[0..50]"),
            (vec![91..93], "[90..95]"),
        ] {
            assert_eq!(format!("{:?}", whole_blocks(ranges.clone(), 10, 95)), expected, "{ranges:?}");
        }
    }
}
