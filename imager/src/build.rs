//! From ingredients to an image, in order: trees, check, runtime image, hash tree, UKI, disk, and the whole read back and checked once more before
//! it gets its name. It chooses nothing; the ingredients do.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use backhand::BackhandError;
use serde::Serialize;

use crate::board::Board;
use crate::cache::DerivedCache;
use crate::check::{self, CheckError, Facts, Subject};
use crate::components::assemble::Record;
use crate::components::crates::{self, CratesError};
use crate::components::digest::of_file;
use crate::image::boot::{self, BootFiles, BootParts, Loader, MakeError};
use crate::image::compress::{CompressError, Compressor};
use crate::image::digest::{Digest, Hasher};
use crate::image::disk::{self, DiskError, DiskParts, Runtime};
use crate::image::initramfs::{self, InitramfsError};
use crate::image::output::{Output, OutputError, Place};
use crate::image::release::Release;
use crate::image::rootfs::{self, RootParts};
use crate::image::squashfs::{self, SquashfsError};
use crate::image::uki;
use crate::image::verity::{self, VerityError};
use crate::inspect::{self, Depth, InspectError, Inspection};
use crate::progress::{Progress, step};
use crate::tree::{Content, Tree, TreeError};

/// zstd level of the runtime image. Level 19 is 1 % smaller and takes three times as long.
const RUNTIME_LEVEL: i32 = 15;
/// zstd level of the initramfs, which is small and read by firmware at every boot.
const INITRAMFS_LEVEL: i32 = 19;

/// The node's own programs.
#[derive(Debug, Clone)]
pub struct Programs {
    /// PID 1.
    pub init: PathBuf,
    /// The API daemon.
    pub apid: PathBuf,
    /// The image importer.
    pub images_importer: PathBuf,
}

impl Programs {
    /// Each with its name and the option that names it.
    fn all(&self) -> [(&'static str, &Path, &'static str); 3] {
        [
            ("skerry-init", &self.init, "init"),
            ("apid", &self.apid, "apid"),
            ("skerry-images", &self.images_importer, "images-importer"),
        ]
    }

    /// Looks whether they are there, before anything is fetched for their sake.
    pub fn check(&self) -> Result<(), BuildError> {
        self.all().into_iter().try_for_each(|(name, path, option)| match path.is_file() {
            true => Ok(()),
            false => Err(BuildError::Program { name, path: path.to_owned(), option }),
        })
    }

    /// What the list of what an image holds says of them.
    pub fn records(&self, version: &str) -> Result<Vec<Record>, BuildError> {
        let record = |(name, path, _): (_, &Path, _)| {
            let read = |source| BuildError::Tree(TreeError::Read { path: path.to_owned(), source });
            Ok(Record::own(name, version, of_file(path).map_err(read)?, crates::of_program(path)?))
        };
        self.all().into_iter().map(record).collect()
    }
}

/// Everything an image is made of.
#[derive(Debug)]
pub struct Ingredients<'a> {
    /// The board.
    pub board: &'a Board,
    /// Version of Skerry.
    pub version: &'a str,
    /// Seconds since 1970, from the inputs.
    pub build_time_floor: u64,
    /// The kernel image.
    pub kernel: Content,
    /// `uname -r` of that kernel.
    pub kernel_version: String,
    /// systemd-boot and systemd's EFI stub, for boards that need them.
    pub loader: Option<Loader>,
    /// Processor microcode, as an early initramfs.
    pub microcode: Option<Content>,
    /// What else the boot partition holds.
    pub boot_files: Tree,
    /// Modules and firmware for the initramfs, below `skerry/`.
    pub hardware: Tree,
    /// What the components give to the runtime image, below `usr/`.
    pub runtime: Tree,
    /// The list of components, JSON.
    pub component_list: String,
    /// The node's own programs.
    pub programs: Programs,
    /// Content of SEED; none: left blank.
    pub seed: Option<Vec<u8>>,
}

/// Why an image cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A program of the node is not there.
    #[error("cannot find {name} at {}: run `make node`, or name it with --{option}", path.display())]
    Program {
        /// Which one.
        name: &'static str,
        /// Where it was looked for.
        path: PathBuf,
        /// The option that names it.
        option: &'static str,
    },
    /// Nobody knows which crates are in a program of the node.
    #[error(transparent)]
    Crates(#[from] CratesError),
    /// A file cannot be read, or two want one path.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// Something is in the image that must not be.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// The runtime image cannot be made.
    #[error(transparent)]
    Squashfs(#[from] SquashfsError),
    /// Its hash tree cannot be made.
    #[error(transparent)]
    Verity(#[from] VerityError),
    /// The initramfs cannot be made.
    #[error(transparent)]
    Initramfs(#[from] InitramfsError),
    /// Something cannot be compressed.
    #[error(transparent)]
    Compress(#[from] CompressError),
    /// The boot partition cannot be put together.
    #[error(transparent)]
    Boot(#[from] MakeError),
    /// The disk image cannot be written.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The runtime image has no place to be made.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// What was written does not read back as it must.
    #[error(transparent)]
    ReadBack(#[from] Box<InspectError>),
}

/// What was built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The image.
    pub image: PathBuf,
    /// Its length.
    pub image_bytes: u64,
    /// Loader, UKI, runtime image with hash tree, SEED: what is not padding.
    pub payload_bytes: u64,
    /// The UKI; none: the board's firmware starts the kernel itself.
    pub uki_bytes: Option<u64>,
    /// The compressed initramfs.
    pub initramfs_bytes: u64,
    /// What the initramfs takes in RAM.
    pub initramfs_unpacked_bytes: u64,
    /// The runtime image, without its hash tree.
    pub runtime_bytes: u64,
    /// dm-verity root hash.
    pub runtime_root_hash: String,
    /// Digest of what the image carries, less SEED.
    pub content: String,
}

/// An image that was built and read back, and has no name yet.
#[derive(Debug)]
pub struct Built {
    /// The image.
    pub output: Output,
    /// What it says of itself.
    pub inspection: Inspection,
    /// What was built.
    pub report: Report,
}

/// Builds the image at `out`.
pub fn run(
    ingredients: Ingredients<'_>,
    cache: &DerivedCache,
    progress: &dyn Progress,
    out: &Place,
) -> Result<Report, BuildError> {
    let built = make(ingredients, cache, progress, out)?;
    built.output.publish().map_err(DiskError::from)?;
    Ok(built.report)
}

/// Builds the image that may be published at `out`, or become another form.
pub fn make(
    ingredients: Ingredients<'_>,
    cache: &DerivedCache,
    progress: &dyn Progress,
    out: &Place,
) -> Result<Built, BuildError> {
    let board = ingredients.board;
    let trees = Trees::new(&ingredients)?;
    step(progress, "check what goes in", || trees.check(board))?;
    let runtime = make_runtime(&trees.runtime, cache, progress, out)?;
    let archive = initramfs::archive(&trees.root)?;
    let initramfs = compress_initramfs(&archive, cache, progress)?;
    let boot = boot_files(&ingredients, &initramfs, &runtime)?;
    let (runtime_bytes, root) = (runtime.verity.data_blocks * verity::BLOCK_BYTES, runtime.verity.root);
    let parts = DiskParts { sizes: board.partitions, boot: &boot, seed: ingredients.seed.as_deref(), runtime };
    let (output, written) = step(progress, "write the image", || disk::write(parts, out))?;
    let read_back = || inspect::inspect(&output.temporary_path(), Depth::EveryFile).map_err(Box::new);
    let inspection = step(progress, "read the image back", read_back)?;
    let report = Report {
        image: out.named().to_owned(),
        image_bytes: written.layout.bytes(),
        payload_bytes: written.payload_bytes,
        uki_bytes: boot.get(boot::UKI_PATH).map(|uki| uki.len() as u64),
        initramfs_bytes: initramfs.len() as u64,
        initramfs_unpacked_bytes: archive.len() as u64,
        runtime_bytes,
        runtime_root_hash: root.hex(),
        content: written.content.hex(),
    };
    Ok(Built { output, inspection, report })
}

fn compress_initramfs(archive: &[u8], cache: &DerivedCache, progress: &dyn Progress) -> Result<Arc<[u8]>, CompressError> {
    let compressor = Compressor::new(INITRAMFS_LEVEL, cache.clone());
    let compressed = step(progress, "compress the initramfs", || compressor.compress(archive));
    compressor.finish(progress);
    compressed
}

fn boot_files(ingredients: &Ingredients<'_>, initramfs: &[u8], runtime: &Runtime) -> Result<BootFiles, BuildError> {
    let microcode = ingredients.microcode.as_ref().map(Content::read).transpose()?;
    Ok(boot::files(&BootParts {
        board: ingredients.board,
        loader: ingredients.loader.as_ref(),
        kernel: &ingredients.kernel.read()?,
        kernel_version: &ingredients.kernel_version,
        initramfs,
        microcode: microcode.as_deref(),
        command_line: &command_line(ingredients.board, runtime),
        os_release: &uki::os_release(ingredients.version, &ingredients.board.name),
        files: &ingredients.boot_files,
    })?)
}

fn command_line(board: &Board, runtime: &Runtime) -> String {
    format!("{} {}", board.command_line(), runtime.verity.command_line_word())
}

/// Both trees, as the device will see them.
struct Trees {
    root: Tree,
    runtime: Tree,
}

impl Trees {
    fn new(ingredients: &Ingredients<'_>) -> Result<Self, BuildError> {
        let programs = &ingredients.programs;
        programs.check()?;
        let program = |path: &Path| Content::Path { path: path.to_owned() };
        let release = Release {
            version: ingredients.version.to_owned(),
            board: ingredients.board.name.clone(),
            architecture: ingredients.board.architecture,
            watchdog: ingredients.board.watchdog.clone(),
            build_time_floor: ingredients.build_time_floor,
            k3s_roles: ingredients.board.k3s_roles.clone(),
            memory_mib: Some(ingredients.board.memory_mib),
        };
        let root = rootfs::root(RootParts {
            init: program(&programs.init),
            apid: program(&programs.apid),
            architecture: ingredients.board.architecture,
            release: release.to_json(),
            hardware: ingredients.hardware.clone(),
        })?;
        let importer = program(&programs.images_importer);
        let runtime = rootfs::runtime(ingredients.runtime.clone(), importer, &ingredients.component_list)?;
        Ok(Self { root, runtime })
    }

    fn check(&self, board: &Board) -> Result<(), BuildError> {
        let (initramfs, runtime) = (Facts::of_tree(&self.root)?, Facts::of_tree(&self.runtime)?);
        check::check(&Subject { initramfs: &initramfs, runtime: &runtime, architecture: board.architecture })?;
        Ok(())
    }
}

/// Makes the runtime image in an unnamed file beside the output, and the tree over it.
fn make_runtime(tree: &Tree, cache: &DerivedCache, progress: &dyn Progress, out: &Place) -> Result<Runtime, BuildError> {
    let mut file = out.scratch()?;
    let compressor = Compressor::new(RUNTIME_LEVEL, cache.clone());
    let bytes = squashfs::write(&rootfs::without_usr(tree)?, compressor, progress, &mut file).map_err(|error| match error {
        SquashfsError::Write(BackhandError::StdIo(source)) => BuildError::Output(out.failure(source)),
        other => BuildError::Squashfs(other),
    })?;
    let content = digest(&mut file).map_err(|source| VerityError::Read { offset: 0, source })?;
    let salt = Digest::of_parts("skerry verity salt 1", [content.as_bytes().as_slice()]);
    let verity = step(progress, "hash the runtime image", || verity::build(&file, 0, bytes, salt, content.guid("verity")))?;
    Ok(Runtime { file, verity })
}

fn digest(file: &mut File) -> io::Result<Digest> {
    file.rewind()?;
    let mut hasher = Hasher::new();
    io::copy(&mut file.by_ref(), &mut hasher)?;
    Ok(hasher.finish())
}

#[cfg(test)]
pub(crate) mod tests;
