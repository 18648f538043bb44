//! What of a drive must become zeros besides the image's own blocks, and why. Pure arithmetic.
//!
//! Where nothing but the file's holes tells what an image has, they are not all free space: zeros in the middle of a FAT or a compressed file system are
//! holes too, and must read as zeros. What lies beyond the image means nothing to the new system, except where firmware and other systems look for
//! signatures: the end of the drive (the second partition table, RAID and ZFS labels) and both ends of the partitions that were there before (file
//! systems, LVM, RAID, encryption).

use std::fmt;
use std::ops::Range;

use serde::Serialize;

use super::image::Unmapped;
use super::pieces::{HEAD_BYTES, holes};
use crate::bmap::BLOCK_BYTES;
use crate::sparse;

/// Signatures lie within this much of either end of a disk or partition.
pub const SIGNATURE_BYTES: u64 = 1 << 20;

/// Less than this is not discarded: drives do that in larger steps of their own.
const FORGET_BYTES: u64 = 1 << 20;

/// Why a range is cleared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// The image has zeros there.
    Hole,
    /// It is the end of the drive: an older partition table's second copy, RAID or ZFS labels.
    End,
    /// An older partition began or ended there: file system, LVM, RAID, encryption.
    OldPartition,
    /// It means nothing; the drive may forget what is there.
    Slack,
    /// It lies beyond the image and means nothing either.
    Beyond,
}

/// What is done to a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// The drive is told that nobody needs it; a drive that does not care is left alone.
    Forget,
    /// It reads as zeros afterwards.
    Zero,
}

impl Why {
    /// What this reason asks for.
    pub fn how(self) -> How {
        match self {
            Self::Hole | Self::End | Self::OldPartition => How::Zero,
            Self::Slack | Self::Beyond => How::Forget,
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hole => "zeros of the image",
            Self::End => "older labels at the end of the drive",
            Self::OldPartition => "signatures of older partitions",
            Self::Slack => "free space of the image",
            Self::Beyond => "space beyond the image",
        })
    }
}

/// A range to clear.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Clear {
    /// Where.
    pub range: Range<u64>,
    /// Why.
    pub why: Why,
}

/// What is to be cleared on a drive of `drive` bytes with `old` partitions for an image of `image` bytes, in this order: first what the drive may
/// forget, which may include what must be zeros afterwards.
pub fn clears(image: u64, written: &[Range<u64>], unmapped: Unmapped, drive: u64, old: &[Range<u64>]) -> Vec<Clear> {
    let (slack, zeros) = match unmapped {
        Unmapped::Nothing => (worth_forgetting(holes(written, image)), Vec::new()),
        Unmapped::Zeros => (Vec::new(), holes(written, image)),
    };
    let beyond = image.next_multiple_of(BLOCK_BYTES)..drive;
    let end = drive.saturating_sub(SIGNATURE_BYTES).max(beyond.start)..drive;
    let ends = old.iter().flat_map(|old| {
        let both = [old.start..old.start.saturating_add(SIGNATURE_BYTES), old.end.saturating_sub(SIGNATURE_BYTES)..old.end];
        both.map(|part| part.start.max(beyond.start)..part.end.min(end.start))
    });
    let ends = sparse::whole_blocks(ends.filter(|part| part.start < part.end).collect(), BLOCK_BYTES, end.start);
    let all = [
        (Why::Slack, slack),
        (Why::Beyond, worth_forgetting(vec![beyond])),
        (Why::Hole, zeros),
        (Why::OldPartition, ends),
        (Why::End, vec![end]),
    ];
    let all = all.into_iter().flat_map(|(why, ranges)| ranges.into_iter().map(move |range| Clear { range, why }));
    all.filter(|clear| !clear.range.is_empty()).collect()
}

/// Of ranges that mean nothing, those that are worth a command. The head is zeros anyway while the rest is written.
fn worth_forgetting(ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    let behind_head = ranges.into_iter().map(|range| range.start.max(HEAD_BYTES)..range.end);
    behind_head.filter(|range| range.end.saturating_sub(range.start) >= FORGET_BYTES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn text(clears: &[Clear]) -> String {
        clears.iter().map(|clear| format!("{}-{} {:?};", clear.range.start / MIB, clear.range.end / MIB, clear.why)).collect()
    }

    #[test]
    fn everything_that_could_mislead_is_cleared_and_nothing_else() {
        let written = [0..MIB, 2 * MIB..10 * MIB, 31 * MIB..32 * MIB];
        for (name, drive, old, expected) in [
            ("blank", 100, vec![], "32-100 Beyond;1-2 Hole;10-31 Hole;99-100 End;"),
            ("as large as the image", 32, vec![], "1-2 Hole;10-31 Hole;"),
            ("hardly larger", 33, vec![(1, 33)], "32-33 Beyond;1-2 Hole;10-31 Hole;32-33 End;"),
            ("used", 100, vec![(1, 20), (20, 60), (60, 100)], "32-100 Beyond;1-2 Hole;10-31 Hole;59-61 OldPartition;99-100 End;"),
            (
                "a partition larger than the drive",
                100,
                vec![(40, 400)],
                "32-100 Beyond;1-2 Hole;10-31 Hole;40-41 OldPartition;99-100 End;",
            ),
        ] {
            let old: Vec<_> = old.into_iter().map(|(from, to)| from * MIB..to * MIB).collect();
            assert_eq!(text(&clears(32 * MIB, &written, Unmapped::Zeros, drive * MIB, &old)), expected, "{name}");
        }
    }

    #[test]
    fn what_means_nothing_is_forgotten_and_not_cleared() {
        let written = [0..4096, 2 * MIB..10 * MIB, 11 * MIB - 4096..12 * MIB];
        let clears = clears(32 * MIB, &written, Unmapped::Nothing, 40 * MIB, &[]);
        assert_eq!(text(&clears), "1-2 Slack;12-32 Slack;32-40 Beyond;39-40 End;");
        assert!(clears.iter().all(|clear| (clear.why == Why::End) == (clear.why.how() == How::Zero)));
    }

    #[test]
    fn an_image_without_holes_on_a_drive_of_its_size_clears_nothing() {
        assert_eq!(clears(MIB, std::slice::from_ref(&(0..MIB)), Unmapped::Zeros, MIB, &[]), []);
    }
}
