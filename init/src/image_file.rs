//! JSON files that imager puts into the image. A damaged one is a damaged image, so the advice is always the same.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

/// Why such a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ImageFileError {
    /// The file cannot be read.
    #[error("cannot read {}: rebuild the image", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what imager writes.
    #[error("cannot understand {}: rebuild the image", path.display())]
    Parse {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
}

/// Reads one.
pub fn load<T: DeserializeOwned>(path: &Path) -> Result<T, ImageFileError> {
    let bytes = std::fs::read(path).map_err(|source| ImageFileError::Read { path: path.to_owned(), source })?;
    serde_json::from_slice(&bytes).map_err(|source| ImageFileError::Parse { path: path.to_owned(), source })
}
