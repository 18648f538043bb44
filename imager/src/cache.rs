//! Derived bytes kept between builds: compressed blocks, by the digest of what they were made from.
//!
//! An entry carries the digest of its own bytes and is checked at every use; a damaged one is dropped and made again. The cache may be deleted
//! at any time, and a cache that cannot be written costs time, never correctness.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::draft::{Draft, folder_of};
use crate::image::digest::Digest;

const DIGEST_BYTES: usize = 32;

/// A folder of derived bytes; or none, then nothing is kept.
#[derive(Debug, Clone, Default)]
pub struct DerivedCache {
    folder: Option<PathBuf>,
}

/// What the cache has for a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// The bytes, checked.
    Hit(Vec<u8>),
    /// Nothing.
    Miss,
    /// An entry that was damaged and is gone now.
    Damaged(PathBuf),
}

impl DerivedCache {
    /// Keeps nothing.
    pub fn none() -> Self {
        Self::default()
    }

    /// Keeps entries below `folder`, which is made when it is first needed.
    pub fn at(folder: &Path) -> Self {
        Self { folder: Some(folder.to_owned()) }
    }

    /// Looks a key up.
    pub fn get(&self, key: &Digest) -> Lookup {
        let Some(path) = self.path(key) else { return Lookup::Miss };
        let Ok(mut bytes) = std::fs::read(&path) else { return Lookup::Miss };
        if bytes.len() >= DIGEST_BYTES && Digest::of(&bytes[DIGEST_BYTES..]).as_bytes() == &bytes[..DIGEST_BYTES] {
            bytes.drain(..DIGEST_BYTES);
            return Lookup::Hit(bytes);
        }
        // Policy: an entry that cannot be removed either is overwritten by the next `put`.
        std::fs::remove_file(&path).ok();
        Lookup::Damaged(path)
    }

    /// Keeps bytes under a key. Fails only for the caller to say that builds will stay slow.
    pub fn put(&self, key: &Digest, bytes: &[u8]) -> std::io::Result<()> {
        let Some(path) = self.path(key) else { return Ok(()) };
        let folder = folder_of(&path);
        std::fs::create_dir_all(folder)?;
        let mut draft = Draft::create(folder)?;
        draft.write_all(Digest::of(bytes).as_bytes())?;
        draft.write_all(bytes)?;
        draft.publish(&path)
    }

    fn path(&self, key: &Digest) -> Option<PathBuf> {
        let name = key.hex();
        self.folder.as_ref().map(|folder| folder.join(&name[..2]).join(&name[2..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_entry_is_dropped_and_can_be_made_again() {
        let folder = tempfile::tempdir().expect("temp folder");
        let cache = DerivedCache::at(folder.path());
        let key = Digest::of(b"key");
        assert_eq!(cache.get(&key), Lookup::Miss);
        cache.put(&key, b"value").expect("kept");
        assert_eq!(cache.get(&key), Lookup::Hit(b"value".to_vec()));
        let path = cache.path(&key).expect("a folder");
        for damage in [&b""[..], b"short", &[0; 40]] {
            std::fs::write(&path, damage).expect("damaged");
            assert_eq!(cache.get(&key), Lookup::Damaged(path.clone()));
            assert_eq!(cache.get(&key), Lookup::Miss);
        }
        cache.put(&key, b"value").expect("kept");
        assert_eq!(cache.get(&key), Lookup::Hit(b"value".to_vec()));
    }

    #[test]
    fn no_folder_keeps_nothing() {
        let cache = DerivedCache::none();
        cache.put(&Digest::of(b"key"), b"value").expect("nothing to do");
        assert_eq!(cache.get(&Digest::of(b"key")), Lookup::Miss);
    }
}
