//! Which kernel modules a board loads, and when: its own, and those of sets that several boards share.
//!
//! A set is a file `kernel/modules/NAME.toml` of the same form. It refuses sets that name sets: what a board gets is found in two steps.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::BoardError;
use crate::components::manifest::toml_reason;

/// Kernel modules by where and when they are loaded. Dependencies are added by themselves; built-in names are allowed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Modules {
    /// Sets whose modules belong to these lists; they are in them once the board is parsed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sets: Vec<String>,
    /// In the initramfs, loaded at once whatever hardware is seen.
    #[serde(default)]
    pub early: Vec<String>,
    /// In the initramfs, loaded when a device asks for them by alias.
    #[serde(default)]
    pub hardware: Vec<String>,
    /// In the runtime image, loaded before services.
    #[serde(default)]
    pub runtime: Vec<String>,
    /// In the runtime image, loaded when a device or the machine configuration asks for them.
    #[serde(default)]
    pub runtime_hardware: Vec<String>,
}

impl Modules {
    /// Takes the modules of every named set in, each list's own first.
    pub(super) fn take_in(&mut self, sets: &ModuleSets) -> Result<(), String> {
        for name in &self.sets {
            let set = sets.0.get(name).ok_or_else(|| {
                let known = sets.0.keys().cloned().collect::<Vec<_>>().join(", ");
                format!("module set `{name}` is not there: there are {known}")
            })?;
            let lists = [
                (&mut self.early, &set.early),
                (&mut self.hardware, &set.hardware),
                (&mut self.runtime, &set.runtime),
                (&mut self.runtime_hardware, &set.runtime_hardware),
            ];
            for (own, more) in lists {
                own.extend(more.iter().cloned());
            }
        }
        Ok(())
    }
}

/// The sets of `kernel/modules`, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModuleSets(BTreeMap<String, Modules>);

impl ModuleSets {
    /// Reads every set of a folder; a folder that is not there holds none.
    pub fn load(folder: &Path) -> Result<Self, BoardError> {
        if !folder.is_dir() {
            return Ok(Self::default());
        }
        let mut sets = BTreeMap::new();
        for name in super::names(folder)? {
            let path = folder.join(format!("{name}.toml"));
            let text = std::fs::read_to_string(&path).map_err(|source| BoardError::Read { path: path.clone(), source })?;
            let set = Self::parse(&text).map_err(|reason| BoardError::Parse { path, reason })?;
            sets.insert(name, set);
        }
        Ok(Self(sets))
    }

    fn parse(text: &str) -> Result<Modules, String> {
        let set: Modules = toml::from_str(text).map_err(|error| toml_reason(text, &error))?;
        match set.sets.is_empty() {
            true => Ok(set),
            false => Err("`sets` is for boards: a set cannot name other sets".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sets() -> ModuleSets {
        let set = ModuleSets::parse("early = [\"ext4\"]\nruntime = [\"overlay\"]\n").expect("a set");
        ModuleSets([("base".to_owned(), set)].into())
    }

    #[test]
    fn a_set_comes_after_what_the_board_names() {
        let mut modules: Modules = toml::from_str("sets = [\"base\"]\nearly = [\"nvme\"]\n").expect("modules");
        modules.take_in(&sets()).expect("there");
        assert_eq!((modules.early, modules.runtime), (vec!["nvme".to_owned(), "ext4".into()], vec!["overlay".to_owned()]));
    }

    #[test]
    fn sets_that_lead_nowhere_are_named() {
        let mut modules: Modules = toml::from_str("sets = [\"bass\"]\n").expect("modules");
        assert_eq!(modules.take_in(&sets()), Err("module set `bass` is not there: there are base".to_owned()));
        assert!(ModuleSets::parse("sets = [\"base\"]\n").expect_err("refused").contains("for boards"));
        assert!(ModuleSets::parse("erly = []\n").expect_err("refused").contains("erly"));
    }
}
