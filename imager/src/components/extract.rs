//! What is taken out of a package: files by glob, each stored in the cache under its own hash, with the facts later steps need.
//!
//! Taking a large kernel package apart costs ten seconds; the outcome is remembered by package hash and globs, so a second build takes none.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use serde::{Deserialize, Serialize};

use super::cache::{Cache, CacheError, Found};
use super::copy::{CopyError, copy};
use super::deb::{self, DebError, Kind};
use super::digest::{Digest, of_file};
use super::elf::{self, ElfFacts};
use crate::cache::{DerivedCache, Lookup};
use crate::progress::{Event, Progress};

/// One taken file or link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Item {
    /// A regular file.
    File {
        /// Its content, in the cache under this hash.
        sha256: Digest,
        /// Whether it is a program or script.
        executable: bool,
        /// What it needs to start, when it is ELF.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        elf: Option<ElfFacts>,
    },
    /// A symbolic link.
    Link {
        /// What it points at, as stored.
        target: String,
    },
}

/// Taken files by path: no leading `/`, merged-usr.
pub type Items = BTreeMap<String, Item>;

/// Why nothing can be taken from a package or folder.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// The package cannot be opened.
    #[error("cannot read {}", path.display())]
    Read {
        /// The package, folder or file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is neither a file nor a folder, and reading it might never end.
    #[error("cannot read {}: it is not a regular file", path.display())]
    NotAFile {
        /// The device, pipe or socket.
        path: PathBuf,
    },
    /// Two files of a folder want one path: `bin/x` and `usr/bin/x` are the same in an image.
    #[error("cannot use {}: it holds two different files for `{within}`, where /bin, /sbin and /lib are those of /usr", folder.display())]
    Twice {
        /// The folder.
        folder: PathBuf,
        /// The path in the image.
        within: String,
    },
    /// The package cannot be read.
    #[error("cannot take files from {what}")]
    Deb {
        /// The package.
        what: String,
        /// Why.
        source: DebError,
    },
    /// A program in it is broken.
    #[error("cannot use {file}")]
    Elf {
        /// The file; of a package, also which one.
        file: String,
        /// Why.
        source: elf::ElfError,
    },
    /// A glob is malformed.
    #[error("cannot use the glob `{glob}`")]
    Glob {
        /// As written in components.toml.
        glob: String,
        /// Why.
        source: globset::Error,
    },
    /// The cache failed.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

/// Globs compiled once; `*` stays within a folder, `**` does not.
pub fn glob_set(globs: &[String]) -> Result<GlobSet, ExtractError> {
    let mut set = GlobSetBuilder::new();
    let failed = |glob: &str| {
        let glob = glob.to_owned();
        move |source| ExtractError::Glob { glob, source }
    };
    for glob in globs {
        set.add(GlobBuilder::new(glob).literal_separator(true).build().map_err(failed(glob))?);
    }
    set.build().map_err(failed(&globs.join(" ")))
}

/// Takes things apart and remembers the outcome.
pub struct Extractor<'a> {
    cache: &'a Cache,
    memory: DerivedCache,
    progress: &'a dyn Progress,
}

impl<'a> Extractor<'a> {
    /// An extractor that keeps files in `cache`.
    pub fn new(cache: &'a Cache, progress: &'a dyn Progress) -> Self {
        Self { cache, memory: DerivedCache::at(&cache.root().join("derived")), progress }
    }

    /// What a package gives for these globs. `package` is called only when the outcome is not in the cache. `what` names it.
    pub fn take<E: From<ExtractError>>(
        &self,
        what: &str,
        digest: Digest,
        globs: &[String],
        package: impl FnOnce() -> Result<PathBuf, E>,
    ) -> Result<Items, E> {
        let key = self.key(digest, globs);
        if let Some(items) = self.recall(what, &key)? {
            return Ok(items);
        }
        let path = package()?;
        let step = format!("unpack {what}");
        self.progress.event(Event::Begin { step: &step, total_bytes: None });
        let items = self.take_apart(what, &path, &glob_set(globs)?)?;
        self.progress.event(Event::End { step: &step });
        self.remember(&key, &items);
        Ok(items)
    }

    /// A value computed from a package, remembered by the package's hash and the computation's name (which carries a version).
    pub fn derive<T: Serialize + for<'de> Deserialize<'de>, E>(
        &self,
        name: &str,
        digest: Digest,
        compute: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let key = Digest::of_parts(name, [digest.as_bytes().as_slice()]);
        if let Some(value) = self.memory(name, &key) {
            return Ok(value);
        }
        let value = compute()?;
        self.remember(&key, &value);
        Ok(value)
    }

    /// The outcome of a folder laid out like a package's content: everything in it.
    pub fn take_folder(&self, folder: &Path) -> Result<Items, ExtractError> {
        let mut items = Items::new();
        self.walk(folder, String::new(), &mut items)?;
        Ok(items)
    }

    /// One file of the build machine as an item.
    pub fn take_file(&self, path: &Path, executable: bool) -> Result<Item, ExtractError> {
        self.store(&path.display().to_string(), executable, &mut open_regular(path)?)
    }

    /// A file that is in the cache already, as an item.
    pub fn cached_file(&self, sha256: Digest, executable: bool) -> Result<Item, ExtractError> {
        let path = self.cache.path(sha256);
        let elf = self.derive("ELF facts 1", sha256, || {
            let bytes = std::fs::read(&path).map_err(|source| ExtractError::Read { path: path.clone(), source })?;
            elf::read(&bytes).map_err(|source| ExtractError::Elf { file: path.display().to_string(), source })
        })?;
        Ok(Item::File { sha256, executable, elf })
    }

    fn walk(&self, folder: &Path, prefix: String, items: &mut Items) -> Result<(), ExtractError> {
        let read = |source| ExtractError::Read { path: folder.into(), source };
        for entry in std::fs::read_dir(folder).map_err(read)? {
            let entry = entry.map_err(read)?;
            let name = entry.file_name().into_string().map_err(|_| read(io::Error::other("a name in it is not UTF-8")))?;
            let (path, within) = (entry.path(), format!("{prefix}{name}"));
            let kind = entry.file_type().map_err(read)?;
            if kind.is_dir() {
                self.walk(&path, format!("{within}/"), items)?;
                continue;
            }
            let item = if kind.is_symlink() {
                let target = std::fs::read_link(&path).map_err(read)?.into_os_string().into_string();
                Item::Link { target: target.map_err(|_| read(io::Error::other("the target of a link in it is not UTF-8")))? }
            } else {
                let mode = std::os::unix::fs::PermissionsExt::mode(&entry.metadata().map_err(read)?.permissions());
                self.take_file(&path, mode & 0o111 != 0)?
            };
            let within = deb::merged_usr(&within);
            if items.get(&within).is_some_and(|other| *other != item) {
                return Err(ExtractError::Twice { folder: folder.into(), within });
            }
            items.insert(within, item);
        }
        Ok(())
    }

    fn key(&self, digest: Digest, globs: &[String]) -> Digest {
        let globs = globs.iter().map(|glob| glob.as_bytes());
        Digest::of_parts("extract 1", std::iter::once(digest.as_bytes().as_slice()).chain(globs))
    }

    /// The remembered outcome, if every file of it is still good.
    fn recall(&self, what: &str, key: &Digest) -> Result<Option<Items>, ExtractError> {
        let Some(items) = self.memory::<Items>(what, key) else { return Ok(None) };
        for item in items.values() {
            if let Item::File { sha256, .. } = item {
                match self.cache.look(*sha256)? {
                    Found::Good(_) => {}
                    Found::Nothing => return Ok(None),
                    Found::Corrupt(path) => {
                        let message = format!("removed the corrupt cache file {}; unpacking {what} again", path.display());
                        self.progress.event(Event::Warn { message: &message });
                        return Ok(None);
                    }
                }
            }
        }
        Ok(Some(items))
    }

    /// What is remembered under a key, if it is whole. `what` is about to be made again otherwise.
    fn memory<T: for<'de> Deserialize<'de>>(&self, what: &str, key: &Digest) -> Option<T> {
        match self.memory.get(key) {
            Lookup::Hit(bytes) => serde_json::from_slice(&bytes).ok(),
            Lookup::Miss => None,
            Lookup::Damaged(path) => {
                let message = format!("removed the corrupt cache file {}; reading {what} again", path.display());
                self.progress.event(Event::Warn { message: &message });
                None
            }
        }
    }

    fn remember(&self, key: &Digest, value: &impl Serialize) {
        let bytes = serde_json::to_vec(value).expect("facts have a JSON form");
        if let Err(error) = self.memory.put(key, &bytes) {
            let message = format!("cannot keep what was unpacked ({error}); the next build will unpack it again");
            self.progress.event(Event::Warn { message: &message });
        }
    }

    fn take_apart(&self, what: &str, package: &Path, globs: &GlobSet) -> Result<Items, ExtractError> {
        let file = File::open(package).map_err(|source| ExtractError::Read { path: package.into(), source })?;
        let mut items = Items::new();
        let taken = deb::read(BufReader::new(file), |path, kind, bytes| {
            if globs.is_match(path) {
                let item = self.item(what, path, kind, bytes, &items)?;
                items.insert(path.to_owned(), item);
            }
            Ok::<_, Failure>(())
        });
        match taken {
            Ok(()) => Ok(items),
            Err(Failure::Deb(source)) => Err(ExtractError::Deb { what: what.into(), source }),
            Err(Failure::Extract(error)) => Err(error),
        }
    }

    fn item(&self, what: &str, path: &str, kind: Kind, bytes: &mut dyn Read, taken: &Items) -> Result<Item, Failure> {
        match kind {
            Kind::File { executable } => Ok(self.store(&format!("{path} of {what}"), executable, bytes)?),
            Kind::Symlink { target } => Ok(Item::Link { target }),
            Kind::HardLink { target } => taken.get(&target).cloned().ok_or_else(|| {
                let reason = format!("`{path}` is another name of `{target}`, which is not taken");
                Failure::Deb(DebError::Broken(io::Error::other(reason)))
            }),
        }
    }

    /// Puts a file's bytes into the cache and reads its ELF facts.
    fn store(&self, file: &str, executable: bool, bytes: &mut dyn Read) -> Result<Item, ExtractError> {
        let broken = |source| ExtractError::Read { path: file.into(), source };
        let mut content = Vec::new();
        Read::take(&mut *bytes, elf::MAGIC.len() as u64).read_to_end(&mut content).map_err(broken)?;
        let mut entry = self.cache.entry()?;
        if content == elf::MAGIC {
            bytes.read_to_end(&mut content).map_err(broken)?;
        }
        let elf = elf::read(&content).map_err(|source| ExtractError::Elf { file: file.into(), source })?;
        copy(&mut content.as_slice().chain(bytes), &mut entry, u64::MAX, |_| ()).map_err(|error| match error {
            CopyError::Read(source) => broken(source),
            CopyError::Write(source) => self.cache.failure(source).into(),
            CopyError::Long => broken(io::Error::from(io::ErrorKind::FileTooLarge)),
        })?;
        Ok(Item::File { sha256: entry.keep(self.cache)?, executable, elf })
    }
}

/// Opens a file of the build machine, and nothing that could block or never end.
fn open_regular(path: &Path) -> Result<File, ExtractError> {
    let read = |source| ExtractError::Read { path: path.into(), source };
    match std::fs::metadata(path).map_err(read)?.is_file() {
        true => File::open(path).map_err(read),
        false => Err(ExtractError::NotAFile { path: path.into() }),
    }
}

/// What may go wrong while a package is being read, before it has a name.
enum Failure {
    Deb(DebError),
    Extract(ExtractError),
}

impl From<DebError> for Failure {
    fn from(error: DebError) -> Self {
        Self::Deb(error)
    }
}

impl From<ExtractError> for Failure {
    fn from(error: ExtractError) -> Self {
        Self::Extract(error)
    }
}

/// The digest of a package given by path rather than locked.
pub fn digest_of(path: &Path) -> Result<Digest, ExtractError> {
    open_regular(path)?;
    of_file(path).map_err(|source| ExtractError::Read { path: path.into(), source })
}

#[cfg(test)]
mod tests;
