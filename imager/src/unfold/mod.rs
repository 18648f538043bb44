//! Reads a file of any form: the disk image in it is unfolded into a file without a name, below `TMPDIR`, and read there as a raw image is. What runs
//! from RAM is also compared with what is made of that disk image. Changes nothing.

mod error;
mod qcow2;
mod raw;

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use machine_config::disk::SEED_BYTES;
use machine_config::ram_form::Extent;
use serde::Serialize;

use crate::board::Format;
use crate::format::pxe::INITRAMFS;
use crate::format::{Shape, Source};
use crate::image::window::Window;
use crate::inspect::disk::{self, Disk};
use crate::inspect::{self, Depth, Inspection};
use crate::seed_place::{self, Form, Place, SeedPlaceError};
use crate::stamp::ram;
pub use error::UnfoldError;
use raw::Raw;

/// What tells the forms without a place for SEED from each other.
const HEAD_BYTES: u64 = 512;
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const GZIP: &[u8] = &[0x1f, 0x8b];
/// Where a tar archive says that it is one, and how.
const TAR_AT: usize = 257;
const TAR: &[u8] = b"ustar";

/// Everything `imager inspect` tells of a file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Unfolded {
    /// What the file is.
    pub form: Shape,
    /// The disk image: the file itself, or what is in it.
    #[serde(flatten)]
    pub inspection: Inspection,
}

impl fmt::Display for Unfolded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = self.form;
        match form {
            Shape::Form(Format::Raw) => writeln!(f, "form         {form}")?,
            _ if form.runs_from_ram() => writeln!(f, "form         {form}: runs from RAM; what follows is the disk image in it")?,
            _ => writeln!(f, "form         {form}; what follows is the disk image in it")?,
        }
        self.inspection.fmt(f)
    }
}

/// Inspects the file at `path`.
///
/// # Errors
/// See [`UnfoldError`].
pub fn inspect(path: &Path, depth: Depth) -> Result<Unfolded, UnfoldError> {
    let opened = Opened::open(path)?;
    let (form, inspection) = (opened.form, opened.inspect(depth)?);
    if form.runs_from_ram() {
        opened.source(&inspection)?;
    }
    Ok(Unfolded { form, inspection })
}

/// The same, and the disk image in it as something that other forms are made from.
///
/// # Errors
/// See [`UnfoldError`].
pub fn source(path: &Path) -> Result<(Inspection, Source), UnfoldError> {
    let opened = Opened::open(path)?;
    let inspection = opened.inspect(Depth::Overview)?;
    let source = opened.source(&inspection)?;
    Ok((inspection, source))
}

/// A file and the disk image in it.
struct Opened<'a> {
    path: &'a Path,
    file: File,
    bytes: u64,
    form: Shape,
    disk: Disk,
}

impl<'a> Opened<'a> {
    fn open(path: &'a Path) -> Result<Self, UnfoldError> {
        let (file, bytes) = disk::open(path)?;
        let read = |source| UnfoldError::Read { path: path.to_owned(), source };
        let (form, place) = shape(path, &file).map_err(read)??;
        let raw = match form {
            Shape::Form(Format::Raw) => file.try_clone().map_err(read)?,
            Shape::Form(Format::RawZst) => {
                let decoder = zstd::stream::read::Decoder::new(whole(&file, bytes)).map_err(read)?;
                Raw::of_stream(path, decoder)?
            }
            Shape::Form(Format::RawGz) => Raw::of_stream(path, flate2::bufread::MultiGzDecoder::new(whole(&file, bytes)))?,
            Shape::Form(Format::Qcow2) => qcow2::unfold(path, &file)?,
            Shape::Form(Format::Iso | Format::Uki | Format::Pxe) | Shape::Initramfs => of_ram_form(path, &file, place)?,
        };
        let length = (&raw).seek(io::SeekFrom::End(0)).map_err(read)?;
        let disk = Disk::of_file(path, raw, length)?;
        Ok(Self { path, file, bytes, form, disk })
    }

    fn inspect(&self, depth: Depth) -> Result<Inspection, UnfoldError> {
        Ok(inspect::inspect_disk(&self.disk, depth).map_err(Box::new)?)
    }

    /// Proves on the way that a file that runs from RAM is what is made of the disk image.
    fn source(self, inspection: &Inspection) -> Result<Source, UnfoldError> {
        let (source, form) = (Source::of(self.disk, inspection)?, self.form);
        let differs = match form.runs_from_ram() {
            true => source.first_difference(form, &mut whole(&self.file, self.bytes))?,
            false => None,
        };
        match differs {
            Some(offset) => Err(UnfoldError::Differs { path: self.path.to_owned(), form, offset }),
            None => Ok(source),
        }
    }
}

fn whole(file: &File, bytes: u64) -> BufReader<Window<'_>> {
    BufReader::new(Window::new(file, 0, bytes))
}

/// What a file is, and where SEED lies in one that runs from RAM. What is nothing known is left to whoever reads partition tables, to say so.
type Known = Result<(Shape, Option<Place>), UnfoldError>;

fn shape(path: &Path, file: &File) -> io::Result<Known> {
    let form = |format| Ok(Ok((Shape::Form(format), None)));
    match seed_place::place(file) {
        Ok(place) => {
            let shape = match place.form {
                Form::Disk => Shape::Form(Format::Raw),
                Form::Disc => Shape::Form(Format::Iso),
                Form::Program => Shape::Form(Format::Uki),
                Form::Initramfs => Shape::Initramfs,
            };
            return Ok(Ok((shape, Some(place))));
        }
        Err(source @ (SeedPlaceError::Damaged { .. } | SeedPlaceError::NotRamForm { .. } | SeedPlaceError::Pe(_))) => {
            return Ok(Err(UnfoldError::Place { path: path.to_owned(), source }));
        }
        Err(SeedPlaceError::Read { .. } | SeedPlaceError::Form | SeedPlaceError::Table { .. }) => {}
    }
    let mut head = Vec::new();
    Window::new(file, 0, HEAD_BYTES).read_to_end(&mut head)?;
    match head.as_slice() {
        head if head.starts_with(qcow2::MAGIC) => form(Format::Qcow2),
        head if head.starts_with(ZSTD) => form(Format::RawZst),
        head if head.starts_with(GZIP) => form(Format::RawGz),
        head if head.get(TAR_AT..).is_some_and(|rest| rest.starts_with(TAR)) => {
            let place = in_archive(file)?.ok_or_else(|| UnfoldError::NoInitramfs { path: path.to_owned() });
            Ok(place.map(|place| (Shape::Form(Format::Pxe), Some(place))))
        }
        _ => form(Format::Raw),
    }
}

/// The initramfs in a netboot archive, whose last file SEED is.
fn in_archive(file: &File) -> io::Result<Option<Place>> {
    let mut archive = tar::Archive::new(Window::new(file, 0, u64::MAX));
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        if entry.path_bytes().as_ref() == INITRAMFS.as_bytes() {
            let initramfs = Extent { offset: entry.raw_file_position(), bytes: entry.size() };
            return Ok(seed_place::in_ram_form(file, initramfs).ok());
        }
    }
    Ok(None)
}

/// The disk image in a file that runs from RAM.
fn of_ram_form(path: &Path, file: &File, place: Option<Place>) -> Result<File, UnfoldError> {
    let missing = || UnfoldError::NoInitramfs { path: path.to_owned() };
    let place = place.ok_or_else(missing)?;
    let initramfs = place.initramfs.ok_or_else(missing)?;
    let raw = Raw::new()?;
    let take = &mut |offset, bytes: &[u8]| raw.put(offset, bytes);
    let (_, index) = ram::read(file, initramfs, take).map_err(|source| UnfoldError::Ram { path: path.to_owned(), source })?;
    let mut seed = vec![0; SEED_BYTES as usize];
    file.read_exact_at(&mut seed, place.seed.offset).map_err(|source| UnfoldError::Read { path: path.to_owned(), source })?;
    raw.put(index.seed_offset, &seed).map_err(UnfoldError::Scratch)?;
    raw.finish(index.image_bytes)
}

#[cfg(test)]
mod tests;
