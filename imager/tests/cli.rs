//! The program from outside: exit codes, one line per error that names the object, nothing half-written.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Options that name files for the node's programs, which a test of imager alone does not build, with a list of crates beside them.
fn programs(folder: &Path) -> Vec<String> {
    let mut list = "tree = '''\n0apid v0.1.0\n'''\n[[package]]\nname = \"apid\"\nversion = \"0.1.0\"\n".to_owned();
    let mut options = Vec::new();
    for name in ["init", "apid", "images-importer"] {
        let path = folder.join(name);
        std::fs::write(&path, name).expect("written");
        let sum = imager::components::digest::of_file(&path).expect("read");
        list += &format!("[programs.{name}]\npackage = \"apid\"\nsha256 = \"{sum}\"\n");
        options.extend([format!("--{name}"), path.to_str().expect("text").to_owned()]);
    }
    std::fs::write(folder.join("crates.toml"), list).expect("written");
    options
}

fn imager(arguments: &[&str], cache: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_imager"));
    command.current_dir(workspace()).args(arguments).env("SKERRY_CACHE", cache);
    command.env("SKERRY_MIRROR", "http://127.0.0.1:9/debian").env("SKERRY_SECURITY_MIRROR", "http://127.0.0.1:9/security");
    command.output().expect("started")
}

/// The error of a run that must fail: one line on standard error that begins with `error: `.
fn error(arguments: &[&str]) -> String {
    let cache = tempfile::tempdir().expect("temp folder");
    let output = imager(arguments, cache.path());
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    let text = String::from_utf8(output.stderr).expect("text");
    let errors: Vec<_> = text.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{text}");
    assert_eq!(text.lines().last(), errors.first().copied(), "{text}");
    errors[0].to_owned()
}

#[test]
fn bad_input_is_named_in_one_line() {
    let folder = tempfile::tempdir().expect("temp folder");
    let out = folder.path().join("image");
    let (out, parent) = (out.to_str().expect("text"), folder.path().to_str().expect("text"));
    let given = tempfile::tempdir().expect("temp folder");
    let programs = programs(given.path());
    let programs: Vec<_> = programs.iter().map(String::as_str).collect();
    let build = |more: &[&'static str]| {
        let fixed = ["build", "--board", "qemu-x86_64", "--out", out];
        error(&[&fixed[..], &programs, more].concat())
    };
    let cases = [
        (error(&["build", "--board", "toaster", "--out", out]), vec!["`toaster`", "qemu-x86_64"]),
        (build(&["--fleet", "/nowhere"]), vec!["/nowhere/fleet.pub", "skerryctl fleet init"]),
        (build(&["--component", "k3s=/nowhere"]), vec!["k3s=/nowhere", "no such file"]),
        (build(&["--component", "k8s=/dev/null"]), vec!["`k8s`", "k3s"]),
        (build(&["--without", "containerd"]), vec!["containerd"]),
        (build(&["--component", "k3s=/dev/null", "--without", "k3s"]), vec!["k3s"]),
        (build(&["--component", "ovmf=/dev/null"]), vec!["`ovmf`", "tests"]),
        (build(&["--component", "k3s=/dev/zero"]), vec!["`k3s`", "/dev/zero", "not a regular file"]),
        (build(&["--mirror", "mirror.test/debian"]), vec!["`mirror.test/debian`", "http://"]),
        (error(&["build", "--board", "qemu-x86_64", "--out", "/nowhere/image"]), vec!["/nowhere", "make it first"]),
        (error(&["build", "--board", "qemu-x86_64", "--out", parent]), vec![parent, "it is a folder", "--out"]),
        (error(&["build", "--board", "rpi5", "--format", "raw,iso", "--out", out]), vec!["form iso", "rpi5", "raw.zst"]),
        (error(&["convert", "/nowhere/image", "--format", "iso", "--out", out]), vec!["cannot open /nowhere/image"]),
        (error(&["convert", "Cargo.toml", "--format", "iso", "--out", out]), vec!["Cargo.toml", "not a disk image"]),
        (error(&["inspect", "/dev/zero"]), vec!["/dev/zero", "neither a file nor a disk"]),
        (error(&["inspect", "Cargo.toml"]), vec!["Cargo.toml", "not a disk image"]),
        (error(&["inspect", "/nowhere/image"]), vec!["cannot open /nowhere/image"]),
        (error(&["files", "containerd", "--board", "qemu-x86_64"]), vec!["`containerd`"]),
        (error(&["boards", "--kernel-dir", "/nowhere"]), vec!["/nowhere/boards"]),
        (error(&["stamp", "b", "--inventory", "/nowhere.csv", "--out", parent]), vec!["cannot read /nowhere.csv"]),
        (error(&["stamp", "b", "--inventory", "Cargo.toml", "--out", parent]), vec!["Cargo.toml", "line 1, column 1"]),
        (error(&["stamp", "b", "--inventory", "/nowhere.csv", "--stdout"]), vec!["cannot read /nowhere.csv"]),
        (error(&["verify", "/nowhere.img", "--manifest", "/nowhere.json"]), vec!["cannot read /nowhere.json"]),
        (error(&["verify", "/nowhere.img", "--manifest", "Cargo.toml"]), vec!["cannot use the manifest"]),
        (error(&["station-key", "/dev/null/key"]), vec!["cannot make the folder /dev/null"]),
    ];
    for (error, parts) in cases {
        assert!(parts.iter().all(|part| error.contains(part)), "{error} lacks one of {parts:?}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).expect("listed").count(), 0, "something was left behind");
}

#[test]
fn a_component_that_cannot_be_had_names_address_reason_and_both_ways_out() {
    let folder = tempfile::tempdir().expect("temp folder");
    let out = folder.path().join("image");
    let arguments = ["build", "--board", "qemu-x86_64", "--without", "k3s", "--out", out.to_str().expect("text")];
    let given = tempfile::tempdir().expect("temp folder");
    let programs = programs(given.path());
    let error = error(&arguments.into_iter().chain(programs.iter().map(String::as_str)).collect::<Vec<_>>());
    assert!(error.contains("http://127.0.0.1:9/debian/pool/") && error.contains("--component"), "{error}");
    assert!(!out.exists());
}

#[test]
fn programs_whose_crates_nobody_knows_are_refused_before_anything_is_fetched() {
    let (folder, given) = (tempfile::tempdir().expect("temp folder"), tempfile::tempdir().expect("temp folder"));
    let out = folder.path().join("image");
    let programs = programs(given.path());
    let fixed = ["build", "--board", "qemu-x86_64", "--out", out.to_str().expect("text")];
    let arguments: Vec<_> = fixed.into_iter().chain(programs.iter().map(String::as_str)).collect();
    std::fs::write(given.path().join("apid"), "built again").expect("written");
    let message = error(&arguments);
    assert!(message.contains("crates are in") && message.contains("another build") && message.contains("make node"), "{message}");
    std::fs::remove_file(given.path().join("crates.toml")).expect("removed");
    let message = error(&arguments);
    assert!(message.contains("crates.toml is not beside it") && message.contains("make node"), "{message}");
}

#[test]
fn wrong_options_end_with_another_code() {
    let cache = tempfile::tempdir().expect("temp folder");
    for arguments in [
        &["build"][..],
        &["build", "--board", "b", "--out", "o", "--config", "c"],
        &["stamp", "b", "--inventory", "i"],
        &["stamp", "b", "--inventory", "i", "--stdout", "--replace"],
        &["frobnicate"],
    ] {
        assert_eq!(imager(arguments, cache.path()).status.code(), Some(2), "{arguments:?}");
    }
}

/// The boards that have a file.
fn board_names() -> Vec<String> {
    imager::board::names(&workspace().join("kernel/boards")).expect("listed")
}

#[test]
fn people_read_of_every_board_what_is_proven_and_what_awaits() {
    let cache = tempfile::tempdir().expect("temp folder");
    let output = imager(&["boards"], cache.path());
    let text = String::from_utf8(output.stdout).expect("text");
    let is_heading = |line: &&str| !line.starts_with(' ');
    let told: Vec<&str> = text.lines().filter(is_heading).filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(told, board_names());
    for what in ["proven", "awaits"] {
        let lines: Vec<&str> = text.lines().filter_map(|line| line.trim_start().strip_prefix(what)).collect();
        assert_eq!(lines.len(), told.len(), "{text}");
        assert!(lines.iter().all(|line| line.trim().len() > 3), "{text}");
    }
    let memory: Vec<&str> = text.lines().filter_map(|line| line.trim_start().strip_prefix("memory")).collect();
    assert!(memory.len() == told.len() && memory.iter().all(|line| line.contains(" MiB at least")), "{text}");
}

#[test]
fn programs_get_json() {
    let cache = tempfile::tempdir().expect("temp folder");
    let output = imager(&["boards", "--json"], cache.path());
    let boards: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let boards = boards.as_array().expect("a list");
    let told: Vec<&str> = boards.iter().map(|board| board["name"].as_str().expect("text")).collect();
    assert_eq!(told, board_names());
    for board in boards {
        for what in ["proven", "awaits"] {
            let lines = board["standing"][what].as_array().expect("a list");
            let is_told = |text: &serde_json::Value| text.as_str().is_some_and(|text| !text.trim().is_empty());
            let told = |line: &serde_json::Value| match what {
                "proven" => is_told(&line["what"]) && is_told(&line["test"]),
                _ => is_told(line),
            };
            assert!(!lines.is_empty() && lines.iter().all(told), "{}: {what} says nothing", board["name"]);
        }
    }
    let output = imager(&["--json", "inspect", "Cargo.toml"], cache.path());
    let event: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one line of JSON");
    assert_eq!(event["event"], "error");
    assert!(event["message"].as_str().expect("text").contains("not a disk image"));
}
