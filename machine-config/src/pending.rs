//! What a configuration may say although this version does not act on it yet. A node accepts it and reports it; nothing is silently
//! ignored.

use crate::flat::flatten;
use crate::path::is_within;
use crate::schema::MachineConfig;

/// The settings this version does not act on.
pub(crate) const NOT_YET_IN_EFFECT: [&str; 5] = [
    "machine.time.servers",
    "machine.volumes.data.encrypted",
    "machine.watchdog",
    "machine.logging.destination",
    "machine.health.deadlineSeconds",
];

/// Which of them a configuration sets, by path.
pub fn not_yet_in_effect(config: &MachineConfig) -> Vec<String> {
    let leaves = flatten(config);
    let is_set = |path: &str| leaves.iter().any(|(leaf_path, leaf)| is_within(leaf_path, path) && !leaf.is_nothing());
    NOT_YET_IN_EFFECT.into_iter().filter(|path| is_set(path)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json_schema::tests::paths;
    use crate::parse::parse;

    fn pending(more: &str) -> Vec<String> {
        let base = "apiVersion: skerry.dev/v1alpha1\nkind: MachineConfig\nmetadata: {name: a, fleet: acme, generation: 1}\ntarget: {any: true}\n";
        not_yet_in_effect(&parse(format!("{base}{more}").as_bytes()).expect("well formed"))
    }

    #[test]
    fn no_row_of_the_table_is_about_a_setting_that_is_gone() {
        assert!(NOT_YET_IN_EFFECT.iter().all(|path| paths().contains(*path)));
    }

    #[test]
    fn only_what_is_set_is_reported() {
        assert_eq!(pending(""), Vec::<String>::new());
        assert_eq!(
            pending("machine: {watchdog: {}, volumes: {data: {encrypted: false}}, time: {servers: []}}\n"),
            Vec::<String>::new()
        );
        assert_eq!(
            pending(
                "machine: {watchdog: {timeoutSeconds: 60}, logging: {level: debug, destination: \"tcp://a:1\"}, time: {servers: [a]}}\n"
            ),
            ["machine.time.servers", "machine.watchdog", "machine.logging.destination"]
        );
        assert_eq!(pending("hub: {url: \"https://a\", pin: a}\n"), Vec::<String>::new());
    }
}
