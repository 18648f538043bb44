//! Where SEED lies in an image of any form that can be stamped: the disk, the RAM form as one UEFI program, on a disc, or as a bare initramfs.
//!
//! Found by reading the form itself, step by step, never by looking for a pattern: what does not read as it must is refused. Compressed images and
//! qcow2 have no place to stamp, and an archive for netboot has checksums over it: stamp the raw image, or the initramfs out of the archive.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use gptman::GPT;
use machine_config::disk::{Partition, SECTOR_BYTES, SEED_BYTES};
use machine_config::ram_form::Extent;
use rustix::fs::SeekFrom;

use crate::board::Architecture;
use crate::format::{cpio, fat};
use crate::image::pe::PeError;
use crate::image::pe::stretch;
use crate::image::window::Window;

/// Headers of a PE file end before this.
const PE_HEAD_BYTES: u64 = 64 << 10;
/// A disc has one program to boot.
const PROGRAMS: [&str; 2] = [Architecture::X86_64.efi_fallback_name(), Architecture::Aarch64.efi_fallback_name()];

/// Why SEED is not found.
#[derive(Debug, thiserror::Error)]
pub enum SeedPlaceError {
    /// The file cannot be read.
    #[error("cannot read the image at byte {offset}")]
    Read {
        /// Where.
        offset: u64,
        /// Why.
        source: io::Error,
    },
    /// It is none of the forms that have a SEED.
    #[error(
        "cannot find SEED: this is neither a raw image nor an ISO, UKI or initramfs in the RAM form; stamp the raw image before it is compressed or converted"
    )]
    Form,
    /// Its partition table is damaged.
    #[error("cannot find SEED: the partition table is damaged ({reason}); copy the image again")]
    Table {
        /// What is wrong.
        reason: String,
    },
    /// What firmware boots cannot be read.
    #[error("cannot find SEED: {reason}; copy the image again")]
    Damaged {
        /// What is wrong.
        reason: String,
    },
    /// The program is no RAM form.
    #[error("cannot find SEED: {reason}; only images in the RAM form (iso, pxe, uki) have it there")]
    NotRamForm {
        /// What is wrong.
        reason: String,
    },
    /// It is no program at all.
    #[error(transparent)]
    Pe(#[from] PeError),
}

/// A form with a SEED.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A raw disk image, or the disk it was written to.
    Disk,
    /// A disc in the RAM form.
    Disc,
    /// A UEFI program in the RAM form.
    Program,
    /// An initramfs in the RAM form.
    Initramfs,
}

/// What stamping needs to know of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The image's form.
    pub form: Form,
    /// SEED.
    pub seed: Extent,
    /// The initramfs of the RAM form, whose last file SEED is.
    pub initramfs: Option<Extent>,
}

type Found = Result<Place, SeedPlaceError>;

/// Where SEED lies in this file.
pub fn find(file: &File) -> Result<Extent, SeedPlaceError> {
    Ok(place(file)?.seed)
}

/// The same, with the form it was found in.
pub fn place(file: &File) -> Result<Place, SeedPlaceError> {
    let bytes = rustix::fs::seek(file, SeekFrom::End(0)).map_err(|error| failed(0, error.into()))?;
    let whole = Extent { offset: 0, bytes };
    if bytes < 2 * SECTOR_BYTES {
        return Err(SeedPlaceError::Form);
    }
    let mut head = [0; 2 * SECTOR_BYTES as usize];
    read(file, 0, &mut head)?;
    if head[SECTOR_BYTES as usize..].starts_with(b"EFI PART") {
        return in_disk(file, whole);
    }
    if head.starts_with(b"MZ") {
        return in_program(file, whole, Form::Program);
    }
    in_initramfs(file, whole, Form::Initramfs).map_err(|error| match error {
        SeedPlaceError::NotRamForm { .. } => SeedPlaceError::Form,
        other => other,
    })
}

fn failed(offset: u64, source: io::Error) -> SeedPlaceError {
    SeedPlaceError::Read { offset, source }
}

fn read(file: &File, offset: u64, buffer: &mut [u8]) -> Result<(), SeedPlaceError> {
    file.read_exact_at(buffer, offset).map_err(|source| failed(offset, source))
}

/// A disk has a partition for it; a disc has one to boot from.
fn in_disk(file: &File, whole: Extent) -> Found {
    let table = |reason: String| SeedPlaceError::Table { reason };
    let gpt = GPT::read_from(&mut Window::new(file, 0, whole.bytes), SECTOR_BYTES).map_err(|error| table(error.to_string()))?;
    let place = |partition: Partition| {
        let mut entries = gpt.iter().filter(|(_, entry)| entry.is_used());
        let entry = entries.find(|(_, entry)| entry.partition_type_guid == partition.type_guid().to_bytes_le())?.1;
        let bytes = entry.size().ok()?.checked_mul(SECTOR_BYTES)?;
        Some(Extent { offset: entry.starting_lba.checked_mul(SECTOR_BYTES)?, bytes })
    };
    let inside = |extent: Extent, partition: Partition| match extent.end().is_some_and(|end| end <= whole.bytes) {
        true => Ok(extent),
        false => Err(table(format!("partition {} leaves the image", partition.name()))),
    };
    if let Some(seed) = place(Partition::Seed) {
        return match inside(seed, Partition::Seed)? {
            seed if seed.bytes == SEED_BYTES => Ok(Place { form: Form::Disk, seed, initramfs: None }),
            seed => Err(table(format!("SEED has {} bytes instead of {SEED_BYTES}", seed.bytes))),
        };
    }
    let esp = place(Partition::Esp).ok_or(SeedPlaceError::Form)?;
    let damaged = |reason: &str| SeedPlaceError::Damaged { reason: reason.to_owned() };
    in_program(file, fat::find(file, inside(esp, Partition::Esp)?, &PROGRAMS).map_err(damaged)?, Form::Disc)
}

fn in_program(file: &File, program: Extent, form: Form) -> Found {
    let mut head = Vec::new();
    let window = Window::new(file, program.offset, program.bytes.min(PE_HEAD_BYTES));
    io::copy(&mut { window }.by_ref(), &mut head).map_err(|source| failed(program.offset, source))?;
    let place = stretch::place("the program it boots", &head, ".initrd")?;
    let end = place.offset.checked_add(place.bytes).filter(|end| *end <= program.bytes);
    if end.is_none() {
        return Err(SeedPlaceError::Damaged { reason: "the program it boots is cut short".into() });
    }
    in_initramfs(file, Extent { offset: program.offset + place.offset, bytes: place.bytes }, form)
}

/// Where SEED lies in an initramfs that is a part of this file.
pub fn in_ram_form(file: &File, initramfs: Extent) -> Result<Place, SeedPlaceError> {
    in_initramfs(file, initramfs, Form::Initramfs)
}

/// SEED is the last file of the archive: its header, its content, the trailer, the end.
fn in_initramfs(file: &File, initramfs: Extent, form: Form) -> Found {
    let not = |reason: &str| SeedPlaceError::NotRamForm { reason: reason.to_owned() };
    let tail = cpio::tail_bytes();
    let head_at = initramfs.bytes.checked_sub(tail).ok_or_else(|| not("the initramfs is too small"))?;
    let ends = cpio::trailer();
    let mut head = vec![0; tail as usize - SEED_BYTES as usize - ends.len()];
    read(file, initramfs.offset + head_at, &mut head)?;
    let mut end = vec![0; ends.len()];
    read(file, initramfs.offset + initramfs.bytes - ends.len() as u64, &mut end)?;
    let found = cpio::seed_before_end(initramfs.bytes, &head, &end).map_err(not)?;
    let seed = Extent { offset: initramfs.offset + found.offset, bytes: found.bytes };
    Ok(Place { form, seed, initramfs: Some(initramfs) })
}
