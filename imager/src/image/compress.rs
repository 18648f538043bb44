//! zstd, the only compression an image uses, with results kept between builds. The same bytes and level give the same result always.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::digest::Digest;
use crate::cache::{DerivedCache, Lookup};
use crate::progress::{Event, Progress};

/// A quick first try; what it cannot shrink is compressed already, and the slow level would only cost time.
const PROBE_LEVEL: i32 = 1;
/// Compressed to more than this share of its size: not worth the slow level.
const HOPELESS_PERCENT: usize = 97;

/// Why bytes cannot be compressed.
#[derive(Debug, thiserror::Error)]
#[error("cannot compress {bytes} bytes with zstd at level {level}")]
pub struct CompressError {
    bytes: usize,
    level: i32,
    source: std::io::Error,
}

/// Compresses at one level; remembers results in memory and in a cache. Shared by threads.
pub struct Compressor {
    level: i32,
    cache: DerivedCache,
    memory: Mutex<HashMap<Digest, Arc<[u8]>>>,
    warnings: Mutex<BTreeSet<String>>,
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compressor").field("level", &self.level).finish_non_exhaustive()
    }
}

/// What another thread was doing when it panicked does not matter: entries are whole or not there.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Compressor {
    /// Compresses at `level` (1 to 22), keeping results in `cache`.
    pub fn new(level: i32, cache: DerivedCache) -> Self {
        Self { level, cache, memory: Mutex::default(), warnings: Mutex::default() }
    }

    /// The level.
    pub fn level(&self) -> i32 {
        self.level
    }

    /// One zstd frame with the size of its content, from memory, the cache, or made now.
    pub fn compress(&self, bytes: &[u8]) -> Result<Arc<[u8]>, CompressError> {
        let key = self.key(bytes);
        if let Some(known) = lock(&self.memory).get(&key) {
            return Ok(Arc::clone(known));
        }
        match self.find_or_make(&key, bytes)? {
            Made::Slowly(made) => {
                let made: Arc<[u8]> = made.into();
                lock(&self.memory).insert(key, Arc::clone(&made));
                Ok(made)
            }
            Made::Quickly(made) => Ok(made.into()),
        }
    }

    /// Forgets what is in memory, and says once what went wrong with the cache.
    pub fn finish(&self, progress: &dyn Progress) {
        lock(&self.memory).clear();
        for message in std::mem::take(&mut *lock(&self.warnings)) {
            progress.event(Event::Warn { message: &message });
        }
    }

    fn key(&self, bytes: &[u8]) -> Digest {
        let content = Digest::of(bytes);
        let version = zstd::zstd_safe::version_number().to_le_bytes();
        Digest::of_parts("skerry zstd frame 1", [&version[..], &self.level.to_le_bytes(), content.as_bytes()])
    }

    fn find_or_make(&self, key: &Digest, bytes: &[u8]) -> Result<Made, CompressError> {
        match self.cache.get(key) {
            Lookup::Hit(known) => return Ok(Made::Slowly(known)),
            Lookup::Miss => {}
            Lookup::Damaged(path) => {
                self.warn(format!("the cache entry {} was damaged; it is made again", path.display()));
            }
        }
        let probe = zstd_frame(bytes, PROBE_LEVEL)?;
        if self.level <= PROBE_LEVEL || probe.len() * 100 > bytes.len() * HOPELESS_PERCENT {
            return Ok(Made::Quickly(probe));
        }
        let made = zstd_frame(bytes, self.level)?;
        if let Err(error) = self.cache.put(key, &made) {
            self.warn(format!("cannot keep compressed bytes in the cache ({error}); the next build will be as slow"));
        }
        Ok(Made::Slowly(made))
    }

    fn warn(&self, message: String) {
        lock(&self.warnings).insert(message);
    }
}

/// A result, by what it cost.
enum Made {
    /// Worth remembering.
    Slowly(Vec<u8>),
    /// Made again sooner than remembered: images that are compressed already would fill the memory.
    Quickly(Vec<u8>),
}

fn zstd_frame(bytes: &[u8], level: i32) -> Result<Vec<u8>, CompressError> {
    zstd::bulk::compress(bytes, level).map_err(|source| CompressError { bytes: bytes.len(), level, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cached_and_fresh_results_are_the_same() {
        let folder = tempfile::tempdir().expect("temp folder");
        let text = "the same words again and again ".repeat(500);
        let cold = Compressor::new(9, DerivedCache::at(folder.path())).compress(text.as_bytes()).expect("compressed");
        let warm = Compressor::new(9, DerivedCache::at(folder.path())).compress(text.as_bytes()).expect("compressed");
        let fresh = Compressor::new(9, DerivedCache::none()).compress(text.as_bytes()).expect("compressed");
        assert_eq!(cold, warm);
        assert_eq!(cold, fresh);
        assert_eq!(zstd::bulk::decompress(&cold, 1 << 20).expect("decompressed"), text.as_bytes());
    }

    #[test]
    fn levels_do_not_share_entries() {
        let folder = tempfile::tempdir().expect("temp folder");
        let text: Vec<u8> = (0..200_000u32).flat_map(|n| (n.wrapping_mul(n) / 7 % 50_021).to_le_bytes()).collect();
        let quick = Compressor::new(1, DerivedCache::at(folder.path())).compress(&text).expect("compressed");
        let slow = Compressor::new(15, DerivedCache::at(folder.path())).compress(&text).expect("compressed");
        assert!(slow.len() < quick.len(), "{} against {}", slow.len(), quick.len());
    }
}
