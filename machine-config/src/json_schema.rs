//! The schema as JSON Schema, for editors and for programs in other languages.

use serde_json::Value;

use crate::schema::MachineConfig;

/// JSON Schema (draft 2020-12) of a machine configuration, made from the types that parse it.
pub fn json_schema() -> Value {
    schemars::schema_for!(MachineConfig).to_value()
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
        for part in schema["anyOf"].as_array().into_iter().flatten().chain([&schema["items"], &schema["additionalProperties"]]) {
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
