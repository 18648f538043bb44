//! A raw image, looked at once, from which any form can be planned.

use std::io;
use std::path::Path;

use machine_config::disk::Partition;

use super::fat::Program;
use super::iso::{self, Label};
use super::mapped::{self, MapError, Mapped};
use super::pieces::Pieces;
use super::pxe;
use super::qcow2;
use super::ram::{self, RamError, UkiParts};
use crate::bmap::Bmap;
use crate::board::Format;
use crate::components::assemble::Record;
use crate::image::boot::UKI_PATH;
use crate::image::digest::Digest;
use crate::image::esp::{self, EspError};
use crate::image::gpt::GptError;
use crate::image::release::Release;
use crate::inspect::Inspection;
use crate::inspect::disk::{Disk, DiskError};

/// Why a form cannot be planned.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The image cannot be opened.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// It cannot be mapped.
    #[error(transparent)]
    Map(#[from] MapError),
    /// The boot partition cannot be read.
    #[error(transparent)]
    Esp(#[from] EspError),
    /// The RAM form cannot be made.
    #[error(transparent)]
    Ram(#[from] RamError),
    /// The disc's partition table cannot be made.
    #[error(transparent)]
    Gpt(#[from] GptError),
    /// The board's firmware takes no such program.
    #[error(
        "cannot make the form {format}: it runs from RAM as one UEFI program, and board {board} boots another way; raw, raw.zst, raw.gz and qcow2 work"
    )]
    NoUki {
        /// The form.
        format: Format,
        /// The board.
        board: String,
    },
    /// The image's list of components is of another form.
    #[error("cannot use the image's list of components")]
    Components(#[source] serde_json::Error),
    /// The image cannot be read.
    #[error("cannot read the image")]
    Read(#[source] io::Error),
}

/// A raw image.
#[derive(Debug)]
pub struct Source {
    disk: Disk,
    mapped: Mapped,
    bmap: Bmap,
    release: Release,
    components: Vec<Record>,
    content: Digest,
}

impl Source {
    /// Opens an image that was inspected. Its blocks are read once.
    pub fn open(path: &Path, inspection: &Inspection) -> Result<Self, SourceError> {
        Self::of(Disk::open(path)?, inspection)
    }

    /// The same for an image that is open already.
    pub fn of(disk: Disk, inspection: &Inspection) -> Result<Self, SourceError> {
        let mapped = mapped::of(&disk)?;
        let bmap = Bmap::of_ranges(disk.file(), mapped.bytes, &mapped.ranges).map_err(SourceError::Read)?;
        let components = serde_json::from_value(inspection.components.clone()).map_err(SourceError::Components)?;
        let content = Digest::of_parts("skerry form 1", [inspection.disk_guid.as_bytes().as_slice()]);
        Ok(Self { disk, mapped, bmap, release: inspection.release.clone(), components, content })
    }

    /// The block map of the disk.
    pub fn bmap(&self) -> &Bmap {
        &self.bmap
    }

    /// What the image is.
    pub fn release(&self) -> &Release {
        &self.release
    }

    /// What it is made of.
    pub fn components(&self) -> &[Record] {
        &self.components
    }

    pub(super) fn file(&self) -> &std::fs::File {
        self.disk.file()
    }

    /// The file of a form, before compression.
    pub(super) fn plan(&self, format: Format) -> Result<Pieces, SourceError> {
        match format {
            Format::Raw | Format::RawZst | Format::RawGz => {
                let mut pieces = Pieces::new();
                pieces.add_image(0..self.mapped.bytes);
                Ok(pieces)
            }
            Format::Qcow2 => Ok(qcow2::plan(&self.mapped)),
            Format::Uki => Ok(ram::uki(&self.uki(format)?, &self.mapped, &ram::index(&self.mapped, &self.bmap))?),
            Format::Iso => self.iso(),
            Format::Pxe => self.pxe(),
        }
    }

    pub(super) fn uki(&self, format: Format) -> Result<UkiParts, SourceError> {
        let esp = self.disk.window(self.disk.partition(Partition::Esp)?);
        let uki = esp::read(esp)?.into_iter().find(|(path, _)| path == UKI_PATH);
        let (_, uki) = uki.ok_or_else(|| SourceError::NoUki { format, board: self.release.board.clone() })?;
        Ok(UkiParts::read(uki)?)
    }

    fn iso(&self) -> Result<Pieces, SourceError> {
        let label = Label {
            version: self.release.version.clone(),
            board: self.release.board.clone(),
            time: self.release.build_time_floor,
        };
        let program = Program { name: self.release.architecture.efi_fallback_name(), content: self.plan(Format::Uki)? };
        Ok(iso::plan(program, &label, self.content)?)
    }

    /// What a boot loader of one's own hands to the kernel.
    pub(super) fn initramfs(&self, uki: &UkiParts) -> Result<Pieces, SourceError> {
        Ok(ram::whole_initramfs(uki, &self.mapped, &ram::index(&self.mapped, &self.bmap))?)
    }

    fn pxe(&self) -> Result<Pieces, SourceError> {
        let uki = self.uki(Format::Pxe)?;
        let initramfs = self.initramfs(&uki)?;
        let parts =
            pxe::Parts { kernel: uki.kernel, initramfs, command_line: uki.command_line, time: self.release.build_time_floor };
        pxe::plan(parts, self.file()).map_err(SourceError::Read)
    }
}

#[cfg(test)]
mod tests;
