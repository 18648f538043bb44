//! What the documentation lists is what is there, and what boards are said to be proven by.

use std::collections::BTreeSet;
use std::fs;

use imager::board::{self, Board};
use skerry_tests::{images, places};
use toml::{Table, Value};

fn manifest(folder: &str) -> Table {
    let path = places::workspace().join(folder).join("Cargo.toml");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Crates of other people that a crate of ours names.
fn named(crate_: &Table, own: &BTreeSet<&str>) -> BTreeSet<String> {
    let kinds = ["dependencies", "dev-dependencies", "build-dependencies"];
    let tables = kinds.into_iter().filter_map(|kind| crate_.get(kind)?.as_table());
    tables.flat_map(Table::keys).filter(|name| !own.contains(name.as_str())).cloned().collect()
}

/// The names in the first column of a table's row: without what stands in brackets or is set as code.
fn names(row: &str) -> impl Iterator<Item = String> {
    let cell = row.split('|').nth(1).unwrap_or_default();
    let words = cell.split(',').filter_map(|word| word.split_whitespace().next());
    words.map(str::to_owned).collect::<Vec<_>>().into_iter()
}

#[test]
fn every_crate_that_ours_name_is_told_with_its_reason_and_no_other() {
    let workspace = manifest(".");
    let members = workspace["workspace"]["members"].as_array().expect("a list").iter().filter_map(Value::as_str);
    let manifests: Vec<Table> = members.map(manifest).collect();
    let own = manifests.iter().map(|member| member["package"]["name"].as_str().expect("text")).collect();
    let used: BTreeSet<String> = manifests.iter().flat_map(|member| named(member, &own)).collect();
    let text = fs::read_to_string(places::workspace().join("docs/dependencies.md")).expect("docs/dependencies.md");
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| crate "));
    let told: BTreeSet<String> = rows.flat_map(names).collect();
    let list = |one: &BTreeSet<String>, other: &BTreeSet<String>| one.difference(other).cloned().collect::<Vec<_>>().join(", ");
    assert_eq!(list(&used, &told), "", "docs/dependencies.md does not say what these are for");
    assert_eq!(list(&told, &used), "", "docs/dependencies.md tells of crates that nothing names");
}

/// The names of the test functions in `tests/tests`.
fn tests() -> BTreeSet<String> {
    let files = fs::read_dir(places::workspace().join("tests/tests")).expect("the folder of the tests");
    let texts = files.map(|entry| fs::read_to_string(entry.expect("an entry").path()).unwrap_or_default()); // a folder has no text
    texts.flat_map(|text| names_of_tests(&text).map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// The names of the functions that stand below a `#[test]`.
fn names_of_tests(text: &str) -> impl Iterator<Item = &str> {
    let below = text.split("#[test]\n").skip(1);
    below.filter_map(|text| Some(text.lines().find(|line| !line.starts_with("#["))?.strip_prefix("fn ")?.split_once('(')?.0))
}

#[test]
fn what_a_board_is_said_to_be_proven_by_is_a_test() {
    assert_eq!(names_of_tests("#[test]\n#[ignore]\nfn a() {\n}\nfn b() {}\n#[test]\nfn c() {").collect::<Vec<_>>(), ["a", "c"]);
    let (tests, folder) = (tests(), images::board_files());
    for name in board::names(&folder).expect("kernel/boards") {
        for proof in Board::load(&folder, &name).expect("a board").standing.proven {
            assert!(tests.contains(&proof.test), "{name}: no test is called {}, which shall prove `{}`", proof.test, proof.what);
        }
    }
}
