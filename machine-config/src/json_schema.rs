//! The schema as JSON Schema, for editors and for programs in other languages.

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use serde_json::Value;

use crate::schema::MachineConfig;

/// JSON Schema (draft 2020-12) of a machine configuration, made from the types that parse it.
pub fn json_schema() -> Value {
    let settings = SchemaSettings::draft2020_12().with_transform(RecursiveTransform(without_null));
    settings.into_generator().into_root_schema_for::<MachineConfig>().to_value()
}

/// What may be absent is `null` to the generator. In a configuration it is not: a key without a value is refused.
fn without_null(schema: &mut Schema) {
    let sole = |values: &mut Value, is_null: fn(&Value) -> bool| -> Option<Value> {
        let values = values.as_array_mut()?;
        values.retain(|value| !is_null(value));
        (values.len() == 1).then(|| values.remove(0))
    };
    if let Some(only) = schema.get_mut("type").and_then(|types| sole(types, |name| name == "null")) {
        schema.insert("type".into(), only);
    }
    if let Some(Value::Object(only)) = schema.get_mut("anyOf").and_then(|parts| sole(parts, |part| part["type"] == "null")) {
        schema.remove("anyOf");
        for (key, value) in only {
            schema.insert(key, value);
        }
    }
}

/// The definition that a part of the schema refers to by `$ref`, and its name; none when it refers to none.
pub(crate) fn definition<'a>(root: &'a Value, part: &'a Value) -> Option<(&'a str, &'a Value)> {
    let pointer = part["$ref"].as_str()?.strip_prefix('#')?;
    let name = pointer.rsplit('/').next()?;
    Some((name, root.pointer(pointer)?))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Every path of the schema; list items and mappings' values stand under the path of their list or mapping.
    pub(crate) fn paths() -> BTreeSet<String> {
        let schema = json_schema();
        let mut paths = BTreeSet::new();
        walk(&schema, &schema, "", &mut paths);
        paths
    }

    fn walk(root: &Value, schema: &Value, path: &str, paths: &mut BTreeSet<String>) {
        if !schema.is_object() {
            return;
        }
        if let Some((_, definition)) = definition(root, schema) {
            return walk(root, definition, path, paths);
        }
        for part in [&schema["items"], &schema["additionalProperties"]] {
            walk(root, part, path, paths);
        }
        for (key, property) in schema["properties"].as_object().into_iter().flatten() {
            let path = crate::path::join(path, key);
            walk(root, property, &path, paths);
            paths.insert(path);
        }
    }

    #[test]
    fn the_walk_reaches_every_corner_of_the_schema() {
        let paths = paths();
        for path in [
            "metadata.labels",
            "target.deviceId",
            "machine.network.interfaces.routes.via",
            "machine.registries.auth.password",
            "machine.volumes.data.encrypted",
            "hub.pin",
            "k3s.staticPods",
        ] {
            assert!(paths.contains(path), "{path} in {paths:?}");
        }
    }

    #[test]
    fn every_part_of_the_schema_is_described_and_closed() {
        fn check(path: &str, schema: &Value) {
            if let Some(properties) = schema["properties"].as_object() {
                assert_eq!(schema["additionalProperties"], Value::Bool(false), "{path} takes unknown keys");
                assert!(properties.values().all(|property| property["description"].is_string()), "{path}");
            }
        }
        let schema = json_schema();
        check("the top", &schema);
        for (name, definition) in schema["$defs"].as_object().expect("definitions") {
            check(name, definition);
        }
    }
}
