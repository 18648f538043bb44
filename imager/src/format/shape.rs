//! What a file can be that holds a disk image: one of the forms, or the initramfs out of a netboot archive. Says of those that run from RAM whether
//! they are, byte for byte, what is made of the disk image in them: kernel, command line and boot files too, which no block map tells of.

use std::fmt;
use std::io::Read;

use serde::{Serialize, Serializer};

use super::source::{Source, SourceError};
use crate::board::Format;

const COMPARE_BYTES: u64 = 1 << 20;

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A form, as `imager build` writes it.
    Form(Format),
    /// The initramfs out of a netboot archive, which is what is stamped of it.
    Initramfs,
}

impl Shape {
    /// Whether it runs wholly from RAM.
    pub fn runs_from_ram(self) -> bool {
        match self {
            Self::Form(format) => format.runs_from_ram(),
            Self::Initramfs => true,
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form(format) => format.fmt(f),
            Self::Initramfs => f.write_str("initramfs"),
        }
    }
}

impl Serialize for Shape {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Source {
    /// The first byte at which `file` is not what is made of this image in that shape, before compression; none: it is. What follows in a file that
    /// is longer is not looked at: a disc may lie on a larger stick.
    ///
    /// # Errors
    /// See [`SourceError`].
    pub fn first_difference(&self, shape: Shape, file: &mut dyn Read) -> Result<Option<u64>, SourceError> {
        let pieces = match shape {
            Shape::Form(format) => self.plan(format)?,
            Shape::Initramfs => self.initramfs(&self.uki(Format::Pxe)?)?,
        };
        let mut expected = pieces.reader(self.file());
        let mut at = 0;
        loop {
            let (wanted, found) = (part(&mut expected)?, part(file)?);
            let found = &found[..found.len().min(wanted.len())];
            let differs = wanted.iter().zip(found).position(|(one, other)| one != other);
            match differs.or((found.len() < wanted.len()).then_some(found.len())) {
                Some(place) => return Ok(Some(at + place as u64)),
                None if wanted.is_empty() => return Ok(None),
                None => at += wanted.len() as u64,
            }
        }
    }
}

fn part(from: &mut dyn Read) -> Result<Vec<u8>, SourceError> {
    let mut bytes = Vec::new();
    from.take(COMPARE_BYTES).read_to_end(&mut bytes).map_err(SourceError::Read)?;
    Ok(bytes)
}
