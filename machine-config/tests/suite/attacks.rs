//! One folder per attack in `tests/fixtures`: an input and what must become of it.
//!
//! `input.yaml` or `input.bin` is judged as it is; `unsigned.yaml` is signed with the fleet's key first, for attacks by somebody who
//! has it, or by mistake. `expected` holds lines `name: value`: `refusal` is the refusal's code, `problem` the code of a parse error,
//! `at` its line and column, `says` a part of the message. `SHOW=1` prints every message.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use machine_config::{Refusal, judge, sign};

use crate::fleet;

const FIELDS: [&str; 4] = ["refusal", "problem", "at", "says"];

fn folders() -> Vec<PathBuf> {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut folders: Vec<PathBuf> = fs::read_dir(all).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    folders
}

fn input(folder: &Path) -> Vec<u8> {
    match fs::read(folder.join("unsigned.yaml")) {
        Ok(document) => sign(&document, &fleet::key()).unwrap(),
        Err(_) => fs::read(folder.join("input.yaml")).or_else(|_| fs::read(folder.join("input.bin"))).unwrap(),
    }
}

fn expected(folder: &Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(folder.join("expected")).unwrap();
    let fields = text.lines().map(|line| line.split_once(": ").expect(line));
    fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn found(refusal: &Refusal) -> BTreeMap<&'static str, String> {
    let mut found = BTreeMap::from([("refusal", refusal.code().to_owned()), ("says", refusal.to_string())]);
    if let Refusal::Schema(error) = refusal {
        found.insert("problem", error.code().to_owned());
    }
    if let Some(position) = refusal.position() {
        found.insert("at", format!("{}:{}", position.line, position.column));
    }
    found
}

/// What does not match; empty when all does.
fn mismatches(folder: &Path) -> Vec<String> {
    let refusal = match judge(&input(folder), &fleet::trust(), &fleet::facts(), Some(&fleet::accepted())) {
        Err(refusal) => refusal,
        Ok(_) => return vec!["it was accepted".into()],
    };
    if std::env::var_os("SHOW").is_some() {
        println!("{}: {refusal}", folder.file_name().unwrap().to_string_lossy());
    }
    let (found, expected) = (found(&refusal), expected(folder));
    let unknown = expected.keys().filter(|name| !FIELDS.contains(&name.as_str())).map(|name| format!("unknown field {name}"));
    let wrong = FIELDS.iter().filter_map(|name| {
        let (found, expected) = (found.get(name), expected.get(*name));
        let matches = match *name {
            "says" => expected.is_none_or(|part| found.is_some_and(|message| message.contains(part))),
            _ => found == expected,
        };
        (!matches).then(|| format!("{name}: expected {expected:?}, found {found:?}"))
    });
    unknown.chain(wrong).collect()
}

#[test]
fn every_attack_is_refused_with_its_code_and_place() {
    let folders = folders();
    let failures: Vec<String> = folders
        .iter()
        .flat_map(|folder| mismatches(folder).into_iter().map(move |mismatch| format!("{}: {mismatch}", folder.display())))
        .collect();
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    assert!(folders.len() >= 30, "only {} attacks", folders.len());
}

#[test]
fn what_the_attacks_were_made_from_is_accepted() {
    let file = sign(fleet::GOOD.as_bytes(), &fleet::key()).unwrap();
    judge(&file, &fleet::trust(), &fleet::facts(), Some(&fleet::accepted())).unwrap();
}

#[test]
fn a_file_above_the_size_limit_is_refused_before_anything_looks_into_it() {
    let bytes = vec![0xff; machine_config::MAX_CONFIG_BYTES + 1];
    let refusal = judge(&bytes, &fleet::trust(), &fleet::facts(), None).unwrap_err();
    assert_eq!(refusal.code(), "size");
}
