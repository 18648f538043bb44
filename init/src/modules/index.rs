//! `modules.json` as imager writes it, and the pure question of what to load for a name or an alias, in which order.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;

use super::fnmatch;
use crate::image_file::{self, ImageFileError};

/// One module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Module {
    /// File name beside the index.
    pub file: String,
    /// Modules that must be there first, in load order.
    #[serde(default)]
    pub depends: Vec<String>,
    /// Modules that should be there first, when there are any of that name.
    #[serde(default)]
    pub softdeps_pre: Vec<String>,
    /// Patterns of the hardware it drives.
    #[serde(default)]
    pub aliases: Vec<String>,
}

/// The modules of one folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Index {
    /// Kernel release they were built for.
    pub kernel: String,
    /// By name, with underscores.
    pub modules: BTreeMap<String, Module>,
    /// Aliases (and names) the kernel answers without a module.
    #[serde(default)]
    pub builtin_aliases: Vec<String>,
    /// Loaded at once, whatever hardware is seen.
    #[serde(default)]
    pub early: Vec<String>,
    /// Loaded before services.
    #[serde(default)]
    pub runtime: Vec<String>,
}

/// One module to load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    /// Its name.
    pub name: String,
    /// Its file name beside the index.
    pub file: String,
}

/// What to load, in order, and what was asked for and is nowhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadPlan {
    /// In this order.
    pub loads: Vec<Load>,
    /// Names that are neither modules here nor built in.
    pub missing: Vec<String>,
}

impl Index {
    /// Reads `modules.json` in `folder`.
    pub fn load(folder: &Path) -> Result<Self, ImageFileError> {
        image_file::load(&folder.join("modules.json"))
    }

    /// Whether there is a module of this name.
    pub fn has(&self, name: &str) -> bool {
        self.modules.contains_key(&canonical(name))
    }

    /// The names of modules whose aliases match a device's.
    pub fn for_alias(&self, alias: &str) -> Vec<&str> {
        let matching = |module: &Module| module.aliases.iter().any(|pattern| fnmatch::matches(pattern, alias));
        self.modules.iter().filter(|(_, module)| matching(module)).map(|(name, _)| name.as_str()).collect()
    }

    /// What loading these names takes, dependencies first; `loaded` are there already.
    pub fn plan<'a>(&self, wanted: impl IntoIterator<Item = &'a str>, loaded: &BTreeSet<String>) -> LoadPlan {
        let mut plan = Planner { index: self, seen: loaded.clone(), plan: LoadPlan::default() };
        for name in wanted {
            plan.want(&canonical(name), Wanted::ByName);
        }
        plan.plan
    }
}

/// The kernel takes `-` and `_` for the same; files and /proc/modules use `_`.
fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    ByName,
    IfThere,
}

struct Planner<'a> {
    index: &'a Index,
    seen: BTreeSet<String>,
    plan: LoadPlan,
}

impl Planner<'_> {
    /// Depth first. A name is marked before its dependencies, so a circle in a damaged index ends.
    fn want(&mut self, name: &str, wanted: Wanted) {
        if !self.seen.insert(name.to_owned()) {
            return;
        }
        let Some(module) = self.index.modules.get(name) else {
            if wanted == Wanted::ByName && !self.builtin(name) {
                self.plan.missing.push(name.to_owned());
            }
            return;
        };
        for before in &module.softdeps_pre {
            self.want(&canonical(before), Wanted::IfThere);
        }
        for before in &module.depends {
            self.want(&canonical(before), Wanted::ByName);
        }
        self.plan.loads.push(Load { name: name.to_owned(), file: module.file.clone() });
    }

    fn builtin(&self, name: &str) -> bool {
        self.index.builtin_aliases.iter().any(|pattern| fnmatch::matches(&canonical(pattern), name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> Index {
        serde_json::from_str(
            r#"{"kernel": "6.12.1", "early": ["virtio_blk"], "runtime": [], "builtin_aliases": ["tun"],
                "modules": {
                  "virtio_blk": {"file": "virtio_blk.ko.xz", "depends": ["virtio_ring", "virtio"], "aliases": ["virtio:d00000002v*"]},
                  "virtio": {"file": "virtio.ko"},
                  "virtio_ring": {"file": "virtio_ring.ko", "depends": ["virtio"]},
                  "ext4": {"file": "ext4.ko.xz", "depends": ["jbd2"], "softdeps_pre": ["crc32c", "absent"]},
                  "jbd2": {"file": "jbd2.ko"}, "crc32c": {"file": "crc32c.ko"},
                  "a": {"file": "a.ko", "depends": ["b"]}, "b": {"file": "b.ko", "depends": ["a"]},
                  "br_netfilter": {"file": "br_netfilter.ko", "depends": ["gone"]}}}"#,
        )
        .expect("a well-formed index")
    }

    fn names(plan: &LoadPlan) -> Vec<&str> {
        plan.loads.iter().map(|load| load.name.as_str()).collect()
    }

    #[test]
    fn dependencies_come_first_and_once() {
        let plan = index().plan(["virtio_blk", "virtio_blk"], &BTreeSet::new());
        assert_eq!(names(&plan), ["virtio", "virtio_ring", "virtio_blk"]);
        assert!(plan.missing.is_empty());
    }

    #[test]
    fn what_is_loaded_is_not_loaded_again() {
        let plan = index().plan(["virtio_blk"], &BTreeSet::from(["virtio".to_owned(), "virtio_ring".to_owned()]));
        assert_eq!(names(&plan), ["virtio_blk"]);
    }

    #[test]
    fn a_soft_dependency_that_is_absent_is_no_error() {
        let plan = index().plan(["ext4"], &BTreeSet::new());
        assert_eq!(names(&plan), ["crc32c", "jbd2", "ext4"]);
        assert!(plan.missing.is_empty());
    }

    #[test]
    fn a_circle_ends() {
        assert_eq!(names(&index().plan(["a"], &BTreeSet::new())), ["b", "a"]);
    }

    #[test]
    fn a_name_that_is_nowhere_is_reported() {
        let plan = index().plan(["tun", "nothing-here", "br-netfilter"], &BTreeSet::new());
        assert_eq!(plan.missing, ["nothing_here", "gone"]);
        assert_eq!(names(&plan), ["br_netfilter"]);
    }

    #[test]
    fn hardware_finds_its_driver() {
        assert_eq!(index().for_alias("virtio:d00000002v00001AF4"), ["virtio_blk"]);
        assert!(index().for_alias("virtio:d00000001v00001AF4").is_empty());
    }
}
