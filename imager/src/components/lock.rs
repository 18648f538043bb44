//! `imager lock`: resolves components.toml against the archives as they are now and writes components.lock.
//!
//! Every byte that decides is vouched for by a signed Release file. Library packages are found by what the taken programs really load: a package is
//! looked into only when one of its dependents asks for a library that is still missing. The same archives give the same lock.

mod resolver;

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;

use super::archive::{ArchiveError, ArchiveState, Freshness, Verifier};
use super::cache::CacheError;
use super::closure::WrongArchitecture;
use super::extract::{ExtractError, Extractor};
use super::fetch::{FetchError, Fetcher};
use super::lockfile::{Lock, LockedRelease, LockfileError};
use super::manifest::{Manifest, ManifestError};
use super::mirror::MirrorChoice;
use super::options::open_cache;
use super::place::PlaceError;
use super::release::parse_date;
use super::{gpgv, version};
use crate::board::Architecture;
use crate::progress::Progress;
use resolver::Resolver;

/// What to lock, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockOptions {
    /// components.toml.
    pub manifest: PathBuf,
    /// components.lock, to be written.
    pub lock: PathBuf,
    /// The cache's folder; none: the environment's.
    pub cache: Option<PathBuf>,
    /// Archives.
    pub mirrors: MirrorChoice,
    /// `--allow-expired`: believe Release files past their own limit.
    pub allow_expired: bool,
}

/// What a run of `imager lock` did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockReport {
    /// Packages locked, libraries included.
    pub packages: usize,
    /// One line for each package that came, went or changed its version.
    pub changes: Vec<String>,
}

/// Why there is no new lock.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// components.toml is bad.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The lock cannot be written.
    #[error(transparent)]
    Lockfile(#[from] LockfileError),
    /// The archives cannot be read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A package cannot be had.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// A package cannot be read.
    #[error(transparent)]
    Extract(#[from] ExtractError),
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// A package lacks what is to be taken.
    #[error("cannot place the files of component `{component}`")]
    Place {
        /// The component.
        component: String,
        /// Why.
        source: PlaceError,
    },
    /// The archive shows an older state than was locked before: somebody may be holding updates back.
    #[error(
        "cannot lock {suite}: the archive shows its state of {found}, components.lock was made from that of {locked}; use a mirror that is \
         up to date, or say `--allow-expired` if this old state is what you want"
    )]
    Older {
        /// The suite.
        suite: String,
        /// The date locked.
        locked: String,
        /// The date found.
        found: String,
    },
    /// No suite has the package.
    #[error("cannot find package `{package}` of component `{component}` for {architecture} in {suites}")]
    NoPackage {
        /// The component.
        component: String,
        /// The package, or the pattern to follow.
        package: String,
        /// The architecture.
        architecture: Architecture,
        /// The suites looked into, joined by commas.
        suites: String,
    },
    /// A program is for another architecture.
    #[error(transparent)]
    Architecture(#[from] WrongArchitecture),
    /// Nobody gives a library.
    #[error("cannot find a package that gives {wanted} to {by}: looked into {looked}")]
    NoLibrary {
        /// The library.
        wanted: String,
        /// The file that needs it.
        by: String,
        /// The packages looked into, joined by commas.
        looked: String,
    },
}

/// Resolves and writes the lock.
pub fn run(options: &LockOptions, progress: &dyn Progress) -> Result<LockReport, LockError> {
    run_with(options, progress, &gpgv::verify)
}

/// The same with another judge of signatures, for tests.
pub(super) fn run_with(options: &LockOptions, progress: &dyn Progress, verify: Verifier<'_>) -> Result<LockReport, LockError> {
    run_at(options, progress, verify, Timestamp::now())
}

fn run_at(options: &LockOptions, progress: &dyn Progress, verify: Verifier<'_>, now: Timestamp) -> Result<LockReport, LockError> {
    let manifest = Manifest::load(&options.manifest)?;
    let cache = open_cache(options.cache.clone())?;
    let fetcher = Fetcher::new(&cache, options.mirrors.clone(), progress);
    let freshness = if options.allow_expired { Freshness::Waived } else { Freshness::Required(now) };
    let archive = ArchiveState::read(&manifest, &fetcher, verify, freshness, progress)?;
    // Without an old lock, or with one that cannot be read, there is nothing to compare with.
    let old = Lock::load(&options.lock).ok();
    if !options.allow_expired {
        old.iter().try_for_each(|old| check_forward(old, archive.releases()))?;
    }
    let resolver = Resolver { archive: &archive, fetcher: &fetcher, extractor: Extractor::new(&cache, progress), progress };

    let mut packages = Vec::new();
    let mut libraries = Vec::new();
    for architecture in [Architecture::X86_64, Architecture::Aarch64] {
        let (own, theirs) = resolver.resolve(&manifest, architecture)?;
        packages.extend(own);
        libraries.extend(theirs);
    }
    let lock = Lock::new(archive.releases().to_vec(), packages, libraries);
    let changes = old.map(|old| changes(&old, &lock)).unwrap_or_default();
    lock.save(&options.lock)?;
    Ok(LockReport { packages: lock.package.len() + lock.library.len(), changes })
}

/// Refuses to go back in time: an old Release file is signed as well as a new one, and many have no limit of their own.
fn check_forward(old: &Lock, found: &[LockedRelease]) -> Result<(), LockError> {
    for new in found {
        let same = old.release.iter().find(|locked| locked.suite == new.suite && locked.archive == new.archive);
        let Some(locked) = same.filter(|locked| parse_date(&locked.date) > parse_date(&new.date)) else { continue };
        let (locked, found) = (locked.date.clone(), new.date.clone());
        return Err(LockError::Older { suite: new.suite.clone(), locked, found });
    }
    Ok(())
}

fn changes(old: &Lock, new: &Lock) -> Vec<String> {
    let versions = |lock: &Lock| -> BTreeMap<(Architecture, String), String> {
        let own = lock.package.iter().map(|package| (package.architecture, package.name_for_people(), &package.deb.version));
        let libraries =
            lock.library.iter().map(|library| (library.architecture, library.name_for_people(), &library.deb.version));
        own.chain(libraries).map(|(arch, name, version)| ((arch, name), version.clone())).collect()
    };
    let (old, new) = (versions(old), versions(new));
    let mut lines = Vec::new();
    for ((arch, name), version) in &new {
        match old.get(&(*arch, name.clone())) {
            None => lines.push(format!("{name} {version} is new ({arch})")),
            Some(before) if before == version => {}
            Some(before) => {
                let way = if version::compare(before, version).is_lt() { "up" } else { "DOWN" };
                lines.push(format!("{name} {way} from {before} to {version} ({arch})"));
            }
        }
    }
    lines
        .extend(old.iter().filter(|(key, _)| !new.contains_key(key)).map(|((arch, name), _)| format!("{name} is gone ({arch})")));
    lines
}

#[cfg(test)]
mod tests;
