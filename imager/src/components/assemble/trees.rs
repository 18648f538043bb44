//! From collected files to the trees an image is built of: the initramfs's hardware part and the runtime.

use super::gather::Parts;
use super::{AssembleError, Components, microcode};
use crate::board::Board;
use crate::components::cache::Cache;
use crate::components::extract::{Item, Items, glob_set};
use crate::components::kmod::{self, KernelIndex};
use crate::components::modules::{self, Table};
use crate::image::boot::Loader;
use crate::tree::{Content, Tree, TreeError};

/// Where the initramfs keeps kernel modules.
pub const MODULES_FOLDER: &str = "skerry/modules";
/// Where the initramfs keeps firmware.
pub const FIRMWARE_FOLDER: &str = "skerry/firmware";
/// Where the runtime image keeps its modules.
pub const RUNTIME_MODULES_FOLDER: &str = "usr/lib/skerry/modules";

const FIRMWARE_SOURCE: &str = "usr/lib/firmware";
/// Where components.toml places a kernel's device trees.
const DEVICE_TREES: &str = "dtb";
/// Where components.toml places the licences of what comes without sources; they go to the boot partition.
const LICENCES: &str = "licences/";

/// Lays everything out for `board`.
pub(super) fn lay_out(board: &Board, cache: &Cache, index: &KernelIndex, mut parts: Parts) -> Result<Components, AssembleError> {
    let selection = modules::select(index, &board.modules)?;
    let layer = Layer { cache, index, kernel: &parts.kernel };
    let mut initramfs = Tree::new();
    layer.add_plain_modules(&mut initramfs, MODULES_FOLDER, selection.initramfs)?;
    for glob in &board.firmware {
        for (file, item) in firmware(board, glob, &parts.firmware)? {
            layer.add_item(&mut initramfs, &format!("{FIRMWARE_FOLDER}/{file}"), item)?;
        }
    }
    let mut runtime = Tree::new();
    layer.add_modules(&mut runtime, RUNTIME_MODULES_FOLDER, &selection.runtime)?;
    for (path, item) in &parts.runtime {
        layer.add_item(&mut runtime, path, item)?;
    }
    parts.records.sort();
    Ok(Components {
        kernel: layer.required(&board.kernel, &parts.kernel, "vmlinuz")?,
        kernel_version: index.version.clone(),
        loader: board.boot.has_loader().then(|| layer.loader(&parts.loader)).transpose()?,
        microcode: board.microcode.as_ref().map(|_| microcode::early(cache, &parts.microcode)).transpose()?.map(Content::from),
        boot_files: layer.boot_files(board, &parts)?,
        initramfs,
        runtime,
        records: parts.records,
    })
}

/// The firmware files that one of the board's globs names, by path below the firmware folder.
fn firmware<'a>(board: &Board, glob: &str, given: &'a Items) -> Result<Vec<(&'a str, &'a Item)>, AssembleError> {
    let nowhere = || AssembleError::Firmware { board: board.name.clone(), file: glob.to_owned() };
    let set = glob_set(&[glob.to_owned()]).map_err(|source| AssembleError::Extract { component: "firmware".into(), source })?;
    let below = |path: &'a String| path.strip_prefix(FIRMWARE_SOURCE)?.strip_prefix('/');
    let found: Vec<_> =
        given.iter().filter_map(|(path, item)| Some((below(path)?, item))).filter(|(path, _)| set.is_match(path)).collect();
    if found.is_empty() { Err(nowhere()) } else { Ok(found) }
}

struct Layer<'a> {
    cache: &'a Cache,
    index: &'a KernelIndex,
    kernel: &'a Items,
}

impl Layer<'_> {
    fn add_modules(&self, tree: &mut Tree, folder: &str, table: &Table) -> Result<(), TreeError> {
        for (name, entry) in &table.modules {
            let item = &self.kernel[&self.index.modules[name].path];
            self.add_item(tree, &format!("{folder}/{}", entry.file), item)?;
        }
        Self::add_table(tree, folder, table)
    }

    /// Modules without their own compression: the initramfs is compressed as a whole, and each boot would undo theirs again.
    fn add_plain_modules(&self, tree: &mut Tree, folder: &str, mut table: Table) -> Result<(), AssembleError> {
        for (name, entry) in &mut table.modules {
            let module = &self.index.modules[name];
            let bytes = kmod::plain(self.cache, &module.path, &self.kernel[&module.path])?;
            entry.file.truncate(entry.file.find(".ko").map_or(entry.file.len(), |at| at + 3));
            tree.add_file(&format!("{folder}/{}", entry.file), bytes, 0o644)?;
        }
        Ok(Self::add_table(tree, folder, &table)?)
    }

    fn add_table(tree: &mut Tree, folder: &str, table: &Table) -> Result<(), TreeError> {
        let json = serde_json::to_vec(table).expect("a table has a JSON form");
        tree.add_file(&format!("{folder}/modules.json"), json, 0o644)
    }

    fn add_item(&self, tree: &mut Tree, path: &str, item: &Item) -> Result<(), TreeError> {
        match item {
            Item::File { sha256, executable, .. } => {
                tree.add_path(path, self.cache.path(*sha256), if *executable { 0o755 } else { 0o644 })
            }
            Item::Link { target } => tree.add_symlink(path, target.clone()),
        }
    }

    fn loader(&self, items: &Items) -> Result<Loader, AssembleError> {
        let file = |name| self.required("boot loader", items, name);
        Ok(Loader { program: file("boot.efi")?, stub: file("stub.efi")? })
    }

    /// What the boot partition holds besides loader, kernel and RAM disk.
    fn boot_files(&self, board: &Board, parts: &Parts) -> Result<Tree, AssembleError> {
        let mut tree = Tree::new();
        for (path, item) in &parts.boot_files {
            self.add_item(&mut tree, path, item)?;
        }
        for devicetree in &board.devicetrees {
            let file = &devicetree.file;
            let nowhere =
                || AssembleError::DeviceTree { board: board.name.clone(), file: file.clone(), kernel: board.kernel.clone() };
            let item = parts.kernel.get(&format!("{DEVICE_TREES}/{file}")).ok_or_else(nowhere)?;
            self.add_item(&mut tree, devicetree.file_name(), item)?;
        }
        let licences = parts.firmware.iter().chain(&parts.microcode);
        for (path, item) in licences.filter(|(path, _)| path.starts_with(LICENCES)) {
            self.add_item(&mut tree, path, item)?;
        }
        Ok(tree)
    }

    fn required(&self, component: &str, items: &Items, file: &'static str) -> Result<Content, AssembleError> {
        match items.get(file) {
            Some(Item::File { sha256, .. }) => Ok(Content::Path { path: self.cache.path(*sha256) }),
            Some(Item::Link { .. }) | None => Err(AssembleError::Lacking { component: component.into(), file }),
        }
    }
}
