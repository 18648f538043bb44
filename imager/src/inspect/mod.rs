//! Reads a finished image back: partitions, UKI, initramfs, runtime image, SEED. It verifies what can be verified and changes nothing.

pub mod disk;
mod text;

use std::io::Read as _;
use std::path::{Path, PathBuf};

use machine_config::disk::Partition;
use machine_config::seed;
use serde::Serialize;

use crate::check::{self, CheckError, Facts, Subject};
use crate::components::assemble::MODULES_FOLDER;
use crate::components::modules::Table;
use crate::image::boot::{self, BootError, BootFiles, Booted};
use crate::image::digest::Digest;
use crate::image::esp::{self, EspError};
use crate::image::initramfs::{self, InitramfsError};
use crate::image::release::{self, Release};
use crate::image::rootfs;
use crate::image::squashfs::{Image, SquashfsError};
use crate::image::verity::{self, VerityError};
use crate::image::window::Window;
use crate::tree::{Tree, TreeError};
use disk::{Disk, DiskError, Found};

/// How deep to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// What the image is, and that its runtime image has the root hash its UKI names.
    Overview,
    /// Also every file, as at build time.
    EveryFile,
}

/// Why an image cannot be inspected, or is refused.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// It is not an image, or cut, or its table is damaged.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The ESP cannot be read.
    #[error(transparent)]
    Esp(#[from] EspError),
    /// The boot partition leads to no kernel.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// The kernel is not told which runtime image to trust.
    #[error("cannot use the command line: it has no {}", verity::COMMAND_LINE_KEY)]
    NoRuntime,
    /// The initramfs cannot be read.
    #[error(transparent)]
    Initramfs(#[from] InitramfsError),
    /// release.json is missing or wrong.
    #[error("cannot use /{path} in the initramfs: {0}", path = release::PATH)]
    Release(String),
    /// The list of modules is missing or wrong.
    #[error("cannot use /{path} in the initramfs: {reason}")]
    Modules {
        /// The list.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// The runtime image cannot be read.
    #[error(transparent)]
    Squashfs(#[from] SquashfsError),
    /// The runtime image cannot be hashed.
    #[error(transparent)]
    Verity(#[from] VerityError),
    /// The runtime image is not the one the UKI names.
    #[error("cannot trust RUNTIME-A: {0}; write the image again")]
    Runtime(String),
    /// SEED cannot be read.
    #[error("cannot read the partition SEED")]
    ReadSeed(#[source] std::io::Error),
    /// A file is in it that must not be.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// A tree cannot be made of what is in it.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// One file of the ESP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EspEntry {
    /// Path.
    pub path: String,
    /// Length.
    pub bytes: u64,
    /// Content.
    pub sha256: String,
}

/// One section of the UKI.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SectionEntry {
    /// Name.
    pub name: String,
    /// Length.
    pub bytes: u64,
}

/// What SEED holds.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SeedState {
    /// Never stamped.
    Blank,
    /// Stamped; secrets masked. `warning` tells of a damaged or differing second copy.
    Stamped {
        /// The content.
        content: serde_json::Value,
        /// What is wrong with a copy, if anything.
        warning: Option<String>,
        /// Whether a token, a key or a configuration is in it.
        #[serde(skip)]
        private: bool,
    },
    /// Not readable.
    Damaged(String),
}

impl SeedState {
    /// Whether nobody but the image's owner should read it. What cannot be decoded may be anything.
    pub fn is_private(&self) -> bool {
        match self {
            Self::Blank => false,
            Self::Stamped { private, .. } => *private,
            Self::Damaged(_) => true,
        }
    }
}

/// What the runtime image is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuntimeState {
    /// Length of the squashfs image.
    pub bytes: u64,
    /// dm-verity root hash, as the UKI names it and as it was found to be.
    pub root_hash: String,
}

/// Everything `imager inspect` tells.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Inspection {
    /// The file.
    pub image: PathBuf,
    /// What it is.
    pub release: Release,
    /// Kernel version.
    pub kernel: String,
    /// The disk's GUID.
    pub disk_guid: uuid::Uuid,
    /// Partitions in the table's order.
    pub partitions: Vec<Found>,
    /// Files of the ESP.
    pub esp: Vec<EspEntry>,
    /// Sections of the UKI; none where the board's firmware starts the kernel itself.
    pub uki_sections: Vec<SectionEntry>,
    /// Kernel command line.
    pub command_line: String,
    /// The runtime image, verified.
    pub runtime: RuntimeState,
    /// What it is made of, as components.json in the runtime image says.
    pub components: serde_json::Value,
    /// SEED.
    pub seed: SeedState,
    /// Number of files checked, when every file was.
    pub files_checked: Option<usize>,
}

/// Inspects the image at `path`.
pub fn inspect(path: &Path, depth: Depth) -> Result<Inspection, InspectError> {
    inspect_disk(&Disk::open(path)?, depth)
}

/// Inspects an image that is open already.
pub fn inspect_disk(disk: &Disk, depth: Depth) -> Result<Inspection, InspectError> {
    let seed = read_seed(disk)?;
    let files: BootFiles = esp::read(disk.window(disk.partition(Partition::Esp)?))?.into_iter().collect();
    let booted = boot::read(&files)?;
    let root = initramfs::read(&booted.initramfs)?;
    let release = read_release(&root)?;
    let found = disk.partition(Partition::RuntimeA)?;
    let runtime = verify_runtime(disk, found, &booted)?;
    let image = Image::open(Window::new(disk.file(), found.offset, runtime.bytes))?;
    let components = read_components(&image)?;
    let files_checked = match depth {
        Depth::Overview => None,
        Depth::EveryFile => Some(check_every_file(&root, &image, &release)?),
    };
    Ok(Inspection {
        image: disk.path().to_owned(),
        release,
        kernel: booted.uname.map_or_else(|| kernel_of_modules(&root), Ok)?,
        disk_guid: disk.guid,
        esp: files.iter().map(esp_entry).collect(),
        uki_sections: booted.sections.into_iter().map(|(name, bytes)| SectionEntry { name, bytes }).collect(),
        command_line: booted.command_line,
        runtime,
        components,
        seed,
        files_checked,
        partitions: disk.partitions.clone(),
    })
}

fn esp_entry((path, bytes): (&String, &Vec<u8>)) -> EspEntry {
    EspEntry { path: path.clone(), bytes: bytes.len() as u64, sha256: Digest::of(bytes).hex() }
}

fn read_seed(disk: &Disk) -> Result<SeedState, InspectError> {
    let mut bytes = Vec::new();
    let mut window = disk.window(disk.partition(Partition::Seed)?);
    window.read_to_end(&mut bytes).map_err(InspectError::ReadSeed)?;
    Ok(match seed::decode(&bytes) {
        Ok(decoded) => {
            let damaged =
                decoded.damaged.map(|(copy, damage)| format!("the {copy:?} copy does not count: {damage}").to_lowercase());
            let differing = decoded.differing.then(|| "the two copies differ: stamping was cut short".to_owned());
            let seed = decoded.seed;
            let private = seed.join_token.is_some() || seed.identity.is_some() || seed.config.is_some();
            SeedState::Stamped { content: seed.masked(), warning: damaged.or(differing), private }
        }
        Err(seed::DecodeError::Blank) => SeedState::Blank,
        Err(error) => SeedState::Damaged(error.to_string()),
    })
}

fn read_release(root: &Tree) -> Result<Release, InspectError> {
    let missing = || InspectError::Release("it is not there".into());
    let Some(crate::tree::Node::File { content, .. }) = root.get(release::PATH) else { return Err(missing()) };
    serde_json::from_slice(&content.read()?).map_err(|error| InspectError::Release(error.to_string()))
}

/// The kernel's version where only the modules say it.
fn kernel_of_modules(root: &Tree) -> Result<String, InspectError> {
    let path = format!("{MODULES_FOLDER}/modules.json");
    let wrong = |reason: String| InspectError::Modules { path: path.clone(), reason };
    let Some(crate::tree::Node::File { content, .. }) = root.get(&path) else { return Err(wrong("it is not there".into())) };
    let table: Table = serde_json::from_slice(&content.read()?).map_err(|error| wrong(error.to_string()))?;
    Ok(table.kernel)
}

/// Computes the hash tree again and compares root and tree with what is on the disk.
fn verify_runtime(disk: &Disk, found: &Found, booted: &Booted) -> Result<RuntimeState, InspectError> {
    let wrong = |reason: &str| InspectError::Runtime(reason.to_owned());
    let expected = verity::parse_command_line(&booted.command_line).ok_or(InspectError::NoRuntime)?;
    let bytes = expected.data_blocks.saturating_mul(verity::BLOCK_BYTES);
    if bytes > found.bytes {
        return Err(wrong("the UKI names more blocks than it has"));
    }
    let computed = verity::build(disk.file(), found.offset, bytes, expected.salt, uuid::Uuid::nil())?;
    if computed.root != expected.root {
        return Err(wrong("its content does not have the root hash the UKI names"));
    }
    let mut stored = vec![0; computed.tree.len()];
    let mut window = Window::new(disk.file(), found.offset + bytes, found.bytes - bytes);
    let superblock = verity::BLOCK_BYTES as usize;
    match window.read_exact(&mut stored) {
        Ok(()) if stored[superblock..] == computed.tree[superblock..] => {
            Ok(RuntimeState { bytes, root_hash: computed.root.hex() })
        }
        Ok(()) | Err(_) => Err(wrong("its hash tree is damaged")),
    }
}

fn read_components(image: &Image<'_>) -> Result<serde_json::Value, InspectError> {
    let path = rootfs::COMPONENTS_PATH.trim_start_matches("usr/");
    let bytes = image.file(path)?.ok_or_else(|| InspectError::Runtime(format!("/usr/{path} is not in it")))?;
    serde_json::from_slice(&bytes).map_err(|error| InspectError::Runtime(format!("/usr/{path} is not JSON ({error})")))
}

fn check_every_file(root: &Tree, image: &Image<'_>, release: &Release) -> Result<usize, InspectError> {
    let (root, runtime) = (Facts::of_tree(root)?, rootfs::with_usr(&image.tree(Facts::of)?)?);
    check::check(&Subject { initramfs: &root, runtime: &runtime, architecture: release.architecture })?;
    Ok(root.len() + runtime.len())
}

#[cfg(test)]
mod tests;
