//! What a configuration may say although this version does not act on it yet. A node accepts it and reports it; nothing is silently
//! ignored.

use crate::flat::{flatten, is_within};
use crate::schema::MachineConfig;

/// The settings this version does not act on.
const NOT_YET_IN_EFFECT: [&str; 6] = [
    "machine.time.servers",
    "machine.volumes.data.encrypted",
    "machine.watchdog",
    "machine.logging.destination",
    "machine.health.deadlineSeconds",
    "hub",
];

/// Which of them a configuration sets, by path.
pub fn not_yet_in_effect(config: &MachineConfig) -> Vec<String> {
    let leaves = flatten(config);
    let is_set = |path: &str| leaves.iter().any(|(leaf_path, leaf)| is_within(leaf_path, path) && !leaf.is_nothing());
    NOT_YET_IN_EFFECT.into_iter().filter(|path| is_set(path)).map(str::to_owned).collect()
}
