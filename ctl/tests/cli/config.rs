//! `config new|validate|sign|verify|diff|schema`.

use crate::run::{Ran, minimal, skerryctl, with_fleet, write};

fn validate(text: &str) -> Ran {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "node.yaml", text);
    skerryctl(dir.path(), &["config", "validate", "node.yaml"])
}

#[test]
fn a_misspelt_key_is_shown_with_its_place_and_what_was_meant() {
    let text = minimal(1) + "machine:\n  network:\n    interfaces:\n      - {name: eth0, adresses: [10.0.0.2/24]}\n";
    validate(&text).fails(4, &["unknown key `adresses`", "node.yaml:9:22", "did you mean `addresses`?"]);
}

#[test]
fn every_semantic_error_is_shown_with_its_place() {
    let text = minimal(1)
        + "machine:\n  network:\n    interfaces:\n      - {name: eth0, dhcp4: true, ignore: true}\nk3s: {role: agent}\n";
    validate(&text).fails(4, &["node.yaml:9:", "machine.network.interfaces[0]", "k3s"]);
}

#[test]
fn programs_get_the_place_as_numbers() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "node.yaml", &(minimal(1) + "machine: [\n"));
    let error = skerryctl(dir.path(), &["config", "validate", "node.yaml", "-o", "json"]).fails(4, &[]);
    let error: serde_json::Value = serde_json::from_str(&error).unwrap();
    assert_eq!((&error["error"], &error["exit"]), (&"refused".into(), &4.into()));
    assert!(error["line"].as_u64().is_some_and(|line| line >= 5), "{error}");
}

#[test]
fn settings_without_effect_are_warned_of() {
    let shown = validate(&(minimal(1) + "machine: {watchdog: {timeoutSeconds: 30}}\n")).ok();
    assert!(shown.contains("warning: machine.watchdog is not yet in effect"), "{shown}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    skerryctl(dir.path(), &["config", "validate", "absent.yaml"]).fails(1, &["cannot read absent.yaml", "No such file"]);
}

#[test]
fn what_is_signed_verifies_and_one_changed_byte_does_not() {
    let dir = with_fleet();
    write(dir.path(), "node.yaml", &minimal(3));
    skerryctl(dir.path(), &["config", "sign", "node.yaml", "--fleet", "acme"]).ok();
    let verify = ["config", "verify", "node.yaml", "--fleet", "acme"];
    let shown = skerryctl(dir.path(), &verify).ok();
    assert!(shown.contains("generation  3") && shown.contains("valid and signed"), "{shown}");

    let signed = std::fs::read_to_string(dir.path().join("node.yaml")).unwrap();
    assert!(signed.starts_with(&minimal(3)), "the document's bytes are as they were: {signed}");
    write(dir.path(), "node.yaml", &signed.replace("node-1", "node-2"));
    skerryctl(dir.path(), &verify).fails(4, &["node.yaml", "changed after signing"]);
    write(dir.path(), "node.yaml", &minimal(3));
    skerryctl(dir.path(), &verify).fails(4, &["not signed"]);
}

#[test]
fn a_changed_file_is_signed_anew_and_stays_one_document() {
    let dir = with_fleet();
    write(dir.path(), "node.yaml", &minimal(1));
    let sign = ["config", "sign", "node.yaml", "--fleet", "acme"];
    skerryctl(dir.path(), &sign).ok();
    let signed = std::fs::read_to_string(dir.path().join("node.yaml")).unwrap();
    write(dir.path(), "node.yaml", &signed.replace("generation: 1", "generation: 2"));
    skerryctl(dir.path(), &sign).ok();
    let shown = skerryctl(dir.path(), &["config", "verify", "node.yaml", "--fleet", "acme", "-o", "json"]).ok();
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["generation"], 2);
    assert_eq!(std::fs::read_to_string(dir.path().join("node.yaml")).unwrap().matches("kind: Signature").count(), 1);
}

fn with_two_fleets() -> tempfile::TempDir {
    let dir = with_fleet();
    let options = ctl::fleet::InitOptions::new("other".parse().unwrap());
    ctl::fleet::init(&dir.path().join("other"), &options).unwrap();
    write(dir.path(), "node.yaml", &minimal(1));
    skerryctl(dir.path(), &["config", "sign", "node.yaml", "--fleet", "acme"]).ok();
    dir
}

#[test]
fn another_fleets_signature_is_unknown_and_replaced_only_when_asked() {
    let dir = with_two_fleets();
    skerryctl(dir.path(), &["config", "verify", "node.yaml", "--fleet", "other"]).fails(4, &["does not know"]);
    let text = std::fs::read_to_string(dir.path().join("node.yaml")).unwrap();
    write(dir.path(), "node.yaml", &text.replace("fleet: acme", "fleet: other"));
    let sign = ["config", "sign", "node.yaml", "--fleet", "other"];
    skerryctl(dir.path(), &sign).fails(4, &["signed already", "--replace"]);
    skerryctl(dir.path(), &[&sign[..], &["--replace"]].concat()).ok();
    skerryctl(dir.path(), &["config", "verify", "node.yaml", "--fleet", "other"]).ok();
}

#[test]
fn another_fleets_configuration_is_not_signed() {
    let dir = with_two_fleets();
    skerryctl(dir.path(), &["config", "sign", "node.yaml", "--fleet", "other"])
        .fails(4, &["for the fleet `acme`, not for `other`", "metadata.fleet"]);
}

#[test]
fn an_invalid_configuration_is_not_signed() {
    let dir = with_fleet();
    let text = minimal(1) + "k3s: {role: agent}\n";
    write(dir.path(), "node.yaml", &text);
    skerryctl(dir.path(), &["config", "sign", "node.yaml", "--fleet", "acme"]).fails(4, &["k3s"]);
    assert_eq!(std::fs::read_to_string(dir.path().join("node.yaml")).unwrap(), text);
}

#[test]
fn signing_elsewhere_overwrites_signed_files_only() {
    let dir = with_fleet();
    write(dir.path(), "node.yaml", &minimal(1));
    write(dir.path(), "notes", "mine");
    let sign = ["config", "sign", "node.yaml", "--fleet", "acme", "--out"];
    skerryctl(dir.path(), &[&sign[..], &["notes"]].concat()).fails(1, &["notes", "exists already"]);
    skerryctl(dir.path(), &[&sign[..], &["signed.yaml"]].concat()).ok();
    skerryctl(dir.path(), &[&sign[..], &["signed.yaml"]].concat()).ok();
    assert_eq!(std::fs::read_to_string(dir.path().join("node.yaml")).unwrap(), minimal(1), "the input is as it was");
    let printed = skerryctl(dir.path(), &[&sign[..], &["-"]].concat()).ok();
    assert_eq!(printed, std::fs::read_to_string(dir.path().join("signed.yaml")).unwrap());
}

#[test]
fn a_difference_says_what_it_costs() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "old.yaml", &minimal(1));
    write(dir.path(), "new.yaml", &(minimal(2) + "machine: {hostname: shop, modules: [i2c_dev]}\n"));
    let diff = skerryctl(dir.path(), &["config", "diff", "old.yaml", "new.yaml"]).ok();
    let lines: Vec<Vec<&str>> = diff.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["CHANGE", "OLD", "NEW", "EFFECT"]);
    assert!(lines.iter().any(|line| line[..3] == ["machine.hostname", "-", "shop"]), "{diff}");
    assert_eq!(skerryctl(dir.path(), &["config", "diff", "old.yaml", "old.yaml"]).ok(), "no change\n");
}

#[test]
fn the_schema_is_json() {
    let dir = tempfile::tempdir().unwrap();
    let schema: serde_json::Value = serde_json::from_str(&skerryctl(dir.path(), &["config", "schema"]).ok()).unwrap();
    assert!(schema["properties"]["metadata"].is_object());
}

#[test]
fn the_reference_is_the_page_in_the_documentation() {
    let dir = tempfile::tempdir().unwrap();
    let page = skerryctl(dir.path(), &["config", "schema", "--markdown"]).ok();
    assert_eq!(page, include_str!("../../../docs/configuration.md"));
}

#[test]
fn usage_errors_end_with_2_and_help_with_0() {
    let dir = tempfile::tempdir().unwrap();
    skerryctl(dir.path(), &["confg"]).fails(2, &["confg"]);
    skerryctl(dir.path(), &["config", "new", "--serial", "a", "--mac", "52:54:00:12:34:56"]).fails(2, &["--serial", "--mac"]);
    skerryctl(dir.path(), &["config", "new", "--generation", "0"]).fails(2, &["generation"]);
    skerryctl(dir.path(), &["status"]).fails(2, &["no node is named", "--node"]);
    assert!(skerryctl(dir.path(), &["--help"]).ok().contains("Exit codes"));
    assert!(skerryctl(dir.path(), &["completions", "bash"]).ok().contains("_skerryctl"));
}
