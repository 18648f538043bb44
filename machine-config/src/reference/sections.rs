//! The settings, sorted into one section for each mapping of the schema.

use serde_json::Value;

use super::value::{Nested, nested, words};
use crate::compare::effect_of;
use crate::path::is_within;
use crate::pending::NOT_YET_IN_EFFECT;

/// Where a description says what holds without the setting.
const DEFAULT: &str = "Default: ";

/// One mapping of the configuration.
pub(super) struct Section {
    /// Its path, as in `machine.network.interfaces[]`; empty at the top.
    pub(super) path: String,
    /// What it is.
    pub(super) about: String,
    /// Its keys: those that are needed first, the others by name.
    pub(super) rows: Vec<Row>,
}

/// One setting.
pub(super) struct Row {
    /// Its key.
    pub(super) key: String,
    /// Type, form and limits.
    pub(super) value: String,
    /// What holds without it.
    pub(super) default: String,
    /// What it does.
    pub(super) meaning: String,
    /// What a change costs.
    pub(super) effect: String,
}

#[cfg(test)]
impl Section {
    /// The path of one of its settings.
    pub(super) fn path_of(&self, row: &Row) -> String {
        join_raw(&self.path, &row.key)
    }
}

/// `[]` and `[NAME]` in a path are no keys, so nothing is quoted.
fn join_raw(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// The sections of a schema, each mapping before those inside of it.
pub(super) fn sections(schema: &Value) -> Vec<Section> {
    let mut sections = Vec::new();
    collect(schema, schema, String::new(), &mut sections);
    sections
}

fn collect(root: &Value, mapping: &Value, path: String, sections: &mut Vec<Section>) {
    let keys = keys(mapping);
    let rows = keys.iter().map(|key| row(root, mapping, &path, key)).collect();
    sections.push(Section { about: description(mapping), rows, path: path.clone() });
    for key in keys {
        if let Some(Nested { suffix, part }) = nested(root, &mapping["properties"][key]) {
            collect(root, part, format!("{}{suffix}", join_raw(&path, key)), sections);
        }
    }
}

/// Needed keys in the order of the types, then the others by name.
fn keys(mapping: &Value) -> Vec<&str> {
    let needed: Vec<&str> = mapping["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let all = mapping["properties"].as_object().into_iter().flatten().map(|(key, _)| key.as_str());
    let others: Vec<&str> = all.filter(|key| !needed.contains(key)).collect();
    [needed, others].concat()
}

fn description(part: &Value) -> String {
    part["description"].as_str().unwrap_or_default().replace('\n', " ")
}

fn row(root: &Value, mapping: &Value, path: &str, key: &str) -> Row {
    let setting = &mapping["properties"][key];
    let path = join_raw(path, key);
    let inside = nested(root, setting);
    let value = match &inside {
        Some(Nested { suffix, .. }) => format!("{} [below](#{})", outer(suffix), anchor(&format!("{path}{suffix}"))),
        None => words(root, setting),
    };
    let description = description(setting);
    let (meaning, told) = match description.split_once(DEFAULT) {
        Some((meaning, default)) => (meaning.trim_end().to_owned(), Some(default.trim_end_matches('.').to_owned())),
        None => (description, None),
    };
    let needed = mapping["required"].as_array().is_some_and(|needed| needed.iter().any(|name| name == key));
    let default = if needed { "**required**".into() } else { told.unwrap_or_else(|| default(setting)) };
    let effect = if inside.is_some() { "—".into() } else { effect(&path) };
    Row { key: key.into(), value, default, meaning, effect }
}

fn outer(suffix: &str) -> &'static str {
    match suffix {
        "" => "a mapping,",
        "[]" => "a list of mappings,",
        _ => "a mapping of names to mappings,",
    }
}

/// What the schema itself says of an absent key.
fn default(setting: &Value) -> String {
    match &setting["default"] {
        Value::Bool(value) => format!("`{value}`"),
        Value::String(text) if !text.is_empty() => format!("`{text}`"),
        Value::String(_) | Value::Array(_) | Value::Object(_) => "empty".into(),
        Value::Number(number) => number.to_string(),
        Value::Null if matches!(setting["type"].as_str(), Some("array" | "object")) => "empty".into(),
        Value::Null => "not set".into(),
    }
}

fn effect(path: &str) -> String {
    if NOT_YET_IN_EFFECT.iter().any(|pending| is_within(path, pending)) {
        return "not yet in effect".into();
    }
    let (changed, removed) = (effect_of(path, false), effect_of(path, true));
    if changed == removed { changed.to_string() } else { format!("{changed}; when one is removed: {removed}") }
}

/// The anchor that Markdown viewers give the heading of a section.
fn anchor(path: &str) -> String {
    path.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json_schema::json_schema;

    fn find(section: &str, key: &str) -> Row {
        let section = sections(&json_schema()).into_iter().find(|it| it.path == section).expect(section);
        section.rows.into_iter().find(|row| row.key == key).expect(key)
    }

    #[test]
    fn a_row_tells_limits_default_and_effect() {
        let row = find("machine.network.interfaces[]", "mtu");
        assert_eq!((row.value.as_str(), row.default.as_str()), ("a whole number, 68 to 65535", "the driver's"));
        assert_eq!((row.meaning.ends_with("IPv6 address."), row.effect.as_str()), (true, "live"));
        assert_eq!(find("machine", "sysctls").effect, "live; when one is removed: reboot");
        assert_eq!(find("machine.watchdog", "timeoutSeconds").effect, "not yet in effect");
        assert_eq!(find("machine.registries[NAME].auth", "password").default, "**required**");
        assert_eq!(find("machine.logging", "level").default, "`info`");
        assert_eq!(find("metadata", "labels").default, "empty");
    }

    #[test]
    fn needed_keys_come_first_in_the_order_of_the_types() {
        let keys: Vec<String> = sections(&json_schema())[1].rows.iter().map(|row| row.key.clone()).collect();
        assert_eq!(keys, ["name", "fleet", "generation", "labels"]);
    }

    #[test]
    fn a_number_tells_what_holds_without_it() {
        for section in sections(&json_schema()) {
            for row in section.rows.iter().filter(|row| row.value.starts_with("a whole number")) {
                assert_ne!(row.default, "not set", "{}: end its comment with `Default: …`", section.path_of(row));
            }
        }
    }
}
