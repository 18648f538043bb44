//! Locking against a made-up archive.

use super::super::gpgv::SignatureError;
use super::super::testing::{AARCH64, Archive, Package, packages, security_packages};
use super::resolver::candidates;
use super::*;
use crate::components::index::Index;
use crate::components::lockfile::Users;
use crate::progress::Silent;

/// Believes everything but what says it is forged.
fn verify(what: &str, signed: &[u8]) -> Result<String, SignatureError> {
    let text = String::from_utf8(signed.to_vec()).expect("text");
    match text.contains("forged") {
        true => Err(SignatureError::Untrusted { what: what.into(), reason: "forged".into() }),
        false => Ok(text),
    }
}

fn lock_at(archive: &Archive, now: &str, allow_expired: bool) -> Result<LockReport, LockError> {
    let options = LockOptions {
        manifest: archive.manifest(),
        lock: archive.lock(),
        cache: Some(archive.cache()),
        mirrors: archive.mirrors(),
        allow_expired,
    };
    run_at(&options, &Silent, &verify, now.parse().expect("time"))
}

fn lock(archive: &Archive) -> Result<LockReport, LockError> {
    lock_at(archive, "2026-11-20T00:00:00Z", false)
}

fn honest() -> Archive {
    Archive::new(&packages(), &security_packages(), |_, _| {})
}

#[test]
fn a_lock_has_the_newest_packages_and_the_libraries_they_load() {
    let archive = honest();
    lock(&archive).expect("locked");
    let lock = Lock::load(&archive.lock()).expect("loaded");
    let kernel = lock.package.iter().find(|package| package.component == "kernel").expect("kernel");
    assert_eq!(
        (kernel.wanted.as_str(), kernel.deb.name.as_str(), kernel.deb.version.as_str()),
        ("linux-amd64 > linux-[0-9]*", "linux-2", "2")
    );
    assert_eq!(kernel.deb.suite, "test-security");
    let (theirs, tools): (Vec<_>, Vec<_>) = lock.library.iter().partition(|library| library.users == Users::Runtime);
    assert_eq!(tools.iter().map(|library| library.deb.name.as_str()).collect::<Vec<_>>(), ["libc6"]);
    let libraries: Vec<_> = theirs.iter().map(|library| (library.deb.name.as_str(), library.gives.join(" "))).collect();
    assert_eq!(
        libraries,
        [
            ("libc6", "usr/lib/x86_64-linux-gnu/libc.so.6 usr/lib64/ld.so.2".to_owned()),
            ("libdeep", "usr/lib/libdeep.so".to_owned()),
            ("libmine-x1", "usr/lib/x86_64-linux-gnu/libmine_x.so.1".to_owned()),
        ]
    );
    let split: Vec<_> = lock.package.iter().filter(|package| package.component == "pi-kernel").collect();
    let split: Vec<_> = split.iter().map(|package| (package.wanted.as_str(), package.deb.name.as_str())).collect();
    assert_eq!(split, [("pi-linux > pi-binary-*", "pi-binary-7"), ("pi-linux > pi-modules-*", "pi-modules-7")]);
    let asked = archive.log.lock().expect("log").join("\n");
    assert!(!asked.contains("unrelated"), "a package is looked into only when a library is missing:\n{asked}");
}

#[test]
fn an_archive_that_went_back_in_time_is_refused_unless_wanted() {
    let archive = honest();
    lock(&archive).expect("locked");
    let text = std::fs::read_to_string(archive.lock()).expect("read");
    std::fs::write(archive.lock(), text.replace("Wed, 18 Nov", "Thu, 19 Nov")).expect("written");
    let error = lock(&archive).expect_err("older").to_string();
    assert!(error.contains("Wed, 18 Nov") && error.contains("Thu, 19 Nov") && error.contains("--allow-expired"), "{error}");
    lock_at(&archive, "2026-11-20T00:00:00Z", true).expect("wanted");
}

#[test]
fn the_same_archive_gives_the_same_lock() {
    let archive = honest();
    lock(&archive).expect("locked");
    let first = std::fs::read(archive.lock()).expect("read");
    std::fs::remove_dir_all(archive.cache()).expect("emptied");
    let report = lock(&archive).expect("locked");
    assert_eq!(std::fs::read(archive.lock()).expect("read"), first);
    assert_eq!(report.changes, Vec::<String>::new());
}

#[test]
fn changes_are_reported() {
    let archive = honest();
    lock(&archive).expect("locked");
    let text = std::fs::read_to_string(archive.lock()).expect("read");
    std::fs::write(archive.lock(), text.replace("version = \"2:1-1\"", "version = \"2:0-1\"")).expect("written");
    assert_eq!(lock(&archive).expect("locked").changes, ["tool up from 2:0-1 to 2:1-1 (x86_64)"]);
}

#[test]
fn a_tampered_index_release_or_package_is_refused() {
    for (path, what) in
        [("Packages.xz", "SHA-256"), ("Packages.gz", "SHA-256"), ("tool_2:1-1.deb", "SHA-256"), ("InRelease", "forged")]
    {
        let archive = Archive::new(&packages(), &security_packages(), |served, bytes| {
            if served.ends_with(path) {
                match path {
                    "InRelease" => bytes.extend(b"X-Forged: forged\n"),
                    _ => *bytes.last_mut().expect("not empty") ^= 1,
                }
            }
        });
        let error = lock(&archive).expect_err(path).to_string();
        assert!(error.contains(what), "{path}: {error}");
        assert!(!archive.lock().exists(), "{path}: nothing half-written");
    }
}

#[test]
fn an_old_release_file_needs_a_word() {
    let archive = honest();
    let error = lock_at(&archive, "2027-01-01T00:00:00Z", false).expect_err("old").to_string();
    assert!(error.contains("--allow-expired"), "{error}");
    lock_at(&archive, "2027-01-01T00:00:00Z", true).expect("waived");
}

#[test]
fn what_no_package_gives_is_named() {
    for (from, to, parts) in [
        ("name = \"tool\"", "name = \"tule\"", vec!["`tule`", "component `tool`", "test"]),
        ("follow = [\"linux-[0-9]*\"]", "follow = [\"bsd-*\"]", vec!["`bsd-*`"]),
        ("take = [\"usr/bin/tool\"]", "take = [\"usr/bin/{tool,sh}\"]", vec!["libshell.so.1", "usr/bin/sh", "looked into"]),
        ("name = \"bench\"", "name = \"unrelated\"", vec!["component `bench`"]),
    ] {
        let archive = honest();
        archive.edit_manifest(from, to);
        let error = lock(&archive).expect_err(to).to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }
}

#[test]
fn a_program_for_another_machine_is_refused() {
    let mut packages = packages();
    let tool = packages.iter_mut().find(|package| package.name == "tool").expect("tool");
    tool.files[0].1 = super::super::elf::testing::elf(AARCH64, None, &[]);
    let archive = Archive::new(&packages, &security_packages(), |_, _| {});
    let error = lock(&archive).expect_err("Arm").to_string();
    assert_eq!(error, "cannot use usr/bin/tool on x86_64: it is built for aarch64; give a build for x86_64");
}

#[test]
fn likely_names_are_tried_first() {
    let stanza = |package: &Package| {
        let sha256 = super::super::digest::Digest::of(b"");
        let Package { name, version, depends, .. } = package;
        format!("Package: {name}\nVersion: {version}\nDepends: {depends}\nFilename: x\nSize: 1\nSHA256: {sha256}\n\n")
    };
    let text: String = packages().iter().map(stanza).collect();
    let index = Index::parse("test", &text).expect("index");
    let order: Vec<_> = candidates(&index, "tool", "libmine_x.so.1").iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(order, ["libmine-x1", "libc6", "unrelated", "libdeep", "tool"]);
}
