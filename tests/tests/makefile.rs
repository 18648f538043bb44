//! Which compiler the Makefile takes for arm64: asked with `make -n`, which runs nothing, and a made-up rustup.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use skerry_tests::places;

/// What `make node-aarch64` would run where rustup answers as this script does.
fn commands(rustup: &str) -> String {
    let folder = tempfile::tempdir().expect("a temp folder");
    let program = folder.path().join("rustup");
    fs::write(&program, format!("#!/bin/sh\n{rustup}\n")).expect("written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("executable");
    let mut path = OsString::from(folder.path());
    path.push(":");
    path.push(std::env::var_os("PATH").expect("a search path"));
    let mut make = Command::new("make");
    make.current_dir(places::workspace()).args(["-n", "node-aarch64"]).env("PATH", path);
    // What a make around this test would have this one do.
    for name in ["MAKEFLAGS", "MFLAGS", "MAKELEVEL"] {
        make.env_remove(name);
    }
    let output = make.output().expect("make runs");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn arm64_is_built_with_rustups_target_where_it_is_installed_and_else_with_debians_compiler() {
    const OTHERS: &str = "x86_64-unknown-linux-gnu\naarch64-unknown-linux-musl";
    for (rustup, debian) in [
        (format!("printf '{OTHERS}\naarch64-unknown-linux-gnu\n'"), false),
        (format!("printf '{OTHERS}\n'"), true),
        ("echo 'error: no toolchain' >&2; exit 1".to_owned(), true),
    ] {
        let commands = commands(&rustup).replace("\\\n", " ");
        let mut builds = commands.lines().filter(|line| line.contains("cargo build"));
        let (build, other) = (builds.next().expect("it builds"), builds.next());
        assert!(build.contains("--target aarch64-unknown-linux-gnu") && other.is_none(), "{commands}");
        assert_eq!(build.contains("RUSTC=/usr/bin/rustc"), debian, "{rustup}: {build}");
        let lists = commands.lines().find(|line| line.contains("tools/crates.sh")).expect("it lists the crates");
        assert_eq!(lists.contains("RUSTC=/usr/bin/rustc"), debian, "{rustup}: {lists}");
    }
}
