//! The cache of fetched and unpacked files (what is derived by more than unpacking lies in [`crate::cache`]), each under the SHA-256 of its content.
//!
//! A file is hashed again every time it is used, and a file that no longer has its name's content is never handed out. New files appear
//! by rename, so several processes may share a cache.

use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::digest::{Digest, Hasher, of_file};
use crate::draft::Draft;

/// Environment variable that names the cache's folder.
pub const CACHE_VARIABLE: &str = "SKERRY_CACHE";

/// A cache folder.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

/// What a look into the cache finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The file, with the right content at this moment.
    Good(PathBuf),
    /// Nothing.
    Nothing,
    /// A file with other content; it was removed.
    Corrupt(PathBuf),
}

/// Why the cache cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// No folder is named and there is no home folder.
    #[error("cannot tell where to keep fetched components: set {CACHE_VARIABLE} to a folder")]
    NoFolder,
    /// Its disk is full.
    #[error(
        "cannot use the cache at {}: no space left on its disk; free some, or name another folder with --cache or {CACHE_VARIABLE}",
        path.display()
    )]
    Full {
        /// The file or folder.
        path: PathBuf,
    },
    /// A file or folder of it cannot be read or written.
    #[error("cannot use the cache at {}; name another folder with --cache or {CACHE_VARIABLE}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Cache {
    /// The cache at `SKERRY_CACHE`, else in `XDG_CACHE_HOME`, else in `~/.cache`.
    pub fn from_environment() -> Result<Self, CacheError> {
        let root = folder(|name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from));
        root.ok_or(CacheError::NoFolder).map(Self::at)
    }

    /// The cache in a folder; it is made when first written to.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder, for messages and for others that keep things beside ours.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where content of this hash lies, if it is there.
    pub fn path(&self, digest: Digest) -> PathBuf {
        self.root.join("sha256").join(digest.to_string())
    }

    /// Looks for content and checks it. A corrupt file is removed, and named so that the caller can say so.
    pub fn look(&self, digest: Digest) -> Result<Found, CacheError> {
        let path = self.path(digest);
        match of_file(&path) {
            Ok(found) if found == digest => Ok(Found::Good(path)),
            Ok(_) => match std::fs::remove_file(&path) {
                Ok(()) => Ok(Found::Corrupt(path)),
                // Another process was quicker.
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(Found::Corrupt(path)),
                Err(source) => Err(io_error(&path)(source)),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Found::Nothing),
            Err(source) => Err(io_error(&path)(source)),
        }
    }

    /// A new file that goes into the cache by [`Entry::keep`], or disappears.
    pub fn entry(&self) -> Result<Entry, CacheError> {
        let folder = self.root.join("sha256");
        std::fs::create_dir_all(&folder).map_err(io_error(&folder))?;
        let draft = Draft::create(&folder).map_err(io_error(&folder))?;
        Ok(Entry { draft, hash: Hasher::new() })
    }

    /// Puts bytes into the cache. What is there already is not written again, so that a full cache may be read-only.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest, CacheError> {
        let digest = Digest::of(bytes);
        if let Found::Good(_) = self.look(digest)? {
            return Ok(digest);
        }
        let mut entry = self.entry()?;
        entry.write_all(bytes).map_err(|source| self.failure(source))?;
        entry.keep(self)
    }

    /// The cache's error for an I/O error while something is written to it.
    pub fn failure(&self, source: io::Error) -> CacheError {
        io_error(&self.root)(source)
    }
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> CacheError + use<> {
    let path = path.to_owned();
    |source| match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => CacheError::Full { path },
        _ => CacheError::Io { path, source },
    }
}

fn folder(environment: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    environment(CACHE_VARIABLE)
        .or_else(|| environment("XDG_CACHE_HOME").map(|folder| folder.join("skerry")))
        .or_else(|| environment("HOME").map(|folder| folder.join(".cache/skerry")))
}

/// A file on its way into the cache.
pub struct Entry {
    draft: Draft,
    hash: Hasher,
}

impl Write for Entry {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.draft.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.draft.flush()
    }
}

impl Entry {
    /// Keeps the file under the hash of what was written.
    pub fn keep(self, cache: &Cache) -> Result<Digest, CacheError> {
        let digest = self.hash.finish();
        let path = cache.path(digest);
        self.draft.publish(&path).map_err(io_error(&path))?;
        Ok(digest)
    }

    /// Keeps the file only if it has the hash expected; otherwise it disappears and the hash found is returned as the error.
    pub fn keep_if(self, cache: &Cache, expected: Digest) -> Result<Result<PathBuf, Digest>, CacheError> {
        let found = self.hash.clone().finish();
        if found != expected {
            return Ok(Err(found));
        }
        self.keep(cache).map(|digest| Ok(cache.path(digest)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache() -> (tempfile::TempDir, Cache) {
        let folder = tempfile::tempdir().expect("folder");
        let cache = Cache::at(folder.path().join("deep/cache"));
        (folder, cache)
    }

    #[test]
    fn corrupt_files_are_removed_and_named() {
        let (_folder, cache) = cache();
        let digest = cache.put(b"right").expect("put");
        let path = cache.path(digest);
        assert_eq!(cache.look(digest).expect("look"), Found::Good(path.clone()));
        std::fs::write(&path, b"wrong").expect("tampered");
        assert_eq!(cache.look(digest).expect("look"), Found::Corrupt(path.clone()));
        assert!(!path.exists());
        assert_eq!(cache.look(digest).expect("look"), Found::Nothing);
    }

    #[test]
    fn a_read_only_cache_that_has_everything_will_do() {
        let (_folder, cache) = cache();
        let digest = cache.put(b"right").expect("put");
        let before = std::fs::metadata(cache.path(digest)).expect("there").modified().expect("a time");
        assert_eq!(cache.put(b"right").expect("nothing to write"), digest);
        assert_eq!(std::fs::metadata(cache.path(digest)).expect("there").modified().expect("a time"), before);
    }

    #[test]
    fn a_full_disk_says_what_to_do() {
        let (_folder, cache) = cache();
        let error = cache.failure(io::Error::from(ErrorKind::StorageFull)).to_string();
        assert!(error.contains("no space left") && error.contains("--cache"), "{error}");
    }

    #[test]
    fn content_with_another_hash_is_not_kept() {
        let (_folder, cache) = cache();
        let mut entry = cache.entry().expect("entry");
        entry.write_all(b"other").expect("written");
        assert_eq!(entry.keep_if(&cache, Digest::of(b"expected")).expect("no I/O error"), Err(Digest::of(b"other")));
        assert_eq!(std::fs::read_dir(cache.root().join("sha256")).expect("folder").count(), 0);
    }

    #[test]
    fn the_folder_is_named_by_the_environment() {
        let with = |pairs: &[(&str, &str)]| {
            folder(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| PathBuf::from(value)))
        };
        let all = [("SKERRY_CACHE", "/c"), ("XDG_CACHE_HOME", "/x"), ("HOME", "/h")];
        assert_eq!(with(&all), Some("/c".into()));
        assert_eq!(with(&all[1..]), Some("/x/skerry".into()));
        assert_eq!(with(&all[2..]), Some("/h/.cache/skerry".into()));
        assert_eq!(with(&[]), None);
    }

    #[test]
    fn a_cache_that_cannot_be_made_names_its_path() {
        let error = Cache::at("/proc/no-such/cache").put(b"x").expect_err("proc takes no folders");
        assert!(error.to_string().contains("/proc/no-such/cache"), "{error}");
    }
}
