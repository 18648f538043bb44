//! From collected files to the trees an image is built of: the initramfs's hardware part and the runtime.

use super::gather::Parts;
use super::{AssembleError, Components};
use crate::board::Board;
use crate::components::cache::Cache;
use crate::components::extract::{Item, Items};
use crate::components::kmod::{self, KernelIndex};
use crate::components::modules::{self, Table};
use crate::tree::{Content, Tree, TreeError};

/// Where the initramfs keeps kernel modules.
pub const MODULES_FOLDER: &str = "skerry/modules";
/// Where the initramfs keeps firmware.
pub const FIRMWARE_FOLDER: &str = "skerry/firmware";
/// Where the runtime image keeps its modules.
pub const RUNTIME_MODULES_FOLDER: &str = "usr/lib/skerry/modules";

const FIRMWARE_SOURCE: &str = "usr/lib/firmware";

/// Lays everything out for `board`.
pub(super) fn lay_out(board: &Board, cache: &Cache, index: &KernelIndex, mut parts: Parts) -> Result<Components, AssembleError> {
    let selection = modules::select(index, &board.modules)?;
    let layer = Layer { cache, index, kernel: &parts.kernel };
    let mut initramfs = Tree::new();
    layer.add_plain_modules(&mut initramfs, MODULES_FOLDER, selection.initramfs)?;
    for file in &board.firmware {
        let item = parts.firmware.get(&format!("{FIRMWARE_SOURCE}/{file}"));
        let item = item.ok_or_else(|| AssembleError::Firmware { board: board.name.clone(), file: file.clone() })?;
        layer.add_item(&mut initramfs, &format!("{FIRMWARE_FOLDER}/{file}"), item)?;
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
        loader: layer.required("boot loader", &parts.loader, "boot.efi")?,
        stub: layer.required("boot loader", &parts.loader, "stub.efi")?,
        initramfs,
        runtime,
        records: parts.records,
    })
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

    fn required(&self, component: &str, items: &Items, file: &'static str) -> Result<Content, AssembleError> {
        match items.get(file) {
            Some(Item::File { sha256, .. }) => Ok(Content::Path { path: self.cache.path(*sha256) }),
            Some(Item::Link { .. }) | None => Err(AssembleError::Lacking { component: component.into(), file }),
        }
    }
}
