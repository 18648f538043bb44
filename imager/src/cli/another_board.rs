//! Adding a board is adding a file: a copy of a board under another name, in a folder of its own, is built from a made-up archive and nothing else is changed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser as _;

use super::Cli;
use super::ui::Ui;
use crate::board::{Architecture, Board};
use crate::components::digest::of_file;
use crate::components::elf::testing::elf;
use crate::components::kmod::testing::ko;
use crate::components::testing::{Archive, Package, X86_64, packages};
use crate::image::boot::tests::kernel;
use crate::image::pe::tests::stub;
use crate::inspect::{Depth, inspect};

/// Machine number of x86-64 in PE.
const PE_X86_64: u16 = 0x8664;

/// Writes the kernel folder's boards and module sets below `folder`: the NUC under another name, with a serial port.
fn add_board(folder: &Path) -> Board {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernel");
    fs::create_dir_all(folder.join("modules")).expect("made");
    for entry in fs::read_dir(own.join("modules")).expect("listed") {
        let entry = entry.expect("an entry");
        fs::copy(entry.path(), folder.join("modules").join(entry.file_name())).expect("copied");
    }
    let nuc = fs::read_to_string(own.join("boards/nuc.toml")).expect("read");
    let copy = nuc.replace("name = \"nuc\"", "name = \"nuc-serial\"").replace("[\"tty0\"]", "[\"tty0\", \"ttyS0,115200\"]");
    fs::create_dir(folder.join("boards")).expect("made");
    fs::write(folder.join("boards/nuc-serial.toml"), copy).expect("written");
    Board::load(&folder.join("boards"), "nuc-serial").expect("a board")
}

/// A kernel with a module for each name that the board says.
fn kernel_package(board: &Board) -> Package {
    let lists = [&board.modules.early, &board.modules.hardware, &board.modules.runtime, &board.modules.runtime_hardware];
    let names: BTreeSet<_> = lists.into_iter().flatten().collect();
    let module = |name: &&String| (&*format!("./usr/lib/modules/6/kernel/{name}.ko").leak(), ko("depends=\0"));
    let mut files: Vec<_> = names.iter().map(module).collect();
    files.push(("./boot/vmlinuz-6", kernel(Architecture::X86_64)));
    files.push(("./usr/lib/modules/6/modules.builtin", Vec::new()));
    Package { name: "linux-2", version: "2", depends: "", files }
}

/// The made-up archive with that kernel, a loader that is one, and firmware that a NUC asks for: an ELF file, since all files of the archive are executable.
fn archive(board: &Board) -> Archive {
    let mut packages = packages();
    for package in &mut packages {
        match package.name {
            "loader" => {
                package.files = vec![("./usr/lib/boot.efi", stub(0, PE_X86_64)), ("./usr/lib/stub.efi", stub(9, PE_X86_64))];
            }
            "firmware" => package.files.push(("./usr/lib/firmware/rtl_nic/x.fw", elf(X86_64, None, &[]))),
            "tool" => package.files.push(("./usr/sbin/other", elf(X86_64, None, &[]))),
            _ => {}
        }
    }
    let meta = Package { name: "linux-amd64", version: "2", depends: "linux-2 (= 2)", files: Vec::new() };
    let archive = Archive::new(&packages, &[meta, kernel_package(board)], |_, _| {});
    archive.edit_manifest("component.kernel", "component.linux-amd64");
    archive.edit_manifest("take = [\"usr/bin/tool\"]", "take = [\"usr/bin/tool\", \"usr/sbin/other\"]");
    archive
}

/// The node's programs, with the list of their crates beside them, as options.
fn programs(folder: &Path) -> Vec<String> {
    let mut list = "tree = '''\n0apid v0.1.0\n'''\n[[package]]\nname = \"apid\"\nversion = \"0.1.0\"\n".to_owned();
    let mut options = Vec::new();
    for name in ["init", "apid", "images-importer"] {
        let path = folder.join(name);
        fs::write(&path, elf(X86_64, None, &[])).expect("written");
        list += &format!("[programs.{name}]\npackage = \"apid\"\nsha256 = \"{}\"\n", of_file(&path).expect("read"));
        options.extend([format!("--{name}"), text(&path)]);
    }
    fs::write(folder.join("crates.toml"), list).expect("written");
    options
}

fn text(path: &Path) -> String {
    path.to_str().expect("text").to_owned()
}

fn build(archive: &Archive, folder: &Path) -> PathBuf {
    let out = folder.join("image");
    let main = archive.mirrors().main.expect("it has one");
    let fixed = ["imager", "build", "--board", "nuc-serial", "--mirror", &main, "--kernel-dir"].map(str::to_owned);
    let places = [text(archive.folder.path()), "--cache".into(), text(&archive.cache()), "--out".into(), text(&out)];
    let arguments = fixed.into_iter().chain(places).chain(programs(folder));
    Cli::try_parse_from(arguments).expect("options").dispatch(&Ui::new(false)).expect("built");
    out
}

#[test]
fn a_copy_of_a_board_under_another_name_is_built_without_a_change_to_anything_else() {
    let folder = tempfile::tempdir().expect("temp folder");
    let board = add_board(folder.path());
    let archive = archive(&board);
    for name in ["boards", "modules"] {
        fs::rename(folder.path().join(name), archive.folder.path().join(name)).expect("moved");
    }
    archive.write_lock();
    let found = inspect(&build(&archive, folder.path()), Depth::EveryFile).expect("inspected");
    assert_eq!(found.release.board, "nuc-serial");
    assert!(found.command_line.starts_with("console=tty0 console=ttyS0,115200 "), "{}", found.command_line);
    assert!(found.uki_sections.iter().any(|section| section.name == ".ucode"), "its microcode is in it");
}
