//! Getting components: from packages, pinned files or given paths to files at their places, collected by role.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{AssembleError, Record};
use crate::board::Architecture;
use crate::components::arch::{elf_machine, machine_name};
use crate::components::closure::{Missing, places};
use crate::components::digest::Digest;
use crate::components::extract::{ExtractError, Extractor, Item, Items, digest_of};
use crate::components::fetch::{Fetcher, refusal};
use crate::components::libraries::{complete, find_in, library_globs};
use crate::components::lockfile::{LockedDeb, LockedPackage, Users};
use crate::components::manifest::{Component, Package, Pin, PinnedFile, Role};
use crate::components::options::Opened;
use crate::components::place::{self, PlaceError, destination};
use crate::components::select::{Chosen, Source};
use crate::components::{crates, mirror::MirrorChoice, select};
use crate::progress::Progress;

/// The source, and where nobody knows it the version, of what came by path.
pub(super) const GIVEN: &str = "given";

/// What has been collected, by role.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) kernel: Items,
    pub(super) loader: Items,
    pub(super) firmware: Items,
    pub(super) boot_files: Items,
    pub(super) microcode: Items,
    pub(super) runtime: Items,
    pub(super) records: Vec<Record>,
}

impl Parts {
    fn of(&mut self, role: Role) -> &mut Items {
        match role {
            Role::Kernel => &mut self.kernel,
            Role::Loader => &mut self.loader,
            Role::Firmware => &mut self.firmware,
            Role::BootFiles => &mut self.boot_files,
            Role::Microcode => &mut self.microcode,
            Role::Runtime | Role::Test | Role::Tool => &mut self.runtime,
        }
    }
}

/// Gets components for one architecture.
pub(super) struct Gatherer<'a> {
    opened: &'a Opened,
    fetcher: Fetcher<'a>,
    extractor: Extractor<'a>,
    arch: Architecture,
}

impl<'a> Gatherer<'a> {
    pub(super) fn new(opened: &'a Opened, mirrors: MirrorChoice, arch: Architecture, progress: &'a dyn Progress) -> Self {
        let (fetcher, extractor) = (Fetcher::new(&opened.cache, mirrors, progress), Extractor::new(&opened.cache, progress));
        Self { opened, fetcher, extractor, arch }
    }

    /// What takes things apart, and remembers.
    pub(super) fn extractor(&self) -> &Extractor<'a> {
        &self.extractor
    }

    /// Adds a component's files and records.
    pub(super) fn add(&self, chosen: &Chosen<'_>, parts: &mut Parts) -> Result<(), AssembleError> {
        let (mut items, records) = match &chosen.source {
            Source::Given(path) => self.given(chosen, path)?,
            Source::Packages(packages) => self.packages(chosen, packages)?,
            Source::Pinned(file, pin) => self.pinned(chosen, file, pin)?,
        };
        let links = place::links(self.arch, chosen.component);
        place::merge(&mut items, links).map_err(place_error(&chosen.name))?;
        parts.records.extend(records);
        place::merge(parts.of(chosen.component.role), items).map_err(place_error(&chosen.name))
    }

    /// Adds the shared libraries the runtime's programs need, from the lock's library packages.
    pub(super) fn add_libraries(&self, parts: &mut Parts) -> Result<(), AssembleError> {
        let mut used: BTreeMap<&str, &LockedDeb> = BTreeMap::new();
        complete(self.arch, &mut parts.runtime, |missing| {
            let (deb, items) = self.library(missing, Users::Runtime)?;
            used.insert(&deb.name, deb);
            Ok::<_, AssembleError>(items)
        })?;
        parts.records.extend(used.into_values().map(|deb| Record::of_deb("libraries", deb)));
        Ok(())
    }

    /// The files of a component that only tests use; of a tool, with the libraries it loads.
    pub(super) fn test_items(&self, name: &str) -> Result<Items, AssembleError> {
        let component = test_component(self.opened, name)?;
        let mut items = Items::new();
        for package in &component.package {
            let locked = select::locked(name, package, &self.opened.lock, self.arch)?;
            place::merge(&mut items, self.package(name, component, package, locked)?).map_err(place_error(name))?;
        }
        if component.role == Role::Tool {
            complete(self.arch, &mut items, |missing| Ok::<_, AssembleError>(self.library(missing, Users::Tools)?.1))?;
        }
        Ok(items)
    }

    /// A component given by path. For a pinned file: a file, or a folder of them where several may lie. For packages: a `.deb` in
    /// place of the only one, or a folder laid out like the image.
    fn given(&self, chosen: &Chosen<'_>, path: &Path) -> Result<(Items, Vec<Record>), AssembleError> {
        let failed = || extract_error(&chosen.name);
        let items = match (&chosen.component.file, chosen.component.package.as_slice()) {
            (Some(file), _) if path.is_dir() && file.to.ends_with('/') => {
                let items = self.extractor.take_folder(path).map_err(failed())?;
                items.into_iter().map(|(name, item)| (format!("{}{name}", file.to), item)).collect()
            }
            (Some(file), _) => {
                let item = self.extractor.take_file(path, file.executable).map_err(failed())?;
                self.check_program(&chosen.name, path, &item)?;
                [(destination(&file.to, &path.to_string_lossy()), item)].into()
            }
            (None, [package]) if !path.is_dir() => {
                let digest = digest_of(path).map_err(failed())?;
                self.deb(&chosen.name, chosen.component, package, digest, || Ok(path.to_owned()))?
            }
            (None, _) => self.extractor.take_folder(path).map_err(failed())?,
        };
        if let Some(file) = place::certain(self.arch, chosen.component).into_iter().find(|file| !items.contains_key(file)) {
            return Err(AssembleError::Incomplete { component: chosen.name.clone(), path: path.to_owned(), file });
        }
        let sha256 = digest_of_given(&items);
        let record = Record::of_file(&chosen.name, self.version_of(chosen, sha256), sha256, GIVEN);
        Ok((items, vec![Record { crates: crates::of_given(path)?, ..record }]))
    }

    /// A given file that is the pinned one has its version.
    fn version_of<'c>(&self, chosen: &Chosen<'c>, sha256: Digest) -> &'c str {
        let file = chosen.component.file.as_ref();
        let pinned = file.filter(|file| file.pin.get(&self.arch).is_some_and(|pin| pin.sha256 == sha256));
        pinned.map_or(GIVEN, |file| &file.version)
    }

    /// A program given by path must be one, and the board's.
    fn check_program(&self, component: &str, path: &Path, item: &Item) -> Result<(), AssembleError> {
        let (component, path) = (component.to_owned(), path.to_owned());
        match item {
            Item::File { executable: true, elf: None, .. } => Err(AssembleError::NotAProgram { component, path }),
            Item::File { elf: Some(facts), .. } if facts.machine != elf_machine(self.arch) => {
                let found = machine_name(facts.machine);
                Err(AssembleError::OtherMachine { component, path, found, arch: self.arch })
            }
            Item::File { .. } | Item::Link { .. } => Ok(()),
        }
    }

    fn pinned(&self, chosen: &Chosen<'_>, file: &PinnedFile, pin: &Pin) -> Result<(Items, Vec<Record>), AssembleError> {
        self.fetcher.pin(&chosen.name, pin).map_err(refusal::<AssembleError>(&chosen.name, chosen.component))?;
        let item = self.extractor.cached_file(pin.sha256, file.executable).map_err(extract_error(&chosen.name))?;
        let record = Record::of_file(&chosen.name, &file.version, pin.sha256, &pin.url);
        Ok(([(destination(&file.to, &pin.url), item)].into(), vec![record]))
    }

    fn packages(
        &self,
        chosen: &Chosen<'_>,
        packages: &[(&Package, &LockedPackage)],
    ) -> Result<(Items, Vec<Record>), AssembleError> {
        let mut items = Items::new();
        for (package, locked) in packages {
            let more = self.package(&chosen.name, chosen.component, package, locked)?;
            place::merge(&mut items, more).map_err(place_error(&chosen.name))?;
        }
        let records = packages.iter().map(|(_, locked)| Record::of_deb(&chosen.name, &locked.deb)).collect();
        Ok((items, records))
    }

    fn package(
        &self,
        name: &str,
        component: &Component,
        package: &Package,
        locked: &LockedPackage,
    ) -> Result<Items, AssembleError> {
        self.deb(name, component, package, locked.deb.sha256, || self.fetcher.deb(&locked.deb).map_err(refusal(name, component)))
    }

    /// The placed files of one package.
    fn deb(
        &self,
        name: &str,
        component: &Component,
        package: &Package,
        digest: Digest,
        fetch: impl FnOnce() -> Result<PathBuf, AssembleError>,
    ) -> Result<Items, AssembleError> {
        let given = self.take(name, digest, &place::globs(self.arch, component, package), fetch)?;
        let mut items = place::place_package(self.arch, package, &given).map_err(place_error(name))?;
        for (path, glob) in &component.join {
            let parts = place::joined(self.arch, package, glob, &given).map_err(place_error(name))?;
            place::merge(&mut items, [(path.clone(), self.join(&parts)?)].into()).map_err(place_error(name))?;
        }
        Ok(items)
    }

    fn take(
        &self,
        what: &str,
        digest: Digest,
        globs: &[String],
        fetch: impl FnOnce() -> Result<PathBuf, AssembleError>,
    ) -> Result<Items, AssembleError> {
        self.extractor.take(what, digest, globs, || fetch().map_err(Taking::Fetch)).map_err(|error| match error {
            Taking::Fetch(error) => error,
            Taking::Extract(source) => AssembleError::Extract { component: what.into(), source },
        })
    }

    /// One file made of others, each ended by a newline.
    fn join(&self, parts: &[&Item]) -> Result<Item, AssembleError> {
        let mut bytes = Vec::new();
        for item in parts {
            let Item::File { sha256, .. } = item else { continue };
            let path = self.opened.cache.path(*sha256);
            bytes.extend(std::fs::read(&path).map_err(|source| AssembleError::Read { path, source })?);
            if !bytes.ends_with(b"\n") {
                bytes.push(b'\n');
            }
        }
        Ok(Item::File { sha256: self.opened.cache.put(&bytes)?, executable: false, elf: None })
    }

    fn library(&self, missing: &Missing, users: Users) -> Result<(&'a LockedDeb, Items), AssembleError> {
        let none = || AssembleError::NoLibrary { wanted: missing.wanted.clone(), by: missing.by.clone() };
        let wanted = places(self.arch, &missing.wanted);
        let mut here = self.opened.lock.libraries(self.arch, users);
        let library = here.find(|library| wanted.iter().any(|place| library.gives.contains(place))).ok_or_else(none)?;
        let deb = &library.deb;
        let given = self.take(&deb.name, deb.sha256, &library_globs(self.arch), || Ok(self.fetcher.deb(deb)?))?;
        Ok((deb, find_in(self.arch, missing, &given).ok_or_else(none)?))
    }
}

/// The component of that name, if it is for tests.
pub(super) fn test_component<'a>(opened: &'a Opened, name: &str) -> Result<&'a Component, AssembleError> {
    let found = opened.manifest.component.get(name).filter(|component| matches!(component.role, Role::Test | Role::Tool));
    found.ok_or_else(|| AssembleError::NotForTests { component: name.into() })
}

/// What may go wrong while a package is taken: fetching it, or reading it.
enum Taking {
    Fetch(AssembleError),
    Extract(ExtractError),
}

impl From<ExtractError> for Taking {
    fn from(error: ExtractError) -> Self {
        Self::Extract(error)
    }
}

fn extract_error(component: &str) -> impl FnOnce(ExtractError) -> AssembleError + use<> {
    let component = component.to_owned();
    |source| AssembleError::Extract { component, source }
}

fn place_error(component: &str) -> impl FnOnce(PlaceError) -> AssembleError + use<> {
    let component = component.to_owned();
    |source| AssembleError::Place { component, source }
}

/// The digest of what was given: a single file's own, so that it can be compared with a published one.
fn digest_of_given(items: &Items) -> Digest {
    match items.values().collect::<Vec<_>>().as_slice() {
        [Item::File { sha256, .. }] => *sha256,
        _ => digest_of_items(items),
    }
}

/// One digest for a list of files.
pub(super) fn digest_of_items(items: &Items) -> Digest {
    Digest::of(&serde_json::to_vec(items).expect("items have a JSON form"))
}
