//! What commands that use components are told, and the files and cache those options name.

use std::path::PathBuf;

use super::cache::{Cache, CacheError};
use super::lockfile::{Lock, LockfileError};
use super::manifest::{Manifest, ManifestError};
use super::mirror::MirrorChoice;
use super::select::Wishes;

/// Which components, from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentOptions {
    /// components.toml.
    pub manifest: PathBuf,
    /// components.lock.
    pub lock: PathBuf,
    /// The cache's folder; none: the environment's.
    pub cache: Option<PathBuf>,
    /// Archives, for what is not in the cache.
    pub mirrors: MirrorChoice,
    /// Components given by path or left out.
    pub wishes: Wishes,
}

/// Why the options lead nowhere.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// components.toml is bad.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// components.lock is bad.
    #[error(transparent)]
    Lockfile(#[from] LockfileError),
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

/// The files that options name, read.
#[derive(Debug, Clone)]
pub struct Opened {
    /// components.toml.
    pub manifest: Manifest,
    /// components.lock.
    pub lock: Lock,
    /// The cache.
    pub cache: Cache,
}

impl ComponentOptions {
    /// Reads the files.
    pub fn open(&self) -> Result<Opened, OptionsError> {
        let (manifest, lock) = (Manifest::load(&self.manifest)?, Lock::load(&self.lock)?);
        Ok(Opened { manifest, lock, cache: open_cache(self.cache.clone())? })
    }
}

/// The cache of an option, else the environment's.
pub fn open_cache(folder: Option<PathBuf>) -> Result<Cache, CacheError> {
    folder.map_or_else(Cache::from_environment, |folder| Ok(Cache::at(folder)))
}
