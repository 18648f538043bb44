//! What changes between two configurations, and what each change costs: nothing, a service's restart, or a reboot.

use std::collections::BTreeSet;
use std::fmt;

use crate::flat::{Leaf, flatten};
use crate::path::is_within;
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
    // A system on its disk does not act on it, one that waits for a disk looks again.
    ("machine.install", Effect::Live),
    ("api", Effect::Live),
    ("api.port", Effect::Restart("apid")),
    ("hub", Effect::Live),
    ("k3s", Effect::Restart("k3s")),
];

/// What removing a setting costs where that differs from changing it: the kernel keeps a parameter or a module until it starts anew.
const REMOVAL_EFFECTS: &[(&str, Effect)] = &[("machine.sysctls", Effect::Reboot), ("machine.modules", Effect::Reboot)];

/// What changing the setting at this path costs, or removing it.
pub(crate) fn effect_of(path: &str, removed: bool) -> Effect {
    let removal = REMOVAL_EFFECTS.iter().filter(|(parent, _)| removed && is_within(path, parent));
    let fits = EFFECTS.iter().filter(|(parent, _)| is_within(path, parent));
    // Of two rows for one path, `max_by_key` gives the later: the removal's.
    let (_, effect) = fits.chain(removal).max_by_key(|(parent, _)| parent.len()).expect("a test finds each setting in the table");
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json_schema::tests::paths;
    use crate::parse::parse;

    const BASE: &str = "\
apiVersion: skerry.dev/v1alpha1
kind: MachineConfig
metadata: {name: a, fleet: acme, generation: 1}
target: {any: true}
";

    fn config(more: &str) -> MachineConfig {
        parse(format!("{BASE}{more}").as_bytes()).unwrap_or_else(|error| panic!("{error}"))
    }

    fn changes(old: &str, new: &str) -> Vec<String> {
        let changes = compare(Some(&config(old)), &config(new));
        changes.iter().map(|change| format!("{}: {:?} -> {:?}, {}", change.path, change.old, change.new, change.effect)).collect()
    }

    #[test]
    fn every_setting_of_the_schema_has_an_effect() {
        for path in paths() {
            let fits = EFFECTS.iter().any(|(parent, _)| is_within(&path, parent));
            let above = EFFECTS.iter().any(|(child, _)| is_within(child, &path));
            assert!(fits || above, "{path} stands in no row of the table");
        }
    }

    #[test]
    fn no_row_of_the_tables_is_about_a_setting_that_is_gone() {
        for (path, effect) in EFFECTS.iter().chain(REMOVAL_EFFECTS) {
            assert!(paths().contains(*path), "{path}");
            if let Effect::Restart(service) = effect {
                assert!(crate::SERVICES.contains(service), "{service}");
            }
        }
    }

    #[test]
    fn each_change_tells_path_values_and_effect() {
        assert_eq!(
            changes(
                "machine: {network: {nameservers: [10.0.0.1]}}\n",
                "machine: {network: {nameservers: [10.0.0.2, 10.0.0.3]}}\n"
            ),
            [
                "machine.network.nameservers[0]: \"10.0.0.1\" -> \"10.0.0.2\", live",
                "machine.network.nameservers[1]: \"\" -> \"10.0.0.3\", live",
            ]
        );
        assert_eq!(
            changes("", "machine: {registries: {docker.io: {mirrors: [\"https://m.example\"]}}}\n"),
            ["machine.registries[\"docker.io\"].mirrors[0]: \"\" -> \"https://m.example\", restart containerd"]
        );
        assert_eq!(changes("api: {port: 7440}\n", "api: {port: 7441}\n"), ["api.port: \"7440\" -> \"7441\", restart apid"]);
        assert_eq!(changes("", "k3s: {role: server}\n"), ["k3s.role: \"\" -> \"server\", restart k3s"]);
        assert_eq!(changes("machine: {hostname: b}\n", ""), ["machine.hostname: \"b\" -> \"\", reboot"]);
    }

    #[test]
    fn removing_what_the_kernel_keeps_takes_a_reboot() {
        let sysctl = "machine: {sysctls: {net.core.somaxconn: \"1\"}}\n";
        let path = "machine.sysctls[\"net.core.somaxconn\"]";
        assert_eq!(changes("", sysctl), [format!("{path}: \"\" -> \"1\", live")]);
        assert_eq!(changes(sysctl, ""), [format!("{path}: \"1\" -> \"\", reboot")]);
    }

    #[test]
    fn a_changed_secret_is_seen_and_not_shown() {
        let with = |token: &str| format!("k3s: {{role: agent, server: \"https://a:6443\", token: {token}}}\n");
        let changes = changes(&with("the-first-token-of-all"), &with("another-token-than-that"));
        assert_eq!(changes, ["k3s.token: \"********\" -> \"********\", restart k3s"]);
    }

    #[test]
    fn the_first_configuration_lists_what_it_sets_and_disturbs_nothing() {
        let changes = compare(None, &config("machine: {hostname: b}\n"));
        assert!(changes.iter().any(|change| change.path == "machine.hostname" && change.new == "b"));
        assert!(changes.iter().all(|change| change.effect == Effect::Live && change.old.is_empty() && !change.new.is_empty()));
        assert!(!changes.iter().any(|change| change.path.starts_with("machine.network")));
    }
}
