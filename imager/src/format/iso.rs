//! A disc image that firmware starts three ways: from a disc (El Torito), from a USB stick it was written to (GPT), and as a file system
//! somebody looks at. All three lead to the same FAT file system with one program in it: the RAM form.
//!
//! Offsets and names are those of ECMA-119 (ISO 9660) and El Torito 1.0. UEFI only: it holds nothing for a BIOS.

mod volume;

use machine_config::disk::{Partition, SECTOR_BYTES};

use super::fat::{self, Program};
use super::pieces::Pieces;
use crate::image::digest::Digest;
use crate::image::gpt::{self, GptError};
use crate::image::layout::Extent;
use volume::{BLOCK_BYTES, Contents, File, Volume};

/// Before the volume's descriptors; the first partition table lies there.
const SYSTEM_AREA_BYTES: u64 = 16 * BLOCK_BYTES;
/// The FAT file system begins here, aligned as every partition of ours.
const FAT_OFFSET: u64 = 1 << 20;
/// Sectors of the second partition table.
const BACKUP_SECTORS: u64 = 33;
const END_ALIGN_SECTORS: u64 = 8;

/// What a disc says it is.
#[derive(Debug, Clone)]
pub(super) struct Label {
    /// Version of Skerry.
    pub(super) version: String,
    /// The board.
    pub(super) board: String,
    /// Seconds since 1970.
    pub(super) time: u64,
}

/// The disc with `program` on it. `content` is the digest of what it carries, less SEED.
pub(super) fn plan(program: Program, label: &Label, content: Digest) -> Result<Pieces, GptError> {
    let fat = fat::plan(program, content.number("ISO volume id"), FAT_OFFSET);
    let fat_sectors = fat.bytes().div_ceil(SECTOR_BYTES);
    let sectors = (FAT_OFFSET / SECTOR_BYTES + fat_sectors + BACKUP_SECTORS).next_multiple_of(END_ALIGN_SECTORS);
    let bytes = sectors * SECTOR_BYTES;
    let esp = Extent { partition: Partition::Esp, first_sector: FAT_OFFSET / SECTOR_BYTES, sectors: fat_sectors };
    let mut pieces = Pieces::new();
    let tables = gpt::table(bytes, &[esp], content)?;
    let (first, second): (Vec<_>, Vec<_>) = tables.into_iter().partition(|piece| piece.offset < SYSTEM_AREA_BYTES);
    for piece in sorted(first) {
        pieces.pad_to(piece.offset);
        pieces.add(piece.bytes);
    }
    pieces.pad_to(SYSTEM_AREA_BYTES);
    pieces.add(descriptors(label, bytes, fat.bytes()));
    pieces.pad_to(FAT_OFFSET);
    pieces.append(fat);
    for piece in sorted(second) {
        pieces.pad_to(piece.offset);
        pieces.add(piece.bytes);
    }
    pieces.pad_to(bytes);
    Ok(pieces)
}

fn sorted(mut pieces: Vec<gpt::Piece>) -> Vec<gpt::Piece> {
    pieces.sort_by_key(|piece| piece.offset);
    pieces
}

fn descriptors(label: &Label, bytes: u64, fat_bytes: u64) -> Vec<u8> {
    let readme = readme(label);
    let volume = Volume {
        volume_id: format!("SKERRY {}", label.board),
        application_id: format!("SKERRY {} {}", label.version, label.board),
        time: label.time,
        blocks: bytes / BLOCK_BYTES,
    };
    let boot = File { name: "EFI.IMG;1", bytes: fat_bytes };
    volume.descriptors(&Contents { boot, boot_block: FAT_OFFSET / BLOCK_BYTES, readme: readme.as_bytes() })
}

fn readme(label: &Label) -> String {
    format!(
        "Skerry {} for {}.\n\nStart a machine with UEFI firmware from this disc, or from a USB stick it was written to. The system runs from RAM\n\
         and waits for a configuration that its fleet signed. With machine.install in it, it installs itself to the disk\n\
         named there. Without, it touches no disk.\n",
        label.version, label.board
    )
}

#[cfg(test)]
mod tests;
