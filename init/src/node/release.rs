//! `/skerry/release.json`: what this image is, as imager wrote it.

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// What this image is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Release {
    /// Version of Skerry.
    pub version: String,
    /// Board the image was built for.
    pub board: String,
    /// Architecture, e.g. `x86_64`.
    pub architecture: String,
    /// Seconds since 1970 below which the clock is certainly wrong.
    pub build_time_floor: u64,
}

/// Why the release file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
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

impl Release {
    /// Where it lies in the root file system.
    pub const PATH: &'static str = "/skerry/release.json";

    /// Reads it.
    pub fn load(path: &Path) -> Result<Self, ReleaseError> {
        let bytes = std::fs::read(path).map_err(|source| ReleaseError::Read { path: path.to_owned(), source })?;
        serde_json::from_slice(&bytes).map_err(|source| ReleaseError::Parse { path: path.to_owned(), source })
    }

    /// What a device says of itself when its release file is damaged: this binary's version, and no floor.
    pub fn unknown() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            board: "unknown".to_owned(),
            architecture: std::env::consts::ARCH.to_owned(),
            build_time_floor: 0,
        }
    }
}
