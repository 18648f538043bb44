//! What a run leaves behind: one folder per guest below `target/vm-logs`, made anew at each run.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::places;

/// The log folder of one guest.
#[derive(Debug, Clone)]
pub struct Logs {
    folder: PathBuf,
}

impl Logs {
    /// Empties and opens the folder of the guest called `name`.
    pub fn fresh(name: &str) -> io::Result<Self> {
        let folder = places::target().join("vm-logs").join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        Ok(Self { folder })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A file in the folder.
    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    /// Creates a file of the `run`th start of the guest, such as `1-console.log`.
    pub fn create(&self, run: u32, file: &str) -> io::Result<File> {
        File::create(self.path(&format!("{run}-{file}")))
    }
}
