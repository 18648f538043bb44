//! The RAM form: the disk image inside of the board's own initramfs, so that a system runs without a disk and can install itself on one.
//! `machine_config::ram_form` says what init expects; every byte of the image is carried once.

use std::sync::Arc;

use machine_config::Digest;
use machine_config::ram_form::{self, BLOCK_BYTES, RamImage};
use object::read::pe::PeFile64;
use object::{Object as _, ObjectSection as _};

use super::cpio;
use super::mapped::Mapped;
use super::pieces::Pieces;
use crate::bmap::Bmap;
use crate::image::pe::PeError;
use crate::image::pe::stretch::stretch;

/// The kernel takes an archive behind another one where a multiple of this begins.
const ALIGN: u64 = 4;
const NAME: &str = "the UKI";
const INITRD: &str = ".initrd";

/// Why the RAM form cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum RamError {
    /// The UKI cannot be used.
    #[error(transparent)]
    Uki(#[from] PeError),
    /// A section is missing.
    #[error("cannot use the UKI: it has no section {section}")]
    Section {
        /// Which one.
        section: &'static str,
    },
    /// cpio ends at 4 GiB.
    #[error("cannot put {bytes} bytes of the disk image into an initramfs: the format ends at 4 GiB; leave components out")]
    Large {
        /// How many.
        bytes: u64,
    },
}

/// The parts of a UKI that the RAM form is made of.
#[derive(Debug, Clone)]
pub(super) struct UkiParts {
    whole: Vec<u8>,
    initramfs: Arc<[u8]>,
    microcode: Option<Vec<u8>>,
    /// The kernel.
    pub(super) kernel: Vec<u8>,
    /// Its command line.
    pub(super) command_line: String,
}

impl UkiParts {
    /// Takes a UKI apart.
    pub(super) fn read(whole: Vec<u8>) -> Result<Self, RamError> {
        let section = |name: &str| section(&whole, name);
        let needed = |name: &'static str| section(name).ok_or(RamError::Section { section: name });
        let command_line = String::from_utf8_lossy(&needed(".cmdline")?).trim_end_matches('\0').to_owned();
        let (initramfs, kernel) = (needed(INITRD)?.into(), needed(".linux")?);
        let microcode = section(".ucode");
        Ok(Self { initramfs, microcode, kernel, command_line, whole })
    }
}

fn section(file: &[u8], name: &str) -> Option<Vec<u8>> {
    let file = PeFile64::parse(file).ok()?;
    let section = file.section_by_name(name)?;
    let data = section.data().ok()?;
    Some(data[..data.len().min(usize::try_from(section.size()).ok()?)].to_vec())
}

/// What init finds beside the image: the same blocks as the block map, less SEED.
pub(super) fn index(mapped: &Mapped, bmap: &Bmap) -> RamImage {
    let places = bmap.ranges.iter().map(|range| (bmap.bytes_of(range), range.sha256));
    let ranges = places.filter(|(bytes, _)| *bytes != mapped.seed).map(|(bytes, sha256)| ram_form::Range {
        offset: bytes.start,
        bytes: bytes.end - bytes.start,
        sha256: sha256.hex().parse::<Digest>().expect("64 lower-case hexadecimal digits"),
    });
    RamImage {
        image_bytes: mapped.bytes,
        block_bytes: BLOCK_BYTES,
        ranges: ranges.collect(),
        seed_offset: mapped.seed.start,
        runtime: mapped.runtime,
    }
}

/// The initramfs of the RAM form: the board's own, then an archive with the disk image, SEED last.
fn initramfs(uki: &UkiParts, mapped: &Mapped, index: &RamImage) -> Result<Pieces, RamError> {
    let bytes = index.mapped_bytes();
    let image_bytes = u32::try_from(bytes).map_err(|_| RamError::Large { bytes })?;
    let json = index.to_json().into_bytes();
    let mut pieces = Pieces::new();
    pieces.add(Arc::clone(&uki.initramfs));
    pieces.pad(ALIGN);
    let (parent, _) = ram_form::FOLDER.split_once('/').unwrap_or((ram_form::FOLDER, ""));
    pieces.add(cpio::folder(parent, 1));
    pieces.add(cpio::folder(ram_form::FOLDER, 2));
    pieces.add(cpio::file(ram_form::INDEX, 3, json.len() as u32));
    pieces.add(json);
    pieces.pad(ALIGN);
    pieces.add(cpio::file(ram_form::IMAGE, 4, image_bytes));
    for range in &index.ranges {
        pieces.add_image(range.offset..range.offset + range.bytes);
    }
    pieces.pad(ALIGN);
    pieces.add(cpio::file(ram_form::SEED, 5, (mapped.seed.end - mapped.seed.start) as u32));
    pieces.add_image(mapped.seed.clone());
    pieces.add(cpio::trailer());
    Ok(pieces)
}

/// The initramfs for a boot loader that hands over one file: with the microcode in front, where the kernel looks for it.
pub(super) fn whole_initramfs(uki: &UkiParts, mapped: &Mapped, index: &RamImage) -> Result<Pieces, RamError> {
    let mut pieces = Pieces::new();
    if let Some(microcode) = &uki.microcode {
        pieces.add(microcode.as_slice());
        pieces.pad(ALIGN);
    }
    pieces.append(initramfs(uki, mapped, index)?);
    Ok(pieces)
}

/// The UKI of the RAM form: the disk's own with the longer initramfs.
pub(super) fn uki(uki: &UkiParts, mapped: &Mapped, index: &RamImage) -> Result<Pieces, RamError> {
    let initramfs = initramfs(uki, mapped, index)?;
    let parts = stretch(NAME, &uki.whole, INITRD, initramfs.bytes())?;
    let mut pieces = Pieces::new();
    pieces.add(parts.before);
    pieces.append(initramfs);
    pieces.add_zeros(parts.padding);
    pieces.add(parts.after);
    Ok(pieces)
}
