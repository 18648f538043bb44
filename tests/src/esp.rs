//! The files on an image's boot partition, read with the library that `imager inspect` reads them with.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use imager::image::esp;
use imager::image::window::Window;
use machine_config::disk::{Partition, SECTOR_BYTES};

use crate::filesystem;

/// The boot partition of one image.
#[derive(Debug)]
pub struct Esp {
    image: PathBuf,
    files: BTreeMap<String, Vec<u8>>,
}

impl Esp {
    /// Reads every file of it.
    pub fn read(image: &Path) -> Result<Self> {
        let entry = filesystem::find(image, Partition::Esp)?;
        let file = File::open(image)?;
        let window = Window::new(&file, entry.starting_lba * SECTOR_BYTES, entry.size()? * SECTOR_BYTES);
        let files = esp::read(window).with_context(|| format!("cannot read the boot partition of {}", image.display()))?;
        Ok(Self { image: image.into(), files: files.into_iter().collect() })
    }

    /// The paths of its files.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// A file's content. Names differ by case no more than FAT lets them.
    pub fn file(&self, path: &str) -> Result<&[u8]> {
        let found = self.files.iter().find(|(name, _)| name.eq_ignore_ascii_case(path));
        let found = found.with_context(|| format!("the boot partition of {} has no file {path}", self.image.display()));
        found.map(|(_, bytes)| bytes.as_slice())
    }

    /// A text file's content.
    pub fn text(&self, path: &str) -> Result<&str> {
        std::str::from_utf8(self.file(path)?).with_context(|| format!("{path} is no text"))
    }

    /// Bytes in all files.
    pub fn bytes(&self) -> u64 {
        self.files.values().map(|bytes| bytes.len() as u64).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_image_is_said_so_by_name() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), vec![0; 4096]).unwrap();
        let error = format!("{:#}", Esp::read(file.path()).unwrap_err());
        assert!(error.contains("cannot read the partition table of"), "{error}");
    }
}
