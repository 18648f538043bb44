//! `fleet init` and `fleet cert`.

use std::os::unix::fs::PermissionsExt;

use crate::run::{minimal, skerryctl, with_fleet, write};

#[test]
fn a_fleet_is_never_overwritten() {
    let dir = with_fleet();
    let before = std::fs::read(dir.path().join("acme/signing.key")).unwrap();
    skerryctl(dir.path(), &["fleet", "init", "acme", "--no-passphrase"]).fails(1, &["acme", "not empty", "never overwritten"]);
    assert_eq!(std::fs::read(dir.path().join("acme/signing.key")).unwrap(), before);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "a draft was left behind");
}

#[test]
fn private_keys_are_readable_by_their_owner_only() {
    let dir = with_fleet();
    for (name, mode) in
        [("", 0o700), ("signing.key", 0o600), ("client-ca.key", 0o600), ("admin.pem", 0o600), ("fleet.pub", 0o644)]
    {
        let path = dir.path().join("acme").join(name);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode, "{name}");
    }
}

#[test]
fn without_a_terminal_the_passphrase_must_be_chosen() {
    let dir = tempfile::tempdir().unwrap();
    skerryctl(dir.path(), &["fleet", "init", "acme"]).fails(2, &["--passphrase-file", "--no-passphrase"]);
    assert!(!dir.path().join("acme").exists());
}

#[test]
fn a_sealed_fleet_signs_with_its_passphrase_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let (right, wrong, empty) = (
        write(dir.path(), "right", "correct horse\nsecond line\n"),
        write(dir.path(), "wrong", "battery\n"),
        write(dir.path(), "empty", "\n"),
    );
    skerryctl(dir.path(), &["fleet", "init", "acme", "--passphrase-file", empty]).fails(2, &["first line is empty"]);
    skerryctl(dir.path(), &["fleet", "init", "acme", "--passphrase-file", right]).ok();
    for name in ["signing.key", "client-ca.key"] {
        assert!(!dir.path().join("acme").join(name).exists(), "{name} lies open");
        let sealed = std::fs::read(dir.path().join("acme").join(format!("{name}.age"))).unwrap();
        assert!(sealed.starts_with(b"age-encryption.org/v1\n"));
    }
    let file = write(dir.path(), "node.yaml", &minimal(1));
    let sign = ["config", "sign", file, "--fleet", "acme"];
    skerryctl(dir.path(), &sign).fails(2, &["signing.key.age", "under a passphrase", "--passphrase-file"]);
    skerryctl(dir.path(), &[&sign[..], &["--passphrase-file", wrong]].concat()).fails(1, &["passphrase is wrong"]);
    assert_eq!(std::fs::read_to_string(dir.path().join(file)).unwrap(), minimal(1));
    skerryctl(dir.path(), &[&sign[..], &["--passphrase-file", right]].concat()).ok();
    skerryctl(dir.path(), &["config", "verify", file, "--fleet", "acme"]).ok();
}

#[test]
fn a_certificate_never_replaces_a_file_and_lives_as_long_as_asked() {
    let dir = with_fleet();
    let cert = ["fleet", "cert", "--fleet", "acme", "--role", "reader", "--name", "kim", "--out", "kim.pem"];
    let shown = skerryctl(dir.path(), &[&cert[..], &["--days", "7", "-o", "json"]].concat()).ok();
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((&shown["role"], &shown["name"]), (&"reader".into(), &"kim".into()));
    let ends: jiff::Timestamp = shown["notAfter"].as_str().unwrap().parse().unwrap();
    let left = ends.duration_since(jiff::Timestamp::now()).as_secs();
    assert!((6 * 86_400..=7 * 86_400).contains(&left), "{left}");
    skerryctl(dir.path(), &cert).fails(1, &["kim.pem", "exists already"]);
    skerryctl(dir.path(), &["fleet", "cert", "--fleet", "acme", "--role", "owner", "--name", "x", "--out", "x"])
        .fails(2, &["owner"]);
    let no_days = ["fleet", "cert", "--fleet", "acme", "--role", "admin", "--name", "x", "--out", "x", "--days", "0"];
    skerryctl(dir.path(), &no_days).fails(2, &["0 is not a number of days"]);
}

#[test]
fn a_folder_that_is_no_fleet_says_how_to_make_one() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "node.yaml", &minimal(1));
    skerryctl(dir.path(), &["config", "sign", file, "--fleet", "."]).fails(1, &["fleet.pub", "skerryctl fleet init"]);
}

#[test]
fn a_desk_without_the_private_keys_verifies_and_does_not_sign() {
    let dir = with_fleet();
    for key in ["signing.key", "client-ca.key"] {
        std::fs::remove_file(dir.path().join("acme").join(key)).unwrap();
    }
    write(dir.path(), "node.yaml", &minimal(1));
    skerryctl(dir.path(), &["config", "new", "--fleet", "acme"]).ok();
    skerryctl(dir.path(), &["config", "sign", "node.yaml", "--fleet", "acme"])
        .fails(1, &["acme/signing.key", "not in this folder", "is kept"]);
    let cert = ["fleet", "cert", "--fleet", "acme", "--role", "reader", "--name", "kim", "--out", "kim.pem"];
    skerryctl(dir.path(), &cert).fails(1, &["acme/client-ca.key", "not in this folder"]);
}

#[test]
fn a_signing_key_of_another_fleet_is_not_used() {
    let dir = with_fleet();
    let options = ctl::fleet::InitOptions::new("other".parse().unwrap());
    ctl::fleet::init(&dir.path().join("other"), &options).unwrap();
    std::fs::copy(dir.path().join("other/signing.key"), dir.path().join("acme/signing.key")).unwrap();
    let file = write(dir.path(), "node.yaml", &minimal(1));
    skerryctl(dir.path(), &["config", "sign", file, "--fleet", "acme"]).fails(1, &["not the one in fleet.pub"]);
}
