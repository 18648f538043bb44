//! A configuration as a flat list: path to value, defaults included. What comparison and "not yet in effect" look at.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::path::join;
use crate::schema::MachineConfig;
use crate::secret::exposed;

/// The value at one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leaf {
    /// The value itself; never shown.
    value: Value,
    /// As it may be shown: secrets masked.
    pub(crate) shown: String,
}

impl Leaf {
    /// True for text, and for a list or mapping without anything in it: nothing that quotes could change.
    pub(crate) fn is_text(&self) -> bool {
        !matches!(self.value, Value::Bool(_) | Value::Number(_))
    }

    /// True for what a configuration says by saying nothing: `false`, empty texts, lists and mappings.
    pub(crate) fn is_nothing(&self) -> bool {
        match &self.value {
            Value::Null | Value::Bool(false) => true,
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(entries) => entries.is_empty(),
            Value::Bool(true) | Value::Number(_) => false,
        }
    }
}

/// Every path of a configuration that has a value.
pub(crate) fn flatten(config: &MachineConfig) -> BTreeMap<String, Leaf> {
    let masked = serde_json::to_value(config).expect("the schema's maps have text keys");
    let whole = exposed(|| serde_json::to_value(config)).expect("the schema's maps have text keys");
    let mut leaves = BTreeMap::new();
    walk(String::new(), &whole, &masked, &mut leaves);
    leaves
}

/// `whole` and `masked` are one tree, written twice; they differ in secrets only.
fn walk(path: String, whole: &Value, masked: &Value, leaves: &mut BTreeMap<String, Leaf>) {
    match (whole, masked) {
        (Value::Object(entries), Value::Object(masked)) if !entries.is_empty() => {
            for ((key, value), masked) in entries.iter().zip(masked.values()) {
                walk(join(&path, key), value, masked, leaves);
            }
        }
        (Value::Array(items), Value::Array(masked)) if !items.is_empty() => {
            for (index, (item, masked)) in items.iter().zip(masked).enumerate() {
                walk(format!("{path}[{index}]"), item, masked, leaves);
            }
        }
        (whole, masked) => {
            let shown = masked.as_str().map_or_else(|| masked.to_string(), str::to_owned);
            leaves.insert(path, Leaf { value: whole.clone(), shown });
        }
    }
}
