//! Takes the kernel and the command line out of an image's UKI, so that the floor runs the very same kernel.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use lamfat::{FileSystem, FsOptions};
use machine_config::disk::{Partition, SECTOR_BYTES};
use object::{Object, ObjectSection};

use crate::filesystem;

/// Where the UKI of slot A lies on the ESP.
pub const UKI: &str = "EFI/Linux/skerry-a.efi";

const LOADER: &str = "EFI/BOOT/BOOTX64.EFI";
const LOADER_CONFIG: &str = "loader/loader.conf";

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
        let esp = esp(image).map_err(|error| cannot("the ESP", format!("{error:#}")))?;
        let bytes = file_in(esp, UKI).map_err(|error| cannot("the UKI", error.to_string()))?;
        Ok(Self { image: image.into(), bytes })
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

    /// The kernel's command line.
    pub fn command_line(&self) -> Result<String, UkiError> {
        let text = String::from_utf8_lossy(self.section(".cmdline")?);
        Ok(text.trim_end_matches(['\0', '\n']).to_owned())
    }
}

fn esp(image: &Path) -> anyhow::Result<Vec<u8>> {
    let entry = filesystem::find(image, Partition::Esp)?;
    let mut bytes = vec![0; usize::try_from(entry.size()? * SECTOR_BYTES)?];
    File::open(image)?.read_exact_at(&mut bytes, entry.starting_lba * SECTOR_BYTES)?;
    Ok(bytes)
}

/// Bytes of the boot loader and its configuration on the image's ESP.
pub fn loader_bytes(image: &Path) -> Result<u64, UkiError> {
    let cannot = |reason: String| UkiError { image: image.into(), part: "the boot loader", reason };
    let esp = esp(image).map_err(|error| cannot(format!("{error:#}")))?;
    let sizes = [LOADER, LOADER_CONFIG].map(|path| file_in(esp.clone(), path).map(|bytes| bytes.len() as u64));
    sizes.into_iter().sum::<io::Result<u64>>().map_err(|error| cannot(error.to_string()))
}

fn file_in(esp: Vec<u8>, path: &str) -> io::Result<Vec<u8>> {
    let fat = FileSystem::new(Cursor::new(esp), FsOptions::new())?;
    let mut bytes = Vec::new();
    fat.root_dir().open_file(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
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
