//! Making STATE and DATA: an ext4 whose superblock is written last and carries the partition's own GUID.
//!
//! So "formatted" is one fact that cannot be half true: a partition is formatted when its superblock names its GUID. A format
//! that was cut off, and a file system left by an earlier installation at the same place, both fail that test and are redone.
//! A mark in the boot block, which ext4 leaves alone, tells a superblock that was lost since: that is an error, never made anew.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use mkext4::{FsBuilder, Options, RegionSink};
use uuid::Uuid;

use super::gpt::ReadAt;
use crate::sys;

/// Bytes up to the end of the first block: the superblock lies in it at 1024.
const FIRST_BLOCK: u64 = 4096;

/// Bytes of the boot block before the superblock.
const BOOT_BLOCK: usize = 1024;

/// `INCOMPAT_RECOVER` of the superblock: the journal is to be replayed.
const RECOVER: u32 = 4;

/// Stands at the very beginning, and then the partition's GUID.
const MARK: &[u8; 8] = b"SKRYEXT4";

/// Why a partition cannot be formatted or looked at.
#[derive(Debug, thiserror::Error)]
pub enum Ext4Error {
    /// The device does not answer.
    #[error("cannot read the superblock")]
    Read(#[source] io::Error),
    /// It was formatted once and is not readable now.
    #[error(
        "it was made before and its superblock is damaged; repair it with e2fsck on another machine, or flash the image again"
    )]
    Damaged,
    /// The device does not take the bytes.
    #[error("cannot write the file system")]
    Write(#[source] io::Error),
    /// The file system cannot be laid out.
    #[error("cannot lay out an ext4 of {bytes} bytes")]
    Layout {
        /// Size of the partition.
        bytes: u64,
        /// Why.
        source: mkext4::Error,
    },
}

/// What the superblock says, when there is one of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Formatted {
    /// Bytes the file system covers.
    pub bytes: u64,
    /// It was unmounted in order: its journal holds nothing that its blocks lack.
    pub clean: bool,
}

/// Whether the partition with this GUID carries the file system made for it.
pub fn formatted(device: &impl ReadAt, guid: Uuid) -> Result<Option<Formatted>, Ext4Error> {
    let mut blocks = [0; 2 * BOOT_BLOCK];
    device.read_at(&mut blocks, 0).map_err(Ext4Error::Read)?;
    let (boot, block) = blocks.split_at(BOOT_BLOCK);
    let u32_at = |at: usize| u32::from_le_bytes(block[at..at + 4].try_into().expect("four bytes"));
    let ours = block[0x38..0x3a] == [0x53, 0xef] && block[0x68..0x78] == *guid.as_bytes();
    // s_blocks_count_hi is never set: this project makes no 64-bit file systems, and growth keeps the feature set.
    let bytes = u64::from(u32_at(0x04)) * (1024_u64 << (u32_at(0x18) & 7));
    match (ours, boot.starts_with(&mark(guid))) {
        (true, _) => Ok(Some(Formatted { bytes, clean: u32_at(0x60) & RECOVER == 0 })),
        (false, true) => Err(Ext4Error::Damaged),
        (false, false) => Ok(None),
    }
}

fn mark(guid: Uuid) -> Vec<u8> {
    [MARK.as_slice(), guid.as_bytes()].concat()
}

/// Formats a partition of `bytes`; `epoch` stamps it. The superblock goes last, after everything else is on the disk.
pub fn format(device: &File, bytes: u64, guid: Uuid, label: &str, epoch: i64) -> Result<(), Ext4Error> {
    // What lies there names another GUID, or it would not be formatted now; so it needs no wiping first. Old journal blocks cannot
    // be taken for new ones, since their checksums are seeded with another UUID: a device that cannot discard is no failure.
    let _ = sys::discard(device, 0, bytes);
    let mut sink = SuperblockLast { device, first_block: vec![0; FIRST_BLOCK as usize] };
    emit(&mut sink, bytes, guid, label, epoch)?;
    device.sync_data().map_err(Ext4Error::Write)?;
    device.write_all_at(&sink.first_block, 0).map_err(Ext4Error::Write)?;
    device.sync_data().map_err(Ext4Error::Write)?;
    // Only now: a mark without a superblock must mean that there was one. Cut off here, the partition lacks the mark and nothing else.
    device.write_all_at(&mark(guid), 0).map_err(Ext4Error::Write)?;
    device.sync_data().map_err(Ext4Error::Write)
}

fn emit(sink: &mut impl RegionSink, bytes: u64, guid: Uuid, label: &str, epoch: i64) -> Result<(), Ext4Error> {
    let layout_error = |source| match source {
        mkext4::Error::Io(source) => Ext4Error::Write(source),
        source => Ext4Error::Layout { bytes, source },
    };
    let mut options = Options::new(bytes / FIRST_BLOCK * FIRST_BLOCK, *guid.as_bytes(), epoch);
    options.label = Some(label.to_owned());
    // Nobody but root writes here; what is kept back for root would be lost to containers.
    options.reserved_percent = 1;
    let layout = FsBuilder::new(options).map_err(layout_error)?.seal().map_err(layout_error)?;
    layout.writer(sink).map_err(layout_error)?.finish().map_err(layout_error)?;
    Ok(())
}

struct SuperblockLast<'a> {
    device: &'a File,
    first_block: Vec<u8>,
}

impl RegionSink for SuperblockLast<'_> {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if offset >= FIRST_BLOCK {
            return self.device.write_all_at(bytes, offset);
        }
        let start = usize::try_from(offset).expect("below 4096");
        let held = bytes.len().min(self.first_block.len() - start);
        self.first_block[start..start + held].copy_from_slice(&bytes[..held]);
        self.device.write_all_at(&bytes[held..], FIRST_BLOCK.max(offset))
    }

    /// Free space keeps what the discard left; ext4 reads no block it has not written, save inode tables, which it clears.
    fn zeros(&mut self, _offset: u64, _length: u64) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::Command;

    use super::*;

    const GUID: Uuid = Uuid::from_u128(0x1234_5678_9abc_def0_1234_5678_9abc_def0);

    fn partition(bytes: usize, fill: u8) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(&vec![fill; bytes]).expect("room");
        file
    }

    #[test]
    fn a_formatted_partition_knows_its_guid() {
        let file = partition(64 << 20, 0xa5);
        format(file.as_file(), 64 << 20, GUID, "STATE", 1_700_000_000).expect("a format");
        assert_eq!(formatted(file.as_file(), GUID).expect("readable"), Some(Formatted { bytes: 64 << 20, clean: true }));
        assert_eq!(formatted(file.as_file(), Uuid::from_u128(1)).expect("readable"), None, "another installation's");
    }

    #[test]
    fn a_lost_superblock_is_an_error_and_not_made_anew() {
        let file = partition(64 << 20, 0);
        format(file.as_file(), 64 << 20, GUID, "STATE", 1_700_000_000).expect("a format");
        file.as_file().write_all_at(&[0; 512], 1024).expect("a bad sector");
        assert!(matches!(formatted(file.as_file(), GUID), Err(Ext4Error::Damaged)));
        assert_eq!(formatted(file.as_file(), Uuid::from_u128(1)).expect("readable"), None, "another installation's");
    }

    #[test]
    fn a_format_that_was_cut_off_is_not_formatted() {
        let file = partition(64 << 20, 0);
        format(file.as_file(), 64 << 20, Uuid::from_u128(1), "STATE", 1_700_000_000).expect("an earlier installation's");
        let mut sink = SuperblockLast { device: file.as_file(), first_block: vec![0; 4096] };
        emit(&mut sink, 64 << 20, GUID, "STATE", 1).expect("all but the first block");
        assert_eq!(formatted(file.as_file(), GUID).expect("readable"), None);
    }

    #[test]
    fn e2fsck_agrees_even_on_a_dirty_disk() {
        let file = partition(160 << 20, 0x5a);
        format(file.as_file(), 160 << 20, GUID, "DATA", 1_700_000_000).expect("a format");
        match Command::new("e2fsck").arg("-fn").arg(file.path()).output() {
            Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout)),
            Err(error) => crate::testing::skip(&format!("no e2fsck here ({error})")),
        }
    }
}
