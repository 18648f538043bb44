//! Assembling from a made-up archive.

use std::collections::BTreeSet;

use super::super::fetch;
use super::super::testing::{Archive, packages, security_packages};
use super::*;
use crate::board::ModuleSets;
use crate::components::elf::testing::elf;
use crate::components::kmod::testing::ko;
use crate::components::modules::Table;
use crate::components::{MirrorChoice, Wishes};
use crate::progress::Silent;
use crate::progress::testing::Warnings;
use crate::tree::Node;

const BOARD: &str = r#"
name = "made-up"
description = "for tests"
architecture = "x86_64"
boot = "uefi-uki"
kernel = "kernel"
consoles = ["tty0"]
firmware = ["a/b.bin"]
memory-mib = 2048
k3s-roles = []
formats = ["raw"]
modules = { early = ["ext4"], hardware = ["net-x"], runtime = ["over"] }
partitions = { esp-mib = 64, runtime-mib = 64 }
"#;

fn board() -> Board {
    Board::parse(BOARD, &ModuleSets::default()).expect("board")
}

fn options(archive: &Archive) -> AssembleOptions {
    AssembleOptions {
        manifest: archive.manifest(),
        lock: archive.lock(),
        cache: Some(archive.cache()),
        mirrors: archive.mirrors(),
        wishes: Wishes::default(),
    }
}

/// A served and locked archive.
fn locked() -> Archive {
    let archive = Archive::new(&packages(), &security_packages(), |_, _| {});
    archive.write_lock();
    archive
}

fn paths(tree: &Tree) -> Vec<String> {
    let files = tree.iter().filter(|(_, node)| !matches!(node, Node::Dir { .. }));
    files.map(|(path, _)| path.as_str().to_owned()).collect()
}

fn read(tree: &Tree, path: &str) -> Vec<u8> {
    match tree.get(path) {
        Some(Node::File { content, .. }) => content.read().expect("readable").into_owned(),
        other => panic!("{path} is {other:?}"),
    }
}

fn error(archive: &Archive, change: impl Fn(&mut AssembleOptions)) -> String {
    let mut options = options(archive);
    change(&mut options);
    format!("{:#}", anyhow::Error::new(run(&board(), &options, &Silent).expect_err("refused")))
}

#[test]
fn everything_lies_where_it_belongs_and_nothing_else_comes() {
    let archive = locked();
    let made = run(&board(), &options(&archive), &Silent).expect("assembled");
    assert_eq!((made.kernel_version.as_str(), made.kernel.read().expect("kernel").as_ref()), ("6", b"kernel".as_slice()));
    let loader = made.loader.expect("UEFI");
    assert_eq!(loader.program.read().expect("loader").as_ref(), b"boot");
    assert_eq!(loader.stub.read().expect("stub").as_ref(), b"stub");
    assert_eq!(
        paths(&made.initramfs),
        ["skerry/firmware/a/b.bin", "skerry/modules/core.ko", "skerry/modules/modules.json", "skerry/modules/net-x.ko",]
    );
    assert_eq!(
        paths(&made.runtime),
        [
            "usr/bin/alias",
            "usr/bin/tool",
            "usr/lib/libdeep.so",
            "usr/lib/skerry/modules/core.ko.xz",
            "usr/lib/skerry/modules/modules.json",
            "usr/lib/skerry/modules/over.ko",
            "usr/lib/x86_64-linux-gnu/libc.so.6",
            "usr/lib/x86_64-linux-gnu/libmine_x.so.1",
            "usr/lib64/ld.so.2",
            "usr/share/all.pem",
            "usr/share/extra/extra.tar",
        ]
    );
    assert_eq!(read(&made.runtime, "usr/share/all.pem"), b"first\nsecond\n");
    assert_eq!(paths(&made.boot_files), ["licences/firmware.txt"]);
    assert_eq!(made.microcode, None);
    let table: Table = serde_json::from_slice(&read(&made.runtime, "usr/lib/skerry/modules/modules.json")).expect("table");
    assert_eq!(table.runtime, ["over"]);
    let records: Vec<_> = made.records.iter().map(|record| format!("{}/{}", record.component, record.name)).collect();
    assert_eq!(
        records,
        [
            "extra/extra",
            "firmware/firmware",
            "kernel/linux-2",
            "libraries/libc6",
            "libraries/libdeep",
            "libraries/libmine-x1",
            "loader/loader",
            "tool/tool",
        ]
    );
}

/// A board that boots by files of its own.
const PI: &str = r#"
name = "pi"
description = "for tests"
architecture = "aarch64"
boot = "rpi-uboot"
kernel = "pi-kernel"
consoles = ["tty0"]
watchdog = "pi_wdt"
devicetrees = [{ file = "maker/bcm2711-rpi-4-b.dtb", filter = "pi4", model = "Raspberry Pi 4" }]
boot-files = "pi-boot"
memory-mib = 2048
k3s-roles = []
formats = ["raw"]
modules = {}
partitions = { esp-mib = 64, runtime-mib = 64 }
"#;

fn pi(from: &str, to: &str) -> Board {
    assert!(PI.contains(from), "{from}");
    Board::parse(&PI.replace(from, to), &ModuleSets::default()).expect("board")
}

#[test]
fn a_board_s_own_boot_files_device_trees_and_licences_go_to_the_boot_partition() {
    let archive = locked();
    let made = run(&pi("", ""), &options(&archive), &Silent).expect("assembled");
    assert_eq!(paths(&made.boot_files), ["bcm2711-rpi-4-b.dtb", "licences/pi-boot.txt", "start.elf"]);
    assert_eq!(read(&made.boot_files, "start.elf"), b"second stage");
    assert_eq!(paths(&made.initramfs), ["skerry/modules/modules.json", "skerry/modules/pi_wdt.ko"]);
    assert!(made.loader.is_some(), "U-Boot offers UEFI");
}

#[test]
fn a_compressed_module_lies_plain_in_the_initramfs_and_as_it_came_in_the_runtime_image() {
    let archive = locked();
    let made = run(&board(), &options(&archive), &Silent).expect("assembled");
    let (plain, packed) =
        (read(&made.initramfs, "skerry/modules/core.ko"), read(&made.runtime, "usr/lib/skerry/modules/core.ko.xz"));
    assert_eq!(plain, ko("depends=\0"));
    assert!(packed.starts_with(b"\xfd7zXZ"));
    for (tree, folder, file) in
        [(&made.initramfs, "skerry/modules", "core.ko"), (&made.runtime, "usr/lib/skerry/modules", "core.ko.xz")]
    {
        let table: Table = serde_json::from_slice(&read(tree, &format!("{folder}/modules.json"))).expect("table");
        assert_eq!(table.modules["core"].file, file, "{folder}");
    }
}

#[test]
fn microcode_comes_as_an_early_initramfs() {
    let archive = locked();
    let with = BOARD.replace("firmware = [", "microcode = \"microcode\"\nfirmware = [");
    let board = Board::parse(&with, &ModuleSets::default()).expect("board");
    let made = run(&board, &options(&archive), &Silent).expect("assembled").microcode.expect("microcode");
    let bytes = made.read().expect("read");
    let has = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    assert!(has(b"kernel/x86/microcode/GenuineIntel.bin\0") && has(b"update") && !has(b"AuthenticAMD"));
}

#[test]
fn what_a_board_names_and_no_component_gives_is_an_error() {
    let archive = locked();
    for (from, to, part) in [
        ("bcm2711-rpi-4-b", "bcm2711-rpi-400", "device tree `maker/bcm2711-rpi-400.dtb`"),
        ("\"pi-boot\"", "\"pi-kernel\"", "`pi-kernel` as the boot-files of board pi"),
        ("pi_wdt", "other_wdt", "kernel module `other_wdt`"),
    ] {
        let error = run(&pi(from, to), &options(&archive), &Silent).expect_err(to).to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn what_a_build_uses_is_fetched_and_what_tests_use_is_not() {
    let archive = locked();
    let fetched = fetch::run(&board(), &options(&archive), &Silent).expect("fetched");
    let mut names: Vec<_> = fetched.iter().map(|fetched| fetched.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["extra", "firmware", "libc6", "libdeep", "libmine-x1", "linux-2", "loader", "tool"]);
}

#[test]
fn a_tool_comes_with_its_libraries() {
    let archive = locked();
    let files = test_files("emulator", Architecture::Aarch64, &options(&archive), &Silent).expect("files");
    let names: Vec<_> = files.keys().map(String::as_str).collect();
    assert_eq!(names, ["usr/bin/emulator", "usr/lib/x86_64-linux-gnu/libc.so.6", "usr/lib64/ld.so.2"]);
    assert!(matches!(files["usr/bin/emulator"], TestFile::File { executable: true, .. }));
}

#[test]
fn a_warm_build_asks_no_server_and_gives_the_same() {
    let archive = locked();
    let cold = run(&board(), &options(&archive), &Silent).expect("assembled");
    let asked = archive.log.lock().expect("log").len();
    let warm = run(&board(), &options(&archive), &Silent).expect("assembled");
    assert_eq!(archive.log.lock().expect("log").len(), asked);
    assert_eq!(warm, cold);
}

#[test]
fn a_damaged_cache_heals() {
    let archive = locked();
    let cold = run(&board(), &options(&archive), &Silent).expect("assembled");
    for entry in std::fs::read_dir(archive.cache().join("sha256")).expect("cache") {
        std::fs::write(entry.expect("entry").path(), b"damaged").expect("written");
    }
    let healed = run(&board(), &options(&archive), &Silent).expect("assembled again");
    assert_eq!(healed, cold);
    assert_eq!(read(&healed.runtime, "usr/share/extra/extra.tar"), b"extra");
}

#[test]
fn components_given_by_path_replace_their_own() {
    let archive = locked();
    let folder = tempfile::tempdir().expect("folder");
    let (extra, tool) = (folder.path().join("mine.tar.zst"), folder.path().join("tool/usr/bin"));
    std::fs::write(&extra, b"mine").expect("written");
    std::fs::create_dir_all(&tool).expect("made");
    std::fs::write(tool.join("tool"), b"static").expect("written");
    std::fs::create_dir(folder.path().join("tool/usr/share")).expect("made");
    std::fs::write(folder.path().join("tool/usr/share/all.pem"), b"mine").expect("written");
    let mut options = options(&archive);
    options.wishes.given = [("extra".to_owned(), extra), ("tool".to_owned(), folder.path().join("tool"))].into();
    let made = run(&board(), &options, &Silent).expect("assembled");
    let own: Vec<_> = paths(&made.runtime).into_iter().filter(|path| !path.contains("skerry")).collect();
    assert_eq!(own, ["usr/bin/alias", "usr/bin/tool", "usr/share/all.pem", "usr/share/extra/mine.tar.zst"]);
    let given = made.records.iter().filter(|record| record.source == "given");
    assert_eq!(given.map(|record| record.name.as_str()).collect::<Vec<_>>(), ["extra", "tool"]);
}

#[test]
fn a_folder_without_what_the_component_is_for_is_refused() {
    let archive = locked();
    let folder = tempfile::tempdir().expect("folder");
    let error = error(&archive, |options| options.wishes.given = [("tool".to_owned(), folder.path().to_owned())].into());
    assert!(error.contains("component `tool`: it has no usr/"), "{error}");
}

#[test]
fn the_pinned_file_given_by_path_keeps_its_version_and_misses_its_companion() {
    let archive = locked();
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("extra.tar");
    let text = std::fs::read_to_string(archive.manifest()).expect("read");
    let with = "\n[component.more]\nrole = \"runtime\"\narchitectures = []\noptional = true\nalong-with = \"extra\"\n\
                file = { version = \"1\", to = \"usr/share/more/\", pin = {} }\n";
    std::fs::write(archive.manifest(), text + with).expect("written");
    for (content, version, warned) in [("extra", "v1", 1), ("other", "given", 0)] {
        std::fs::write(&path, content).expect("written");
        let mut options = options(&archive);
        options.wishes.given = [("extra".to_owned(), path.clone())].into();
        let warnings = Warnings::default();
        let made = run(&board(), &options, &warnings).expect("assembled");
        let record = made.records.iter().find(|record| record.name == "extra").expect("there");
        assert_eq!((record.version.as_str(), record.sha256), (version, Digest::of(content.as_bytes())));
        let warnings = warnings.all();
        assert_eq!(warnings.iter().filter(|line| line.contains("--component more=PATH")).count(), warned, "{warnings:?}");
    }
}

#[test]
fn a_folder_of_files_goes_where_several_may_lie() {
    let archive = locked();
    let folder = tempfile::tempdir().expect("folder");
    for name in ["one.tar", "two.tar"] {
        std::fs::write(folder.path().join(name), name).expect("written");
    }
    let mut options = options(&archive);
    options.wishes.given = [("extra".to_owned(), folder.path().to_owned())].into();
    let made = run(&board(), &options, &Silent).expect("assembled");
    assert_eq!(read(&made.runtime, "usr/share/extra/two.tar"), b"two.tar");
    assert_eq!(read(&made.runtime, "usr/share/extra/one.tar"), b"one.tar");
}

#[test]
fn what_is_left_out_is_not_there() {
    let archive = locked();
    let mut options = options(&archive);
    options.wishes.without = BTreeSet::from(["extra".to_owned()]);
    let made = run(&board(), &options, &Silent).expect("assembled");
    assert!(!paths(&made.runtime).iter().any(|path| path.contains("extra")));
}

#[test]
fn a_given_program_must_fit_and_find_its_libraries() {
    let archive = locked();
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("extra");
    for (file, parts) in [
        (elf(183, None, &[]), ["component `extra`", "aarch64"]),
        (elf(62, None, &["libnew.so.9"]), ["libnew.so.9", "statically linked"]),
        (b"\x7fELF\x02broken".to_vec(), ["component `extra`", "as an ELF file"]),
    ] {
        std::fs::write(&path, file).expect("written");
        let error = error(&archive, |options| options.wishes.given = [("extra".to_owned(), path.clone())].into());
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }
    let missing = error(&archive, |options| options.wishes.given = [("extra".to_owned(), "/no/such".into())].into());
    assert!(missing.contains("component `extra`") && missing.contains("/no/such"), "{missing}");
}

#[test]
fn a_script_is_no_program() {
    let archive = locked();
    archive.edit_manifest("to = \"usr/share/extra/\"", "to = \"usr/bin/extra\"\nexecutable = true");
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("extra");
    std::fs::write(&path, "#!/bin/sh\n").expect("written");
    let error = error(&archive, |options| options.wishes.given = [("extra".to_owned(), path.clone())].into());
    assert!(error.contains("not an ELF program") && error.contains(&path.display().to_string()), "{error}");
}

#[test]
fn an_archive_out_of_reach_names_the_component_and_the_ways_out() {
    let archive = locked();
    let dead = MirrorChoice { main: Some("http://127.0.0.1:9/debian".into()), security: None };
    let error = error(&archive, |options| options.mirrors = dead.clone());
    assert!(error.contains("http://127.0.0.1:9/debian") && error.contains("--component firmware=PATH"), "{error}");
    assert!(!error.contains("--without"), "an image needs it: {error}");
}

#[test]
fn names_of_the_board_that_lead_nowhere_are_errors() {
    let archive = locked();
    for (from, to, part) in [
        ("a/b.bin", "a/c.bin", "firmware file `a/c.bin`"),
        ("\"over\"", "\"wifi\"", "kernel module `wifi`"),
        ("\"kernel\"", "\"tool\"", "`tool` as the kernel"),
    ] {
        let board = Board::parse(&BOARD.replace(from, to), &ModuleSets::default()).expect("board");
        let error = run(&board, &options(&archive), &Silent).expect_err(to).to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn test_files_come_from_test_components_only() {
    let archive = locked();
    let files = test_files("bench", Architecture::X86_64, &options(&archive), &Silent).expect("files");
    assert_eq!(std::fs::read(files["usr/share/bench"].path().expect("a file")).expect("read"), b"bench");
    assert!(test_files("tool", Architecture::X86_64, &options(&archive), &Silent).is_err());
}
