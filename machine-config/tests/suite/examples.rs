//! The examples are right: they parse, mean something, fit the JSON Schema, and survive being written and read.

use std::fs;
use std::path::{Path, PathBuf};

use machine_config::{check_semantics, compare, json_schema, mask, parse, write};

fn examples() -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> = paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    assert!(files.len() >= 3);
    files
}

#[test]
fn every_example_parses_and_means_something() {
    for (path, document) in examples() {
        let config = parse(&document).unwrap_or_else(|error| panic!("{}", error.report(&path.display().to_string())));
        assert_eq!(check_semantics(&config), Ok(()), "{}", path.display());
    }
}

#[test]
fn every_example_survives_being_written_and_read() {
    for (path, document) in examples() {
        let config = parse(&document).unwrap();
        let written = write(&config);
        let again =
            parse(written.as_bytes()).unwrap_or_else(|error| panic!("{}\n{written}", error.report(&path.display().to_string())));
        assert_eq!(again, config);
        assert_eq!(compare(Some(&config), &again), []);
    }
}

#[test]
fn no_example_shows_a_secret_when_masked() {
    for (_, document) in examples() {
        let masked = mask(&parse(&document).unwrap());
        assert!(!masked.contains("correct-horse") && !masked.contains("an-example-token"), "{masked}");
    }
}

#[test]
fn every_example_fits_the_json_schema_and_common_mistakes_do_not() {
    let validator = jsonschema::validator_for(&json_schema()).unwrap();
    for (path, document) in examples() {
        let mut value: serde_json::Value = serde_saphyr::from_slice(&document).unwrap();
        if let Err(error) = validator.validate(&value) {
            panic!("{}: {error} at {}", path.display(), error.instance_path());
        }
        let mistakes = [
            serde_json::json!({ "netwrok": {} }),
            serde_json::json!({ "hostname": null }),
            serde_json::json!({ "watchdog": { "timeoutSeconds": 5 } }),
            serde_json::json!({ "network": null }),
        ];
        for mistake in mistakes {
            value["machine"] = mistake;
            assert!(!validator.is_valid(&value), "{}", value["machine"]);
        }
    }
}
