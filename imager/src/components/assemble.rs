//! From locked components to what an image is built of: kernel, boot loader, the initramfs's modules and firmware, the runtime tree.
//!
//! A build that finds everything in the cache touches neither the network nor the clock.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::cache::{Cache, CacheError};
use super::closure::{Missing, WrongArchitecture, places};
use super::digest::Digest;
use super::extract::{ExtractError, Extractor, Item, Items, digest_of};
use super::fetch::{FetchError, Fetcher, Unavailable, open_cache};
use super::kmod::{self, KernelIndex, KmodError};
use super::libraries::{complete, find_in, library_globs};
use super::lockfile::{Lock, LockedDeb, LockedPackage, LockfileError};
use super::manifest::{Component, Manifest, ManifestError, Package, Role};
use super::mirror::MirrorChoice;
use super::modules::{self, ModuleError, Table};
use super::place::{self, PlaceError, destination};
use super::select::{Chosen, SelectError, Source, Wishes, choose};
use crate::board::{Architecture, Board};
use crate::progress::Progress;
use crate::tree::{Content, Tree, TreeError};

/// Where the initramfs keeps kernel modules.
pub const MODULES_FOLDER: &str = "skerry/modules";
/// Where the initramfs keeps firmware.
pub const FIRMWARE_FOLDER: &str = "skerry/firmware";
/// Where the runtime image keeps the modules only it needs.
pub const RUNTIME_MODULES_FOLDER: &str = "usr/lib/skerry/modules";

const FIRMWARE_SOURCE: &str = "usr/lib/firmware";

/// What to assemble from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssembleOptions {
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

/// Everything an image takes from components.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Components {
    /// The kernel image.
    pub kernel: Content,
    /// Its version, as its modules name it.
    pub kernel_version: String,
    /// systemd-boot.
    pub loader: Content,
    /// systemd's UKI stub.
    pub stub: Content,
    /// [`MODULES_FOLDER`] and [`FIRMWARE_FOLDER`], for the initramfs.
    pub initramfs: Tree,
    /// The runtime's files below `usr/`; the image mounted at `/usr` holds them without that prefix.
    pub runtime: Tree,
    /// What is in the image, sorted by component and name.
    pub records: Vec<Record>,
}

/// One package or file that went into an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The component; `libraries` for packages that only gave shared libraries.
    pub component: String,
    /// The package's or file's name.
    pub name: String,
    /// Its version; `given` when it came by path.
    pub version: String,
    /// SHA-256 of the package, file, or list of files given.
    pub sha256: Digest,
    /// Where it comes from: an archive and a path in it, an address, or `given`.
    pub source: String,
}

/// Why components cannot be assembled.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// components.toml is bad.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// components.lock is bad.
    #[error(transparent)]
    Lockfile(#[from] LockfileError),
    /// The components asked for do not fit.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// A component cannot be had.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// A library package cannot be had.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// A package or given path cannot be taken apart.
    #[error("cannot use component `{component}`")]
    Extract {
        /// The component.
        component: String,
        /// Why.
        source: ExtractError,
    },
    /// A component's files do not fit components.toml, or another component.
    #[error("cannot place the files of component `{component}`")]
    Place {
        /// The component.
        component: String,
        /// Why.
        source: PlaceError,
    },
    /// A component lacks a file every image needs.
    #[error("cannot use component `{component}`: it gives no `{file}`")]
    Lacking {
        /// The component.
        component: String,
        /// The file, by its name in components.toml.
        file: &'static str,
    },
    /// The kernel's modules cannot be read.
    #[error(transparent)]
    Kmod(#[from] KmodError),
    /// The board's modules cannot be chosen.
    #[error(transparent)]
    Modules(#[from] ModuleError),
    /// A firmware file of the board is nowhere.
    #[error("cannot find the firmware file `{file}` that board {board} names: no firmware component gives it")]
    Firmware {
        /// The board.
        board: String,
        /// The file.
        file: String,
    },
    /// A program is for another architecture.
    #[error(transparent)]
    Architecture(#[from] WrongArchitecture),
    /// Nobody gives a library.
    #[error(
        "cannot find {wanted}, which {by} needs: no locked package gives it; run `imager lock`, or give a statically linked file"
    )]
    NoLibrary {
        /// The library.
        wanted: String,
        /// The file that needs it.
        by: String,
    },
    /// Two components want one path of the image.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// A joined file's parts cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The part, in the cache.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The component is not for tests.
    #[error("cannot hand out component `{component}`: components.toml has no test component of that name")]
    NotForTests {
        /// The name.
        component: String,
    },
}

/// Assembles the components of an image for `board`.
pub fn run(board: &Board, options: &AssembleOptions, progress: &dyn Progress) -> Result<Components, AssembleError> {
    let manifest = Manifest::load(&options.manifest)?;
    let lock = Lock::load(&options.lock)?;
    let cache = open_cache(options.cache.as_deref())?;
    let work = Work {
        fetcher: Fetcher::new(&cache, options.mirrors.clone(), progress),
        extractor: Extractor::new(&cache, progress),
        cache: &cache,
        lock: &lock,
        arch: board.architecture,
    };
    let mut parts = Parts::default();
    for chosen in choose(&manifest, &lock, board, &options.wishes)? {
        work.add(&chosen, &mut parts)?;
    }
    work.finish(board, parts)
}

/// Files of a test component, by name, for a harness that is no image.
pub fn test_files(
    component: &str,
    arch: Architecture,
    options: &AssembleOptions,
    progress: &dyn Progress,
) -> Result<BTreeMap<String, PathBuf>, AssembleError> {
    let manifest = Manifest::load(&options.manifest)?;
    let lock = Lock::load(&options.lock)?;
    let cache = open_cache(options.cache.as_deref())?;
    let fetcher = Fetcher::new(&cache, options.mirrors.clone(), progress);
    let work = Work { fetcher, extractor: Extractor::new(&cache, progress), cache: &cache, lock: &lock, arch };
    let found = manifest.component.get(component).filter(|found| found.role == Role::Test);
    let found = found.ok_or_else(|| AssembleError::NotForTests { component: component.into() })?;
    let mut files = BTreeMap::new();
    for package in &found.package {
        let locked = super::select::locked(component, package, &lock, arch)?;
        for (path, item) in work.package(component, found, package, locked)? {
            if let Item::File { sha256, .. } = item {
                files.insert(path, cache.path(sha256));
            }
        }
    }
    Ok(files)
}

/// What has been collected, by role.
#[derive(Default)]
struct Parts {
    kernel: Items,
    loader: Items,
    firmware: Items,
    runtime: Items,
    records: Vec<Record>,
}

impl Parts {
    fn of(&mut self, role: Role) -> &mut Items {
        match role {
            Role::Kernel => &mut self.kernel,
            Role::Loader => &mut self.loader,
            Role::Firmware => &mut self.firmware,
            Role::Runtime | Role::Test => &mut self.runtime,
        }
    }
}

struct Work<'a> {
    fetcher: Fetcher<'a>,
    extractor: Extractor<'a>,
    cache: &'a Cache,
    lock: &'a Lock,
    arch: Architecture,
}

impl Work<'_> {
    fn add(&self, chosen: &Chosen<'_>, parts: &mut Parts) -> Result<(), AssembleError> {
        let placed = |source| AssembleError::Place { component: chosen.name.clone(), source };
        let mut items = match &chosen.source {
            Source::Given(path) => self.given(chosen, path, parts)?,
            Source::Packages(packages) => self.packages(chosen, packages, parts)?,
            Source::Pinned(file, pin) => {
                let failed = |source| Unavailable::new(&chosen.name, chosen.component.optional, source);
                let path = self.fetcher.pin(&chosen.name, pin).map_err(failed)?;
                parts.records.push(record(&chosen.name, &file.version, pin.sha256, &pin.url));
                let name = pin.url.rsplit('/').next().unwrap_or(&chosen.name);
                [(destination(&file.to, name), self.file(&chosen.name, &path, file.executable)?)].into()
            }
        };
        place::merge(&mut items, place::links(self.arch, chosen.component)).map_err(placed)?;
        place::merge(parts.of(chosen.component.role), items).map_err(placed)
    }

    fn file(&self, component: &str, path: &Path, executable: bool) -> Result<Item, AssembleError> {
        self.extractor.take_file(path, executable).map_err(extract_error(component))
    }

    /// A component given by path: the file itself, or a folder of them where several may lie; for packages, a `.deb` in place of the only one, or a folder laid out like the outcome.
    fn given(&self, chosen: &Chosen<'_>, path: &Path, parts: &mut Parts) -> Result<Items, AssembleError> {
        let items = match (&chosen.component.file, chosen.component.package.as_slice()) {
            (Some(file), _) if path.is_dir() && file.to.ends_with('/') => {
                let items = self.extractor.take_folder(path).map_err(extract_error(&chosen.name))?;
                items.into_iter().map(|(name, item)| (format!("{}{name}", file.to), item)).collect()
            }
            (Some(file), _) => {
                let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                [(destination(&file.to, &name), self.file(&chosen.name, path, file.executable)?)].into()
            }
            (None, [package]) if !path.is_dir() => {
                let digest = digest_of(path).map_err(extract_error(&chosen.name))?;
                self.deb(&chosen.name, chosen.component, package, digest, || Ok(path.to_owned()))?
            }
            (None, _) => self.extractor.take_folder(path).map_err(extract_error(&chosen.name))?,
        };
        parts.records.push(record(&chosen.name, "given", digest_of_items(&items), "given"));
        Ok(items)
    }

    fn packages(
        &self,
        chosen: &Chosen<'_>,
        packages: &[(&Package, &LockedPackage)],
        parts: &mut Parts,
    ) -> Result<Items, AssembleError> {
        let mut items = Items::new();
        for (package, locked) in packages {
            let more = self.package(&chosen.name, chosen.component, package, locked)?;
            let placed = |source| AssembleError::Place { component: chosen.name.clone(), source };
            place::merge(&mut items, more).map_err(placed)?;
            parts.records.push(deb_record(&chosen.name, &locked.deb));
        }
        Ok(items)
    }

    fn package(
        &self,
        name: &str,
        component: &Component,
        package: &Package,
        locked: &LockedPackage,
    ) -> Result<Items, AssembleError> {
        self.deb(name, component, package, locked.deb.sha256, || {
            let failed = |source| Unavailable::new(name, component.optional, source);
            Ok(self.fetcher.deb(&locked.deb).map_err(failed)?)
        })
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
        let placed = |source| AssembleError::Place { component: name.into(), source };
        let globs = place::globs(self.arch, component, package);
        let given =
            self.extractor.take(name, digest, &globs, || fetch().map_err(Taking::Fetch)).map_err(|error| match error {
                Taking::Fetch(error) => error,
                Taking::Extract(source) => AssembleError::Extract { component: name.into(), source },
            })?;
        let mut items = place::place_package(self.arch, package, &given).map_err(placed)?;
        for (path, glob) in &component.join {
            let joined = self.join(&place::joined(self.arch, package, glob, &given).map_err(placed)?)?;
            place::merge(&mut items, [(path.clone(), joined)].into()).map_err(placed)?;
        }
        Ok(items)
    }

    /// One file made of others, each ended by a newline.
    fn join(&self, parts: &[&Item]) -> Result<Item, AssembleError> {
        let mut bytes = Vec::new();
        for item in parts {
            let Item::File { sha256, .. } = item else { continue };
            let path = self.cache.path(*sha256);
            bytes.extend(std::fs::read(&path).map_err(|source| AssembleError::Read { path, source })?);
            if !bytes.ends_with(b"\n") {
                bytes.push(b'\n');
            }
        }
        Ok(Item::File { sha256: self.cache.put(&bytes)?, executable: false, elf: None })
    }

    fn finish(&self, board: &Board, mut parts: Parts) -> Result<Components, AssembleError> {
        self.complete_runtime(&mut parts)?;
        let index = self.kernel_index(&parts.kernel)?;
        let selection = modules::select(&index, &board.modules)?;
        let mut initramfs = Tree::new();
        self.add_modules(&mut initramfs, MODULES_FOLDER, &selection.initramfs, &index, &parts.kernel)?;
        for file in &board.firmware {
            let item = parts.firmware.get(&format!("{FIRMWARE_SOURCE}/{file}"));
            let item = item.ok_or_else(|| AssembleError::Firmware { board: board.name.clone(), file: file.clone() })?;
            self.add_item(&mut initramfs, &format!("{FIRMWARE_FOLDER}/{file}"), item)?;
        }
        let mut runtime = Tree::new();
        self.add_modules(&mut runtime, RUNTIME_MODULES_FOLDER, &selection.runtime, &index, &parts.kernel)?;
        for (path, item) in &parts.runtime {
            self.add_item(&mut runtime, path, item)?;
        }
        parts.records.sort();
        Ok(Components {
            kernel: self.required(&board.kernel, &parts.kernel, "vmlinuz")?,
            kernel_version: index.version,
            loader: self.required("boot loader", &parts.loader, "boot.efi")?,
            stub: self.required("boot loader", &parts.loader, "stub.efi")?,
            initramfs,
            runtime,
            records: parts.records,
        })
    }

    /// Adds the shared libraries the runtime's programs need, from the lock's library packages.
    fn complete_runtime(&self, parts: &mut Parts) -> Result<(), AssembleError> {
        let mut used: BTreeMap<String, &LockedDeb> = BTreeMap::new();
        complete(self.arch, &mut parts.runtime, |missing| {
            let (deb, items) = self.library(missing)?;
            used.insert(deb.name.clone(), deb);
            Ok::<_, AssembleError>(items)
        })?;
        parts.records.extend(used.into_values().map(|deb| deb_record("libraries", deb)));
        Ok(())
    }

    fn library(&self, missing: &Missing) -> Result<(&LockedDeb, Items), AssembleError> {
        let none = || AssembleError::NoLibrary { wanted: missing.wanted.clone(), by: missing.by.clone() };
        let wanted = places(self.arch, &missing.wanted);
        let mut here = self.lock.library.iter().filter(|library| library.architecture == self.arch);
        let library = here.find(|library| wanted.iter().any(|place| library.gives.contains(place))).ok_or_else(none)?;
        let what = format!("{} {}", library.deb.name, library.deb.version);
        let fetch = || self.fetcher.deb(&library.deb).map_err(|error| Taking::Fetch(error.into()));
        let given =
            self.extractor.take(&what, library.deb.sha256, &library_globs(self.arch), fetch).map_err(|error| match error {
                Taking::Fetch(error) => error,
                Taking::Extract(source) => AssembleError::Extract { component: library.deb.name.clone(), source },
            })?;
        let items = find_in(self.arch, missing, &given).ok_or_else(none)?;
        Ok((&library.deb, items))
    }

    fn kernel_index(&self, kernel: &Items) -> Result<KernelIndex, KmodError> {
        self.extractor.derive("kernel modules 1", digest_of_items(kernel), || kmod::index(self.cache, kernel))
    }

    fn add_modules(
        &self,
        tree: &mut Tree,
        folder: &str,
        table: &Table,
        index: &KernelIndex,
        kernel: &Items,
    ) -> Result<(), AssembleError> {
        for (name, entry) in &table.modules {
            self.add_item(tree, &format!("{folder}/{}", entry.file), &kernel[&index.modules[name].path])?;
        }
        let json = serde_json::to_vec(table).expect("a table has a JSON form");
        Ok(tree.add_file(&format!("{folder}/modules.json"), json, 0o644)?)
    }

    fn add_item(&self, tree: &mut Tree, path: &str, item: &Item) -> Result<(), TreeError> {
        match item {
            Item::File { sha256, executable, .. } => {
                tree.add_path(path, self.cache.path(*sha256), if *executable { 0o755 } else { 0o644 })
            }
            Item::Link { target } => tree.add_symlink(path, target.clone()),
        }
    }

    fn required(&self, component: &str, items: &Items, file: &'static str) -> Result<Content, AssembleError> {
        match items.get(file) {
            Some(Item::File { sha256, .. }) => Ok(Content::Path { path: self.cache.path(*sha256) }),
            Some(Item::Link { .. }) | None => Err(AssembleError::Lacking { component: component.into(), file }),
        }
    }
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

fn digest_of_items(items: &Items) -> Digest {
    Digest::of(&serde_json::to_vec(items).expect("items have a JSON form"))
}

fn record(name: &str, version: &str, sha256: Digest, source: &str) -> Record {
    Record { component: name.into(), name: name.into(), version: version.into(), sha256, source: source.into() }
}

fn deb_record(component: &str, deb: &LockedDeb) -> Record {
    Record {
        component: component.into(),
        name: deb.name.clone(),
        version: deb.version.clone(),
        sha256: deb.sha256,
        source: format!("{}: {}", deb.archive.as_str(), deb.path),
    }
}

#[cfg(test)]
mod tests;
