//! `/skerry/release.json`: what this image is, as imager wrote it.

use std::path::Path;

use serde::Deserialize;

use crate::image_file::{self, ImageFileError};

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

impl Release {
    /// Where it lies in the root file system.
    pub const PATH: &'static str = "/skerry/release.json";

    /// Reads it.
    pub fn load(path: &Path) -> Result<Self, ImageFileError> {
        image_file::load(path)
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
