//! Takes the kernel and the command line out of an image's UKI, so that the floor runs the very same kernel.

use std::path::{Path, PathBuf};

use imager::board::Architecture;
use imager::image::boot::UKI_PATH;
use object::{Object, ObjectSection};

use crate::esp::Esp;

/// Why an image's UKI could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {part} of image {}: {reason}", .image.display())]
pub struct UkiError {
    image: PathBuf,
    part: &'static str,
    reason: String,
}

/// A unified kernel image: kernel, initramfs and command line in one UEFI program.
#[derive(Debug)]
pub struct Uki {
    image: PathBuf,
    bytes: Vec<u8>,
}

impl Uki {
    /// Reads the UKI from the image's ESP.
    pub fn read(image: &Path) -> Result<Self, UkiError> {
        let cannot = |part, reason: String| UkiError { image: image.into(), part, reason };
        let esp = Esp::read(image).map_err(|error| cannot("the ESP", format!("{error:#}")))?;
        let bytes = esp.file(UKI_PATH).map_err(|error| cannot("the UKI", format!("{error:#}")))?;
        Ok(Self { image: image.into(), bytes: bytes.into() })
    }

    /// Size of the UKI in bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it is empty, which no bootable image's is.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// A section, such as `.linux` or `.cmdline`, without the padding that the file format adds.
    pub fn section(&self, name: &'static str) -> Result<&[u8], UkiError> {
        let cannot = |reason: String| UkiError { image: self.image.clone(), part: name, reason };
        let file = object::File::parse(self.bytes.as_slice()).map_err(|error| cannot(error.to_string()))?;
        let section = file.section_by_name(name).ok_or_else(|| cannot("the UKI has no such section".into()))?;
        let data = section.data().map_err(|error| cannot(error.to_string()))?;
        let size = usize::try_from(section.size()).unwrap_or(usize::MAX).min(data.len());
        Ok(&data[..size])
    }

    /// The processor it is for.
    pub fn architecture(&self) -> Result<Architecture, UkiError> {
        let cannot = |reason: String| UkiError { image: self.image.clone(), part: "the UKI", reason };
        let file = object::File::parse(self.bytes.as_slice()).map_err(|error| cannot(error.to_string()))?;
        match file.architecture() {
            object::Architecture::X86_64 => Ok(Architecture::X86_64),
            object::Architecture::Aarch64 => Ok(Architecture::Aarch64),
            other => Err(cannot(format!("it is for {other:?}, for which there is no board"))),
        }
    }

    /// The kernel's command line.
    pub fn command_line(&self) -> Result<String, UkiError> {
        let text = String::from_utf8_lossy(self.section(".cmdline")?);
        Ok(text.trim_end_matches(['\0', '\n']).to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_image_is_said_so_by_name() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), vec![0; 4096]).unwrap();
        let error = Uki::read(file.path()).unwrap_err().to_string();
        assert!(error.starts_with("cannot read the ESP of image"), "{error}");
    }
}
