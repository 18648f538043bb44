//! One form of an image on its way to a file, with what stands beside it: block map, checksum, list of contents. The file itself appears last.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::SeekFrom;
use serde::Serialize;

use super::compressed;
use super::sink::Sink;
use super::source::{Source, SourceError};
use crate::bmap::Bmap;
use crate::board::Format;
use crate::components::digest::{Digest, of_file};
use crate::image::output::{Output, OutputError, Place};
use crate::sbom::{self, SbomError, Subject};

/// Why a form cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// It cannot be planned.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A file cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The image cannot be read or compressed.
    #[error("cannot make the form {format} of the image")]
    Stream {
        /// The form.
        format: Format,
        /// Why.
        source: io::Error,
    },
    /// The list of contents cannot be made.
    #[error(transparent)]
    Sbom(#[from] SbomError),
}

/// A form and where it will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The form.
    pub format: Format,
    /// The file.
    pub place: Place,
    /// Who may read it.
    readers: Readers,
}

/// Who may read what is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Readers {
    /// Everybody: it is as it was built.
    All,
    /// Its owner: a device's secrets are in it.
    Owner,
}

/// A file that was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Written {
    /// Its form.
    pub format: Format,
    /// Where it is.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// Its content.
    pub sha256: String,
}

/// The end of a form's file name, when several forms go to one place.
pub fn extension(format: Format) -> &'static str {
    match format {
        Format::Raw => "img",
        Format::RawZst => "img.zst",
        Format::RawGz => "img.gz",
        Format::Qcow2 => "qcow2",
        Format::Iso => "iso",
        Format::Pxe => "pxe.tar",
        Format::Uki => "efi",
    }
}

impl Target {
    /// The files for `formats`: one form goes to `out` itself, several to its name without `.img` and with [`extension`] each.
    pub fn all(formats: &[Format], out: &Path) -> Result<Vec<Self>, OutputError> {
        if let [format] = formats {
            return Ok(vec![Self::new(*format, out)?]);
        }
        let stem = if out.extension().is_some_and(|end| end == "img") { out.with_extension("") } else { out.to_owned() };
        let place = |format: &Format| {
            let mut path = stem.clone().into_os_string();
            path.push(format!(".{}", extension(*format)));
            Self::new(*format, Path::new(&path))
        };
        formats.iter().map(place).collect()
    }

    fn new(format: Format, out: &Path) -> Result<Self, OutputError> {
        Ok(Self { format, place: Place::new(out)?, readers: Readers::All })
    }

    /// The same, to be readable by its owner only.
    pub fn private(self) -> Self {
        Self { readers: Readers::Owner, ..self }
    }

    /// Writes the form of `source`.
    pub fn write(&self, source: &Source) -> Result<Written, TargetError> {
        let pieces = source.plan(self.format)?;
        let output = Output::create(&self.place)?;
        let mut sink = Sink::new(&output);
        let mut reader = pieces.reader(source.file());
        let streamed = match self.format {
            Format::RawZst => compressed::zstd(&mut reader, &mut sink),
            Format::RawGz => compressed::gzip(&mut reader, &mut sink),
            Format::Raw | Format::Qcow2 | Format::Iso | Format::Pxe | Format::Uki => io::copy(&mut reader, &mut sink).map(drop),
        };
        if let Err(error) = streamed {
            let failure = sink.failure();
            return Err(failure.map_or(TargetError::Stream { format: self.format, source: error }, TargetError::Output));
        }
        let (_, sha256) = sink.finish()?;
        self.publish(source, output, sha256)
    }

    /// Publishes a raw image that lies at its place already, not yet under its name.
    pub fn take(&self, source: &Source, output: Output) -> Result<Written, TargetError> {
        let sha256 = of_file(&output.temporary_path()).map_err(|error| output.failure(error))?;
        self.publish(source, output, sha256)
    }

    fn publish(&self, source: &Source, output: Output, sha256: Digest) -> Result<Written, TargetError> {
        let file_name = self.file_name();
        let subject = Subject { file_name: &file_name, format: self.format, sha256, release: source.release() };
        let beside = [
            ("bmap", self.bmap(source, output.file()).map_err(|error| output.failure(error))?.to_xml()),
            ("sha256", sha256_line(&file_name, sha256)),
            ("spdx.json", sbom::document(&subject, source.components())?),
        ];
        let bytes = length(output.file()).map_err(|error| output.failure(error))?;
        for (end, text) in beside {
            self.write_beside(end, &text)?;
        }
        let output = match self.readers {
            Readers::All => output,
            Readers::Owner => output.private(),
        };
        output.publish()?;
        Ok(Written { format: self.format, path: self.place.named().to_owned(), bytes, sha256: sha256.hex() })
    }

    /// The map of what is written to a disk: the raw image, or a disc that goes to a USB stick. A file that goes to no disk is mapped whole.
    fn bmap(&self, source: &Source, file: &File) -> io::Result<Bmap> {
        match self.format {
            Format::Raw | Format::RawZst | Format::RawGz | Format::Qcow2 => Ok(source.bmap().clone()),
            Format::Iso | Format::Pxe | Format::Uki => {
                let bytes = length(file)?;
                Bmap::of_ranges(file, bytes, std::slice::from_ref(&(0..bytes)))
            }
        }
    }

    fn file_name(&self) -> String {
        self.place.named().file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    fn write_beside(&self, end: &str, text: &str) -> Result<(), OutputError> {
        let mut path = self.place.named().as_os_str().to_owned();
        path.push(format!(".{end}"));
        let output = Output::create(&Place::new(Path::new(&path))?)?;
        output.file().write_all(text.as_bytes()).map_err(|error| output.failure(error))?;
        output.publish()
    }
}

fn length(file: &File) -> io::Result<u64> {
    Ok(rustix::fs::seek(file, SeekFrom::End(0))?)
}

/// The line that `sha256sum --check` reads.
fn sha256_line(file_name: &str, sha256: Digest) -> String {
    let special = file_name.contains(['\\', '\n', '\r']);
    let name = file_name.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r");
    format!("{}{}  {name}\n", if special { "\\" } else { "" }, sha256.hex())
}

#[cfg(test)]
mod memory;
#[cfg(test)]
mod tests;
