//! Writing a configuration as YAML, for people: with secrets masked, or whole.

use serde::Serialize;

use crate::schema::MachineConfig;
use crate::secret::exposed;

/// As YAML with every secret masked: what the API serves.
pub fn mask(config: &MachineConfig) -> String {
    to_yaml(config)
}

/// As YAML, secrets included: for the file of the operator who owns them. [`parse`](crate::parse()) reads it back to the same configuration.
pub fn write(config: &MachineConfig) -> String {
    exposed(|| to_yaml(config))
}

fn to_yaml<T: Serialize>(value: &T) -> String {
    // No block style for long single lines: a folded text is hard to edit right.
    let options = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX };
    serde_saphyr::to_string_with_options(value, options).expect("the schema has no value that YAML cannot say")
}
