//! What changes between two configurations, and what each change costs: nothing, a service's restart, or a reboot.

use std::collections::BTreeSet;
use std::fmt;

use crate::flat::{Leaf, flatten, is_within};
use crate::schema::MachineConfig;

/// What a change costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// Takes effect at once; nothing stops.
    Live,
    /// This service is restarted.
    Restart(&'static str),
    /// Takes effect at the next boot, which follows at once.
    Reboot,
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Live => f.write_str("live"),
            Self::Restart(service) => write!(f, "restart {service}"),
            Self::Reboot => f.write_str("reboot"),
        }
    }
}

/// One setting that changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// For example `machine.network.nameservers[0]`.
    pub path: String,
    /// As it was; empty when it was not set. Secrets masked.
    pub old: String,
    /// As it will be; empty when it is removed. Secrets masked.
    pub new: String,
    /// What it costs.
    pub effect: Effect,
}

/// What changing a part of the configuration costs. The longest path that fits counts; every setting fits one (a test walks the schema).
const EFFECTS: &[(&str, Effect)] = &[
    ("apiVersion", Effect::Live),
    ("kind", Effect::Live),
    ("metadata", Effect::Live),
    // The host name is read by everything that runs; k3s registers its node under it.
    ("metadata.name", Effect::Reboot),
    ("target", Effect::Live),
    ("machine.hostname", Effect::Reboot),
    ("machine.time", Effect::Live),
    ("machine.network", Effect::Live),
    ("machine.volumes", Effect::Reboot),
    ("machine.sysctls", Effect::Live),
    ("machine.modules", Effect::Live),
    ("machine.watchdog", Effect::Live),
    ("machine.logging", Effect::Live),
    ("machine.registries", Effect::Restart("containerd")),
    ("machine.health", Effect::Live),
    ("api", Effect::Live),
    ("api.port", Effect::Restart("apid")),
    ("hub", Effect::Live),
    ("k3s", Effect::Restart("k3s")),
];

/// What removing a setting costs where that differs from changing it: the kernel keeps a parameter or a module until it starts anew.
const REMOVAL_EFFECTS: &[(&str, Effect)] = &[("machine.sysctls", Effect::Reboot), ("machine.modules", Effect::Reboot)];

fn effect_of(path: &str, removed: bool) -> Effect {
    let removal = REMOVAL_EFFECTS.iter().filter(|(parent, _)| removed && is_within(path, parent));
    let fits = EFFECTS.iter().filter(|(parent, _)| is_within(path, parent));
    let (_, effect) = removal.chain(fits).max_by_key(|(parent, _)| parent.len()).expect("a test finds each setting in the table");
    *effect
}

/// Every setting that differs, by path. Without an old configuration, everything that the new one sets: nothing runs yet that a change
/// could disturb, so all of it is live.
pub fn compare(old: Option<&MachineConfig>, new: &MachineConfig) -> Vec<Change> {
    let Some(old) = old else {
        let set = flatten(new).into_iter().filter(|(_, leaf)| !leaf.is_nothing());
        return set.map(|(path, leaf)| Change { path, old: String::new(), new: leaf.shown, effect: Effect::Live }).collect();
    };
    let (old, new) = (flatten(old), flatten(new));
    let paths: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    paths
        .into_iter()
        .filter(|path| old.get(*path) != new.get(*path))
        .filter_map(|path| change(path, old.get(path), new.get(path)))
        .collect()
}

/// None when a setting that says nothing comes or goes: the first item of a list tells of its list, too.
fn change(path: &str, old: Option<&Leaf>, new: Option<&Leaf>) -> Option<Change> {
    if [old, new].into_iter().flatten().all(Leaf::is_nothing) {
        return None;
    }
    let shown = |leaf: Option<&Leaf>| leaf.map(|leaf| leaf.shown.clone()).unwrap_or_default();
    Some(Change { path: path.to_owned(), old: shown(old), new: shown(new), effect: effect_of(path, new.is_none()) })
}
