//! `apply`, `config diff` and `get config`.

use api::v1;

use super::mirror::mirror;
use super::{View, table};

mirror! {
    /// The configuration in force.
    HeldConfig = v1::GetConfigResponse {
        yaml: String,
        generation: u64,
        digest: String,
        key_id: String,
    }
}
mirror! {
    /// One difference between two configurations.
    Change = v1::ConfigChange {
        path: String,
        old: String,
        new: String,
        effect: String,
    }
}
mirror! {
    /// What the node did with a configuration.
    Answer = v1::ApplyConfigResponse {
        generation: u64,
        digest: String,
        changes: Vec<Change>,
        not_yet_in_effect: Vec<String>,
        already_in_force: bool,
    }
}

/// What the node did, or would have done.
#[derive(Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Applied {
    #[serde(flatten)]
    pub(crate) answer: Answer,
    pub(crate) dry_run: bool,
}

impl View for HeldConfig {
    fn text(&self) -> String {
        // YAML has no control characters but line ends; what is shown can be stored and edited.
        format!(
            "# generation {}, digest {}, signed with key {}; secrets masked\n{}",
            self.generation, self.digest, self.key_id, self.yaml
        )
    }
}

impl View for Applied {
    fn text(&self) -> String {
        let Answer { generation, digest, changes, not_yet_in_effect, already_in_force } = &self.answer;
        let verdict = match (already_in_force, self.dry_run) {
            (true, _) => "already in force",
            (false, true) => "would be accepted",
            (false, false) => "accepted",
        };
        let mut text = format!("generation {generation} {verdict}, digest {digest}\n");
        if !changes.is_empty() {
            text.push('\n');
            text.push_str(&changes_table(changes));
        }
        for path in not_yet_in_effect {
            text.push_str(&format!("warning: {path} is not yet in effect in the node's version\n"));
        }
        text
    }
}

pub(crate) fn changes_table(changes: &[Change]) -> String {
    let row = |change: &Change| [change.path.clone(), brief(&change.old), brief(&change.new), change.effect.clone()];
    table(["CHANGE", "OLD", "NEW", "EFFECT"], changes.iter().map(row))
}

/// Characters of a value that a table shows: a device id is shown whole.
const VALUE_CHARS: usize = 64;

/// The beginning of a certificate's or a manifest's text; programs get all of it.
fn brief(value: &str) -> String {
    let lines = value.lines().count();
    let first = value.lines().next().unwrap_or_default();
    let shown: String = first.chars().take(VALUE_CHARS).collect();
    match (lines > 1, shown.len() < first.len()) {
        (true, _) => format!("{shown} … ({lines} lines)"),
        (false, true) => format!("{shown} …"),
        (false, false) => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_does_not_widen_the_table() {
        assert_eq!(
            brief("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"),
            "-----BEGIN CERTIFICATE----- … (3 lines)"
        );
        assert_eq!(brief(&"ä".repeat(70)), format!("{} …", "ä".repeat(64)));
        assert_eq!(brief(&"a".repeat(64)), "a".repeat(64));
        assert_eq!(brief(""), "");
    }
}
