//! Which kernel modules an image carries, and the `modules.json` that tells init about them.
//!
//! Pure: a board's names and a kernel's index in, two tables out, one for the initramfs and one for the runtime image. A name that is neither a module nor
//! built in is an error here, at build time, not a missing device in the field.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::kmod::{KernelIndex, normalised};
use crate::board::Modules;

/// `modules.json`, as docs/architecture.md describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// The kernel they belong to.
    pub kernel: String,
    /// The modules that lie beside this file.
    pub modules: BTreeMap<String, TableEntry>,
    /// Names and aliases the kernel itself answers, so that nobody looks for a module.
    pub builtin_aliases: Vec<String>,
    /// Loaded at once.
    pub early: Vec<String>,
    /// Loaded before services.
    pub runtime: Vec<String>,
}

/// One module of the table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableEntry {
    /// File name beside the table.
    pub file: String,
    /// Everything it needs, in the order to load it; the runtime's modules may need some of the initramfs.
    pub depends: Vec<String>,
    /// What should be loaded before it, if it is there.
    pub softdeps_pre: Vec<String>,
    /// Names it is asked for by.
    pub aliases: Vec<String>,
}

/// The modules of one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// For the initramfs.
    pub initramfs: Table,
    /// For the runtime image: without what is loaded early, but with all else it needs, so that it never has to look back.
    pub runtime: Table,
}

/// Why modules cannot be chosen.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModuleError {
    /// A board's name leads nowhere.
    #[error(
        "cannot find the kernel module `{name}` that the board names as `{list}`: kernel {kernel} neither has it nor has it built in"
    )]
    Unknown {
        /// The module.
        name: String,
        /// The list it stands in.
        list: &'static str,
        /// The kernel's version.
        kernel: String,
    },
    /// A dependency leads nowhere: the kernel package is incomplete.
    #[error(
        "cannot use the kernel module `{name}`: it depends on `{needed}`, which kernel {kernel} neither has nor has built in"
    )]
    Dependency {
        /// The module.
        name: String,
        /// What it needs.
        needed: String,
        /// The kernel's version.
        kernel: String,
    },
}

/// Chooses the modules for a board.
pub fn select(index: &KernelIndex, names: &Modules) -> Result<Selection, ModuleError> {
    let early = loadable(index, "early", &names.early)?;
    let hardware = loadable(index, "hardware", &names.hardware)?;
    let runtime = loadable(index, "runtime", &names.runtime)?;
    let on_demand = loadable(index, "runtime-hardware", &names.runtime_hardware)?;

    let in_ram = closure(index, early.iter().chain(&hardware))?;
    let loaded = closure(index, early.iter())?;
    let needed = closure(index, runtime.iter().chain(&on_demand))?;
    let in_runtime: BTreeSet<_> = needed.difference(&loaded).cloned().collect();
    let table = |modules: &BTreeSet<String>| -> Result<_, ModuleError> {
        modules.iter().map(|name| Ok((name.clone(), entry(index, name)?))).collect::<Result<BTreeMap<_, _>, _>>()
    };
    let common = Table { kernel: index.version.clone(), builtin_aliases: builtin(index), ..Table::default() };
    let initramfs = Table { modules: table(&in_ram)?, early, ..common.clone() };
    let runtime = Table { modules: table(&in_runtime)?, runtime, ..common };
    Ok(Selection { initramfs, runtime })
}

fn builtin(index: &KernelIndex) -> Vec<String> {
    let all: BTreeSet<_> = index.builtin.iter().flat_map(|(name, aliases)| std::iter::once(name).chain(aliases)).collect();
    all.into_iter().cloned().collect()
}

/// The named modules that can be loaded; built-in ones need no loading and drop out.
fn loadable(index: &KernelIndex, list: &'static str, names: &[String]) -> Result<Vec<String>, ModuleError> {
    let mut kept = Vec::new();
    for name in names.iter().map(|name| normalised(name)) {
        if index.modules.contains_key(&name) {
            if !kept.contains(&name) {
                kept.push(name);
            }
        } else if !index.builtin.contains_key(&name) {
            return Err(ModuleError::Unknown { name, list, kernel: index.version.clone() });
        }
    }
    Ok(kept)
}

/// The modules with everything they need or want first.
fn closure<'a>(index: &KernelIndex, names: impl Iterator<Item = &'a String>) -> Result<BTreeSet<String>, ModuleError> {
    let mut all = BTreeSet::new();
    let mut open: Vec<String> = names.cloned().collect();
    while let Some(name) = open.pop() {
        if all.contains(&name) {
            continue;
        }
        open.extend(depends(index, &name)?);
        open.extend(softdeps(index, &name));
        all.insert(name);
    }
    Ok(all)
}

fn entry(index: &KernelIndex, name: &str) -> Result<TableEntry, ModuleError> {
    let module = &index.modules[name];
    let mut order = Vec::new();
    load_order(index, name, &mut order)?;
    order.retain(|needed| needed != name);
    Ok(TableEntry {
        file: module.path.rsplit('/').next().unwrap_or(&module.path).to_owned(),
        depends: order,
        softdeps_pre: softdeps(index, name),
        aliases: module.aliases.clone(),
    })
}

/// Appends everything `name` needs, deepest first, then itself.
fn load_order(index: &KernelIndex, name: &str, order: &mut Vec<String>) -> Result<(), ModuleError> {
    for needed in depends(index, name)? {
        if !order.contains(&needed) {
            load_order(index, &needed, order)?;
        }
    }
    order.push(name.to_owned());
    Ok(())
}

fn depends(index: &KernelIndex, name: &str) -> Result<Vec<String>, ModuleError> {
    let unknown = |needed: &String| !index.modules.contains_key(needed) && !index.builtin.contains_key(needed);
    let all = &index.modules[name].depends;
    if let Some(needed) = all.iter().find(|needed| unknown(needed)) {
        return Err(ModuleError::Dependency { name: name.into(), needed: needed.clone(), kernel: index.version.clone() });
    }
    Ok(all.iter().filter(|needed| index.modules.contains_key(*needed)).cloned().collect())
}

/// Soft dependencies are wishes: those the kernel has as modules count, the others do not.
fn softdeps(index: &KernelIndex, name: &str) -> Vec<String> {
    index.modules[name].softdeps_pre.iter().filter(|wish| index.modules.contains_key(*wish)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::super::kmod::Module;
    use super::*;

    fn index() -> KernelIndex {
        let module = |name: &str, depends: &[&str], soft: &[&str]| {
            let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
            let path = format!("usr/lib/modules/6/kernel/{name}.ko.xz");
            (name.to_owned(), Module { path, aliases: vec![format!("{name}:*")], depends: own(depends), softdeps_pre: own(soft) })
        };
        KernelIndex {
            version: "6".into(),
            modules: [
                module("net", &["failover"], &[]),
                module("failover", &["core"], &["crc", "nowhere"]),
                module("core", &["ext4"], &[]),
                module("crc", &[], &[]),
                module("overlay", &["core"], &[]),
                module("fuse", &[], &[]),
                module("broken", &["gone"], &[]),
            ]
            .into(),
            builtin: [("ext4".to_owned(), vec!["fs-ext4".to_owned()])].into(),
        }
    }

    fn names(early: &[&str], hardware: &[&str], runtime: &[&str], runtime_hardware: &[&str]) -> Modules {
        let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Modules {
            sets: vec![],
            early: own(early),
            hardware: own(hardware),
            runtime: own(runtime),
            runtime_hardware: own(runtime_hardware),
        }
    }

    #[test]
    fn dependencies_come_along_in_load_order() {
        let chosen = select(&index(), &names(&["ext4", "net"], &[], &["overlay"], &["fuse"])).expect("chosen");
        let ram: Vec<_> = chosen.initramfs.modules.keys().map(String::as_str).collect();
        assert_eq!(ram, ["core", "crc", "failover", "net"]);
        assert_eq!(chosen.initramfs.modules["net"].depends, ["core", "failover"]);
        assert_eq!(chosen.initramfs.modules["failover"].softdeps_pre, ["crc"]);
        assert_eq!(chosen.initramfs.early, ["net"], "ext4 is built in");
        assert_eq!(chosen.initramfs.builtin_aliases, ["ext4", "fs-ext4"]);
        let runtime: Vec<_> = chosen.runtime.modules.keys().map(String::as_str).collect();
        assert_eq!(runtime, ["fuse", "overlay"], "core is loaded early");
        assert_eq!(chosen.runtime.modules["overlay"].depends, ["core"]);
        assert_eq!(chosen.runtime.runtime, ["overlay"]);
    }

    #[test]
    fn the_runtime_carries_what_hardware_may_not_have_loaded() {
        let chosen = select(&index(), &names(&[], &["net"], &["overlay"], &[])).expect("chosen");
        assert!(chosen.initramfs.modules.contains_key("core") && chosen.runtime.modules.contains_key("core"));
    }

    #[test]
    fn names_that_lead_nowhere_are_errors() {
        let error = select(&index(), &names(&[], &["wifi-6"], &[], &[])).expect_err("no wifi");
        assert_eq!(error, ModuleError::Unknown { name: "wifi_6".into(), list: "hardware", kernel: "6".into() });
        let error = select(&index(), &names(&[], &[], &["broken"], &[])).expect_err("gone");
        assert!(matches!(error, ModuleError::Dependency { needed, .. } if needed == "gone"));
    }

    #[test]
    fn the_json_is_what_init_reads() {
        let chosen = select(&index(), &names(&["crc"], &[], &["overlay"], &[])).expect("chosen");
        let json = serde_json::to_string(&chosen.initramfs).expect("JSON");
        assert_eq!(
            json,
            r#"{"kernel":"6","modules":{"crc":{"file":"crc.ko.xz","depends":[],"softdeps_pre":[],"aliases":["crc:*"]}},"#
                .to_owned()
                + r#""builtin_aliases":["ext4","fs-ext4"],"early":["crc"],"runtime":[]}"#
        );
    }
}
