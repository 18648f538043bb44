//! The schema as JSON Schema, for editors and for programs in other languages.

use serde_json::Value;

use crate::schema::MachineConfig;

/// JSON Schema (draft 2020-12) of a machine configuration, made from the types that parse it.
pub fn json_schema() -> Value {
    schemars::schema_for!(MachineConfig).to_value()
}
