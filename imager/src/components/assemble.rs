//! From locked components to what an image is built of: kernel, boot loader, the initramfs's modules and firmware, the runtime tree.
//!
//! A build that finds everything in the cache touches neither the network nor the clock.

mod gather;
mod microcode;
mod trees;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::cache::{Cache, CacheError};
use super::closure::WrongArchitecture;
use super::crates::{Crate, CratesError};
use super::digest::Digest;
use super::extract::{ExtractError, Item};
use super::fetch::{FetchError, Unavailable};
use super::kmod::{self, KmodError};
use super::lockfile::LockedDeb;
use super::manifest::{Manifest, Role};
use super::modules::ModuleError;
pub use super::options::ComponentOptions as AssembleOptions;
use super::options::OptionsError;
use super::place::PlaceError;
use super::select::{Chosen, SelectError, Source, choose};
use crate::board::{Architecture, Board};
use crate::image::boot::Loader;
use crate::progress::{Event, Progress};
use crate::tree::{Content, Tree, TreeError};
use gather::{GIVEN, Gatherer, Parts, digest_of_items};
pub use trees::{FIRMWARE_FOLDER, MODULES_FOLDER, RUNTIME_MODULES_FOLDER};

/// Everything an image takes from components.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Components {
    /// The kernel image.
    pub kernel: Content,
    /// Its version, as its modules name it.
    pub kernel_version: String,
    /// systemd-boot and systemd's UKI stub; none: nothing on the board's way to the kernel needs them.
    pub loader: Option<Loader>,
    /// Processor microcode, as an early initramfs; none: the board names none.
    pub microcode: Option<Content>,
    /// What else the boot partition holds: the board's own boot files and device trees at the top, licences of firmware in a folder.
    pub boot_files: Tree,
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
    /// Where it comes from: an archive and a path in it, an address, `given`, or `built here`.
    pub source: String,
    /// The crates in a program that was built from this workspace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub crates: Vec<Crate>,
}

/// Why components cannot be assembled.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// components.toml, components.lock or the cache cannot be opened.
    #[error(transparent)]
    Options(#[from] OptionsError),
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
    /// Nobody knows which crates are in a program of this workspace that was given.
    #[error(transparent)]
    Crates(#[from] CratesError),
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
    /// A file given for a program is something else: a script, or a web page saved under its name.
    #[error("cannot use {} as component `{component}`: it is not an ELF program", path.display())]
    NotAProgram {
        /// The component.
        component: String,
        /// The file given.
        path: PathBuf,
    },
    /// A program given by path is for another processor.
    #[error("cannot use {} as component `{component}`: it is built for {found}, the board is {arch}", path.display())]
    OtherMachine {
        /// The component.
        component: String,
        /// The file given.
        path: PathBuf,
        /// What it is for.
        found: String,
        /// What the board is.
        arch: Architecture,
    },
    /// A folder or package given by path lacks what the component is there for.
    #[error("cannot use {} as component `{component}`: it has no {file}", path.display())]
    Incomplete {
        /// The component.
        component: String,
        /// The folder or package.
        path: PathBuf,
        /// The file it lacks, by its path in the image.
        file: String,
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
    /// A device tree of the board is nowhere.
    #[error("cannot find the device tree `{file}` that board {board} names: the kernel component `{kernel}` does not give it")]
    DeviceTree {
        /// The board.
        board: String,
        /// The file.
        file: String,
        /// The board's kernel.
        kernel: String,
    },
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

impl Record {
    /// A program of this project.
    pub fn own(name: &str, version: &str, sha256: Digest, crates: Vec<Crate>) -> Self {
        let component = "skerry".into();
        Self { component, crates, ..Self::of_file(name, version, sha256, "built here") }
    }

    fn of_file(name: &str, version: &str, sha256: Digest, source: &str) -> Self {
        let (component, name, version) = (name.into(), name.into(), version.into());
        Self { component, name, version, sha256, source: source.into(), crates: Vec::new() }
    }

    fn of_deb(component: &str, deb: &LockedDeb) -> Self {
        Self {
            component: component.into(),
            name: deb.name.clone(),
            version: deb.version.clone(),
            sha256: deb.sha256,
            source: format!("{}: {}", deb.archive.as_str(), deb.path),
            crates: Vec::new(),
        }
    }
}

/// Assembles the components of an image for `board`.
pub fn run(board: &Board, options: &AssembleOptions, progress: &dyn Progress) -> Result<Components, AssembleError> {
    let opened = options.open()?;
    let gatherer = Gatherer::new(&opened, options.mirrors.clone(), board.architecture, progress);
    let mut parts = Parts::default();
    let mut chosen = choose(&opened.manifest, &opened.lock, board, &options.wishes)?;
    // What lies here is looked at before anything is fetched: a wrong file shows at once.
    chosen.sort_by_key(|chosen| !matches!(chosen.source, Source::Given(_)));
    chosen.iter().try_for_each(|chosen| gatherer.add(chosen, &mut parts))?;
    for (name, along) in left_behind(&opened.manifest, &chosen, &parts.records, options) {
        let message = format!("{name} comes by path, so {along} stays out; give that too with `--component {along}=PATH`");
        progress.event(Event::Warn { message: &message });
    }
    gatherer.add_libraries(&mut parts)?;
    let kernel = digest_of_items(&parts.kernel);
    let index = gatherer.extractor().derive("kernel modules 1", kernel, || kmod::index(&opened.cache, &parts.kernel))?;
    trees::lay_out(board, &opened.cache, &index, parts)
}

/// Components that belong to a pinned version which came by path: nobody said that they may be missing.
fn left_behind<'a>(
    manifest: &'a Manifest,
    chosen: &[Chosen<'_>],
    records: &[Record],
    options: &AssembleOptions,
) -> Vec<(&'a str, &'a str)> {
    let original = |name: &str| records.iter().any(|r| r.component == name && r.source == GIVEN && r.version != GIVEN);
    let pairs =
        manifest.component.iter().filter_map(|(along, component)| Some((component.along_with.as_deref()?, along.as_str())));
    pairs
        .filter(|(name, along)| {
            original(name) && !options.wishes.without.contains(*along) && chosen.iter().all(|chosen| chosen.name != *along)
        })
        .collect()
}

/// Files of a component that only tests use, by name, for a harness that is no image. `arch` is the machine's under test; a tool is for the one
/// it runs on.
pub fn test_files(
    component: &str,
    arch: Architecture,
    options: &AssembleOptions,
    progress: &dyn Progress,
) -> Result<BTreeMap<String, TestFile>, AssembleError> {
    let opened = options.open()?;
    let arch = match gather::test_component(&opened, component)?.role {
        Role::Tool => Architecture::of_host().unwrap_or(arch),
        Role::Kernel | Role::Loader | Role::Firmware | Role::BootFiles | Role::Microcode | Role::Runtime | Role::Test => arch,
    };
    let items = Gatherer::new(&opened, options.mirrors.clone(), arch, progress).test_items(component)?;
    Ok(items.into_iter().map(|(path, item)| (path, TestFile::of(item, &opened.cache))).collect())
}

/// A file of a component that only tests use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TestFile {
    /// A file in the cache, where nothing is marked as executable.
    File {
        /// Where it is.
        path: PathBuf,
        /// Whether it is a program.
        executable: bool,
    },
    /// A link to another file of the component.
    Link {
        /// Its target.
        target: String,
    },
}

impl TestFile {
    /// Where it is; none: it is a link.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::File { path, .. } => Some(path),
            Self::Link { .. } => None,
        }
    }

    fn of(item: Item, cache: &Cache) -> Self {
        match item {
            Item::File { sha256, executable, .. } => Self::File { path: cache.path(sha256), executable },
            Item::Link { target } => Self::Link { target },
        }
    }
}

#[cfg(test)]
mod tests;
