//! What may stand as a value, in words, from its part of the JSON Schema.

use serde_json::Value;

use crate::json_schema::definition;

/// A mapping with keys of its own, inside of a setting.
pub(super) struct Nested<'a> {
    /// Between the setting's path and those keys: nothing, `[]` for each item of a list, `[NAME]` for each entry of a mapping.
    pub(super) suffix: &'static str,
    /// Its part of the schema.
    pub(super) part: &'a Value,
}

/// The mapping inside of a setting, if it has one with keys of its own.
pub(super) fn nested<'a>(root: &'a Value, setting: &'a Value) -> Option<Nested<'a>> {
    let candidates = [("", setting), ("[]", &setting["items"]), ("[NAME]", &setting["additionalProperties"])];
    candidates.into_iter().find_map(|(suffix, part)| {
        let (_, part) = resolved(root, part);
        part["properties"].is_object().then_some(Nested { suffix, part })
    })
}

/// The part itself, past a reference; with the name of its definition.
fn resolved<'a>(root: &'a Value, part: &'a Value) -> (&'a str, &'a Value) {
    definition(root, part).unwrap_or(("", part))
}

/// A value in words, such as "whole number, 68 to 65535".
pub(super) fn words(root: &Value, part: &Value) -> String {
    let (name, part) = resolved(root, part);
    if let Some(choices) = part["oneOf"].as_array() {
        return choice(choices);
    }
    match part["type"].as_str().unwrap_or_default() {
        "string" if name == "Secret" => "text, a secret".into(),
        "string" => text(part),
        "integer" => number(part),
        "boolean" => "`true` or `false`".into(),
        "array" => format!("a list; each item {}", words(root, &part["items"])),
        "object" => mapping(root, part),
        other => unreachable!("the schema has no type {other:?}"),
    }
}

fn choice(choices: &[Value]) -> String {
    let words: Vec<String> =
        choices.iter().filter_map(|choice| choice["const"].as_str()).map(|word| format!("`{word}`")).collect();
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        Some(_) | None => words.concat(),
    }
}

fn text(part: &Value) -> String {
    match (part["title"].as_str(), part["format"].as_str()) {
        (Some(title), _) => title.to_owned(),
        (None, Some("ip")) => "an IP address".into(),
        (None, _) => "text".into(),
    }
}

fn number(part: &Value) -> String {
    let min = part["minimum"].as_u64().unwrap_or(0);
    match part["maximum"].as_u64() {
        Some(max) => format!("a whole number, {min} to {max}"),
        None => format!("a whole number from {min}"),
    }
}

fn mapping(root: &Value, part: &Value) -> String {
    let by_pattern = part["patternProperties"].as_object().and_then(|patterns| patterns.values().next());
    let values = by_pattern.unwrap_or(&part["additionalProperties"]);
    if values.is_object() { format!("a mapping; each value {}", words(root, values)) } else { "a mapping".into() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_told_in_words() {
        let root = json!({ "$defs": { "Secret": { "type": "string" } } });
        for (part, expected) in [
            (json!({ "type": "integer", "minimum": 68, "maximum": 65535 }), "a whole number, 68 to 65535"),
            (json!({ "type": "integer", "minimum": 1 }), "a whole number from 1"),
            (json!({ "$ref": "#/$defs/Secret" }), "text, a secret"),
            (json!({ "type": "array", "items": { "type": "string", "format": "ip" } }), "a list; each item an IP address"),
            (json!({ "oneOf": [{ "const": "a" }, { "const": "b" }, { "const": "c" }] }), "`a`, `b` or `c`"),
            (json!({ "oneOf": [{ "const": "a" }] }), "`a`"),
            (json!({ "type": "object", "additionalProperties": { "type": "string" } }), "a mapping; each value text"),
            (json!({ "type": "string", "title": "a name" }), "a name"),
        ] {
            assert_eq!(words(&root, &part), expected);
        }
    }
}
