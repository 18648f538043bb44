//! `imager lock`: resolves components.toml against the archives as they are now and writes components.lock.
//!
//! Every byte that decides is vouched for by a signed Release file. Library packages are found by what the taken programs really load: a package is
//! looked into only when one of its dependents asks for a library that is still missing. The same archives give the same lock.

use std::collections::BTreeMap;
use std::path::PathBuf;

use globset::GlobBuilder;
use jiff::Timestamp;

use super::arch::expand;
use super::archive::{ArchiveError, ArchiveState, Freshness, Verifier};
use super::cache::CacheError;
use super::closure::{Missing, WrongArchitecture};
use super::extract::{ExtractError, Extractor, Items};
use super::fetch::{FetchError, Fetcher};
use super::index::{Entry, Index};
use super::libraries::{complete, find_in, library_globs};
use super::lockfile::{Lock, LockedDeb, LockedLibrary, LockedPackage, LockedRelease, LockfileError, Users};
use super::manifest::{Component, Manifest, ManifestError, Package, Role};
use super::mirror::MirrorChoice;
use super::options::open_cache;
use super::place::{self, PlaceError};
use super::release::parse_date;
use super::{gpgv, version};
use crate::board::Architecture;
use crate::progress::{Event, Progress};

/// How far from a program's package its libraries are looked for: its dependencies, theirs, and once more.
const SEARCH_DEPTH: usize = 3;

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

struct Resolver<'a> {
    archive: &'a ArchiveState,
    fetcher: &'a Fetcher<'a>,
    extractor: Extractor<'a>,
    progress: &'a dyn Progress,
}

/// Programs that load libraries together.
struct Loading {
    users: Users,
    items: Items,
    /// Who each file came from: suite and package.
    origins: Origins,
}

type Origins = BTreeMap<String, (String, String)>;

impl Loading {
    fn of(users: Users) -> Self {
        Self { users, items: Items::new(), origins: Origins::new() }
    }
}

impl Users {
    /// The role whose programs they are.
    fn role(self) -> Role {
        match self {
            Self::Runtime => Role::Runtime,
            Self::Tools => Role::Tool,
        }
    }
}

impl Resolver<'_> {
    fn resolve(&self, manifest: &Manifest, arch: Architecture) -> Result<(Vec<LockedPackage>, Vec<LockedLibrary>), LockError> {
        let mut packages = Vec::new();
        let mut loading = [Users::Runtime, Users::Tools].map(Loading::of);
        let here = |component: &Component| component.architectures.contains(&arch);
        for (name, component) in manifest.component.iter().filter(|(_, component)| here(component)) {
            for package in &component.package {
                let (locked, items) = self.package(name, component, package, arch)?;
                if let Some(loading) = loading.iter_mut().find(|loading| loading.users.role() == component.role) {
                    let origin = (component.suites[0].clone(), locked.deb.name.clone());
                    loading.origins.extend(items.keys().map(|path| (path.clone(), origin.clone())));
                    let failed = |source| LockError::Place { component: name.clone(), source };
                    place::merge(&mut loading.items, items).map_err(failed)?;
                }
                packages.push(locked);
            }
        }
        let mut libraries = Vec::new();
        for loading in loading {
            libraries.extend(self.libraries(arch, loading)?);
        }
        Ok((packages, libraries))
    }

    /// Locks one package and takes its files, so that a wrong glob shows now.
    fn package(
        &self,
        name: &str,
        component: &Component,
        package: &Package,
        arch: Architecture,
    ) -> Result<(LockedPackage, Items), LockError> {
        let placed = |source| LockError::Place { component: name.into(), source };
        let (suite, entry) = self.find(name, component, package, arch)?;
        let deb = self.archive.locked(suite, entry);
        let given = self.take(&deb, &place::globs(arch, component, package))?;
        let items = place::place_package(arch, package, &given).map_err(placed)?;
        for glob in component.join.values() {
            place::joined(arch, package, glob, &given).map_err(placed)?;
        }
        let wanted = package.wanted(arch);
        Ok((LockedPackage { component: name.into(), architecture: arch, wanted, deb }, items))
    }

    fn find<'a>(
        &'a self,
        name: &str,
        component: &'a Component,
        package: &Package,
        arch: Architecture,
    ) -> Result<(&'a str, &'a Entry), LockError> {
        let none = |package: String| LockError::NoPackage {
            component: name.into(),
            package,
            architecture: arch,
            suites: component.suites.join(", "),
        };
        let wanted = expand(arch, &package.name);
        let mut found = self.archive.newest(&wanted, &component.suites, arch).ok_or_else(|| none(wanted))?;
        for follow in &package.follow {
            let pattern = expand(arch, follow);
            let glob = GlobBuilder::new(&pattern).build();
            let matcher = glob.map_err(|source| ExtractError::Glob { glob: pattern.clone(), source })?.compile_matcher();
            let next = found.1.depends.iter().find(|name| matcher.is_match(name));
            found = next.and_then(|name| self.archive.newest(name, &component.suites, arch)).ok_or_else(|| none(pattern))?;
        }
        Ok(found)
    }

    fn take(&self, deb: &LockedDeb, globs: &[String]) -> Result<Items, LockError> {
        let what = format!("{} {}", deb.name, deb.version);
        self.extractor.take(&what, deb.sha256, globs, || Ok(self.fetcher.deb(deb)?))
    }

    /// Finds the packages that give what programs load.
    fn libraries(&self, arch: Architecture, loading: Loading) -> Result<Vec<LockedLibrary>, LockError> {
        let Loading { users, mut items, mut origins } = loading;
        let step = format!("find libraries for {arch}");
        self.progress.event(Event::Begin { step: &step, total_bytes: None });
        let mut found: BTreeMap<String, LockedLibrary> = BTreeMap::new();
        complete(arch, &mut items, |missing| {
            let (deb, items) = self.provider(arch, missing, &origins)?;
            let origin = (deb.suite.clone(), deb.name.clone());
            origins.extend(items.keys().map(|path| (path.clone(), origin.clone())));
            let library =
                found.entry(deb.name.clone()).or_insert(LockedLibrary { architecture: arch, users, gives: Vec::new(), deb });
            library.gives.extend(items.keys().cloned());
            library.gives.sort();
            library.gives.dedup();
            Ok::<_, LockError>(items)
        })?;
        self.progress.event(Event::End { step: &step });
        Ok(found.into_values().collect())
    }

    fn provider(&self, arch: Architecture, missing: &Missing, origins: &Origins) -> Result<(LockedDeb, Items), LockError> {
        let mut looked = Vec::new();
        let (suite, package) = &origins[&missing.by];
        if let Some(index) = self.archive.index(suite, arch) {
            for entry in candidates(index, package, &missing.wanted) {
                let deb = self.archive.locked(suite, entry);
                let given = self.take(&deb, &library_globs(arch))?;
                if let Some(items) = find_in(arch, missing, &given) {
                    return Ok((deb, items));
                }
                looked.push(deb.name);
            }
        }
        Err(LockError::NoLibrary { wanted: missing.wanted.clone(), by: missing.by.clone(), looked: looked.join(", ") })
    }
}

/// Packages that may give a library to `package`: its dependencies level by level, the likeliest names of each level first, itself last.
fn candidates<'a>(index: &'a Index, package: &'a str, wanted: &str) -> Vec<&'a Entry> {
    let own: Vec<&Entry> = index.satisfying(package);
    let mut order: Vec<&Entry> = Vec::new();
    let mut level = own.clone();
    for _ in 0..SEARCH_DEPTH {
        let mut next: Vec<&Entry> = Vec::new();
        for entry in level.iter().flat_map(|entry| &entry.depends).flat_map(|name| index.satisfying(name)) {
            if !own.contains(&entry) && !order.contains(&entry) && !next.contains(&entry) {
                next.push(entry);
            }
        }
        next.sort_by_key(|entry| (unlikeness(&entry.name, wanted), entry.name.clone()));
        order.extend(&next);
        level = next;
    }
    order.extend(own);
    order
}

/// Small for a package named like the library: `libnetfilter-conntrack3` for `libnetfilter_conntrack.so.3`.
fn unlikeness(package: &str, wanted: &str) -> usize {
    let letters = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>();
    let stem = letters(wanted.rsplit('/').next().unwrap_or(wanted).split(".so").next().unwrap_or_default());
    match (letters(package).strip_prefix(&stem), package.starts_with("lib")) {
        (Some(rest), _) => rest.len(),
        (None, true) => 1000,
        (None, false) => 2000,
    }
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
