//! Taking made-up packages and folders apart.

use std::cell::Cell;

use super::super::deb::testing::{Entry, Form, deb};
use super::*;
use crate::progress::Silent;
use tar::EntryType::{Link, Regular, Symlink};

struct Bench {
    _folder: tempfile::TempDir,
    cache: Cache,
    package: PathBuf,
}

fn bench(entries: &[Entry<'_>]) -> Bench {
    let folder = tempfile::tempdir().expect("folder");
    let package = folder.path().join("tool.deb");
    std::fs::write(&package, deb(Form::Zstd, entries)).expect("written");
    let cache = Cache::at(folder.path().join("cache"));
    Bench { _folder: folder, cache, package }
}

fn take(bench: &Bench, globs: &[&str], runs: &Cell<u32>) -> Result<Items, ExtractError> {
    let globs: Vec<_> = globs.iter().map(|glob| (*glob).to_owned()).collect();
    Extractor::new(&bench.cache, &Silent).take("tool", Digest::of(b"tool"), &globs, || {
        runs.set(runs.get() + 1);
        Ok(bench.package.clone())
    })
}

const ENTRIES: [Entry<'static>; 5] = [
    ("./usr/bin/tool", 0o4755, Regular, b"tool"),
    ("./usr/bin/alias", 0o755, Link, b"./usr/bin/tool"),
    ("./usr/bin/link", 0o777, Symlink, b"tool"),
    ("./usr/bin/sub/other", 0o755, Regular, b"other"),
    ("./usr/share/doc", 0o644, Regular, b"doc"),
];

#[test]
fn only_what_is_named_is_taken_and_only_once() {
    let (bench, runs) = (bench(&ENTRIES), Cell::new(0));
    let items = take(&bench, &["usr/bin/*"], &runs).expect("taken");
    let tool = Item::File { sha256: Digest::of(b"tool"), executable: true, elf: None };
    let names: Vec<_> = items.keys().map(String::as_str).collect();
    assert_eq!(names, ["usr/bin/alias", "usr/bin/link", "usr/bin/tool"]);
    assert_eq!((&items["usr/bin/tool"], &items["usr/bin/alias"]), (&tool, &tool));
    assert_eq!(take(&bench, &["usr/bin/*"], &runs).expect("remembered"), items);
    assert_eq!(runs.get(), 1);
    take(&bench, &["usr/**"], &runs).expect("other globs, other outcome");
    assert_eq!(runs.get(), 2);
}

#[test]
fn a_corrupt_unpacked_file_is_unpacked_again() {
    let (bench, runs) = (bench(&ENTRIES), Cell::new(0));
    take(&bench, &["usr/bin/*"], &runs).expect("taken");
    std::fs::write(bench.cache.path(Digest::of(b"tool")), b"evil").expect("tampered");
    take(&bench, &["usr/bin/*"], &runs).expect("taken again");
    assert_eq!(runs.get(), 2);
    assert_eq!(std::fs::read(bench.cache.path(Digest::of(b"tool"))).expect("file"), b"tool");
}

#[test]
fn a_broken_program_and_a_dangling_hard_link_are_named() {
    let broken = bench(&[("./usr/bin/tool", 0o755, Regular, b"\x7fELF\x02nonsense")]);
    let error = take(&broken, &["usr/bin/*"], &Cell::new(0)).expect_err("no ELF");
    assert_eq!(error.to_string(), "cannot use usr/bin/tool of tool");
    let dangling = bench(&ENTRIES);
    let error = take(&dangling, &["usr/bin/alias"], &Cell::new(0)).expect_err("its file is not taken");
    assert!(matches!(error, ExtractError::Deb { .. }), "{error}");
}

#[test]
fn what_would_never_end_is_not_opened() {
    let bench = bench(&[]);
    let pipe = bench.package.with_file_name("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("made");
    for path in [&pipe, Path::new("/dev/zero")] {
        let error = Extractor::new(&bench.cache, &Silent).take_file(path, true).expect_err("refused");
        assert!(matches!(error, ExtractError::NotAFile { .. }), "{error}");
        assert!(matches!(digest_of(path), Err(ExtractError::NotAFile { .. })));
    }
}

#[test]
fn one_path_under_two_names_is_refused_unless_both_are_the_same() {
    let bench = bench(&[]);
    let folder = tempfile::tempdir().expect("folder");
    for place in ["bin", "usr/bin"] {
        std::fs::create_dir_all(folder.path().join(place)).expect("made");
        std::fs::write(folder.path().join(place).join("x"), b"x").expect("written");
    }
    let take = || Extractor::new(&bench.cache, &Silent).take_folder(folder.path());
    assert_eq!(take().expect("the same twice").len(), 1);
    std::fs::write(folder.path().join("bin/x"), b"another").expect("written");
    let error = take().expect_err("two files").to_string();
    assert!(error.contains("`usr/bin/x`"), "{error}");
}

#[test]
fn folders_are_taken_whole() {
    let bench = bench(&[]);
    let folder = tempfile::tempdir().expect("folder");
    std::fs::create_dir_all(folder.path().join("usr/bin")).expect("made");
    std::fs::write(folder.path().join("usr/bin/x"), b"x").expect("written");
    std::os::unix::fs::symlink("x", folder.path().join("usr/bin/y")).expect("linked");
    let items = Extractor::new(&bench.cache, &Silent).take_folder(folder.path()).expect("taken");
    assert_eq!(items["usr/bin/x"], Item::File { sha256: Digest::of(b"x"), executable: false, elf: None });
    assert_eq!(items["usr/bin/y"], Item::Link { target: "x".into() });
}
