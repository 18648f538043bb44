//! The interface's description: it says what the table of routes says, and changes only knowingly.

use std::collections::BTreeSet;

use hub::rest::{ROUTES, Route, Who, document};
use serde_json::Value;

fn described() -> Value {
    serde_json::to_value(document()).unwrap()
}

#[test]
fn the_description_and_the_table_have_the_same_routes() {
    let described = described();
    let paths = described["paths"].as_object().unwrap().iter();
    let found: BTreeSet<_> = paths
        .flat_map(|(path, item)| item.as_object().unwrap().keys().map(move |method| (method.to_uppercase(), path.clone())))
        .collect();
    let table: BTreeSet<_> = ROUTES.iter().map(|route| (route.method.to_string(), route.path.to_owned())).collect();
    assert_eq!(found, table);
}

#[test]
fn every_reference_leads_somewhere_and_every_operation_says_what_it_does() {
    fn references<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str));
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let described = described();
    let mut found = vec![];
    references(&described, &mut found);
    assert!(found.len() > 50, "{}", found.len());
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(described.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    let operations = described["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap().values());
    let mut ids = BTreeSet::new();
    for operation in operations {
        assert!(operation["summary"].is_string(), "{operation}");
        assert!(operation["responses"].get("default").is_some() || operation["tags"][0] == "own", "{operation}");
        ids.insert(operation["operationId"].as_str().unwrap().to_owned());
    }
    assert_eq!(ids.len(), ROUTES.len(), "operations are told apart by their ids");
}

#[test]
fn the_handbook_has_the_same_table() {
    let handbook = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/hub-api.md")).unwrap();
    let rows: Vec<_> = handbook.lines().filter(|line| line.starts_with("| ") && line.contains("`/api/v1/")).collect();
    let row = |route: &Route| {
        let who = match route.who {
            Who::Anybody => "anybody".to_owned(),
            Who::Anyone => "signed in".to_owned(),
            Who::Role(role) => role.to_string(),
        };
        format!("| {} | `{}` | {who} | {} |", route.method, route.path, route.area)
    };
    assert_eq!(rows, ROUTES.iter().map(row).collect::<Vec<_>>());
}

#[test]
fn the_description_is_the_one_in_the_folder() {
    let now = serde_json::to_string_pretty(&document()).unwrap() + "\n";
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
    let kept = std::fs::read_to_string(file).unwrap_or_default();
    if now != kept {
        let new = concat!(env!("CARGO_TARGET_TMPDIR"), "/openapi.json");
        std::fs::write(new, &now).unwrap();
        panic!("the REST interface was changed: if that is right, copy {new} to {file}");
    }
}
