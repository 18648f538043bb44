//! From names in components.toml to exact packages: each component's own, and those that give the libraries its programs load.

use std::collections::BTreeMap;

use globset::GlobBuilder;

use super::LockError;
use crate::board::Architecture;
use crate::components::arch::expand;
use crate::components::archive::ArchiveState;
use crate::components::closure::Missing;
use crate::components::extract::{ExtractError, Extractor, Items};
use crate::components::fetch::Fetcher;
use crate::components::index::{Entry, Index};
use crate::components::libraries::{complete, find_in, library_globs};
use crate::components::lockfile::{LockedDeb, LockedLibrary, LockedPackage, Users};
use crate::components::manifest::{Component, Manifest, Package, Role};
use crate::components::place;
use crate::progress::{Event, Progress};

/// How far from a program's package its libraries are looked for: its dependencies, theirs, and once more.
const SEARCH_DEPTH: usize = 3;

/// Resolves against one state of the archives.
pub(super) struct Resolver<'a> {
    pub(super) archive: &'a ArchiveState,
    pub(super) fetcher: &'a Fetcher<'a>,
    pub(super) extractor: Extractor<'a>,
    pub(super) progress: &'a dyn Progress,
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
    /// The packages of every component of an architecture, and those that give what their programs load.
    pub(super) fn resolve(
        &self,
        manifest: &Manifest,
        arch: Architecture,
    ) -> Result<(Vec<LockedPackage>, Vec<LockedLibrary>), LockError> {
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
pub(super) fn candidates<'a>(index: &'a Index, package: &'a str, wanted: &str) -> Vec<&'a Entry> {
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
