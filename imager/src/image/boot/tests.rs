//! Boot partitions of made-up parts.

use super::devicetree::testing::tree;
use super::*;
use crate::board::{Architecture, ModuleSets};
use crate::image::pe::tests::stub;

/// An arm64 kernel image as far as firmware looks at it; it is also a PE file.
fn arm64_kernel() -> Vec<u8> {
    let mut kernel = stub(0, 0xaa64);
    kernel[56..60].copy_from_slice(b"ARM\x64");
    kernel
}

/// A kernel image for an architecture.
pub(crate) fn kernel(architecture: Architecture) -> Vec<u8> {
    match architecture {
        Architecture::X86_64 => stub(0, 0x8664),
        Architecture::Aarch64 => arm64_kernel(),
    }
}

/// A board of one of the Raspberry Pi's ways.
pub(crate) fn board(boot: &str, devicetrees: &str, more: &str) -> Board {
    let text = format!(
        "name = \"test\"\ndescription = \"for tests\"\narchitecture = \"aarch64\"\nboot = \"{boot}\"\nkernel = \"linux\"\n\
         consoles = [\"tty0\"]\nmemory-mib = 1024\nk3s-roles = []\nformats = [\"raw\"]\ndevicetrees = [{devicetrees}]\n{more}\n[modules]\n\
         [partitions]\nesp-mib = 40\nruntime-mib = 1\n"
    );
    Board::parse(&text, &ModuleSets::default()).expect("a board")
}

/// What a board file says of device trees with these names and filters.
fn devicetrees(trees: &[(&str, &str)]) -> String {
    let line = |(name, filter): &(&str, &str)| {
        format!("{{ file = \"broadcom/{name}.dtb\", filter = \"{filter}\", model = \"{MODEL}\" }}")
    };
    trees.iter().map(line).collect::<Vec<_>>().join(", ")
}

/// What made-up device trees say their model is.
const MODEL: &str = "Raspberry Pi";

pub(crate) fn pi4() -> Board {
    let trees = [("bcm2711-rpi-4-b", "pi4"), ("bcm2711-rpi-cm4-io", "cm4")];
    board("rpi-uboot", &devicetrees(&trees), "boot-files = \"rpi-boot\"")
}

pub(crate) fn pi5() -> Board {
    board("rpi-native", &devicetrees(&[("bcm2712-rpi-5-b", "pi5"), ("bcm2712-d-rpi-5-b", "pi5")]), "")
}

/// What components give to such a board's boot partition.
pub(crate) fn given(board: &Board) -> Tree {
    let mut files = Tree::new();
    if board.boot == BootMethod::RpiUboot {
        for (name, bytes) in
            [("start4.elf", vec![1]), ("fixup4.dat", vec![2]), ("u-boot.bin", vec![0x0a, 0, 0, 0x14, 0x1f, 0x20, 0x03, 0xd5])]
        {
            files.add_file(name, bytes, 0o644).expect("added");
        }
    }
    for devicetree in &board.devicetrees {
        let name = devicetree.file_name();
        let chip = format!("brcm,{}", &name[..7]);
        files.add_file(name, tree(MODEL, &chip), 0o644).expect("added");
    }
    if board.boot.is_rpi() {
        files.add_file("licences/x.txt", "free to pass on", 0o644).expect("added");
    }
    files
}

fn loader() -> Loader {
    Loader { program: stub(0, 0xaa64).into(), stub: stub(9, 0xaa64).into() }
}

fn made(board: &Board, given: &Tree) -> Result<BootFiles, MakeError> {
    files(&BootParts {
        board,
        loader: Some(&loader()),
        kernel: &arm64_kernel(),
        kernel_version: "6.12.0",
        initramfs: b"compressed",
        microcode: None,
        command_line: "console=tty0 quiet",
        os_release: "ID=skerry\n",
        files: given,
    })
}

fn names(files: &BootFiles) -> Vec<&str> {
    files.keys().map(String::as_str).collect()
}

#[test]
fn a_pi_4_starts_u_boot_which_starts_the_uki() {
    let board = pi4();
    let files = made(&board, &given(&board)).expect("made");
    assert_eq!(
        names(&files),
        [
            "EFI/BOOT/BOOTAA64.EFI",
            "EFI/Linux/skerry-a.efi",
            "bcm2711-rpi-4-b.dtb",
            "bcm2711-rpi-cm4-io.dtb",
            "config.txt",
            "fixup4.dat",
            "licences/x.txt",
            "loader/loader.conf",
            "start4.elf",
            "u-boot.bin",
        ]
    );
    let config = String::from_utf8(files["config.txt"].clone()).expect("text");
    assert_eq!(
        config,
        "# Written by imager: what the board's firmware starts.\narm_64bit=1\nenable_uart=1\nkernel=u-boot.bin\n\
         [pi4]\ndevice_tree=bcm2711-rpi-4-b.dtb\n[cm4]\ndevice_tree=bcm2711-rpi-cm4-io.dtb\n[all]\n"
    );
    let booted = read(&files).expect("read");
    assert_eq!((booted.command_line.as_str(), booted.uname.as_deref()), ("console=tty0 quiet", Some("6.12.0")));
}

#[test]
fn a_pi_5_starts_the_kernel_from_its_slot() {
    let board = pi5();
    let files = made(&board, &given(&board)).expect("made");
    assert_eq!(
        names(&files),
        [
            "config.txt",
            "licences/x.txt",
            "slot-a/bcm2712-d-rpi-5-b.dtb",
            "slot-a/bcm2712-rpi-5-b.dtb",
            "slot-a/cmdline.txt",
            "slot-a/initramfs.zst",
            "slot-a/vmlinuz",
        ]
    );
    let config = String::from_utf8(files["config.txt"].clone()).expect("text");
    assert_eq!(
        config,
        "# Written by imager: what the board's firmware starts.\narm_64bit=1\nenable_uart=1\nos_prefix=slot-a/\nkernel=vmlinuz\n\
         cmdline=cmdline.txt\ninitramfs initramfs.zst followkernel\n[pi5]\ndevice_tree=bcm2712-rpi-5-b.dtb\n\
         # for other steppings of the chip: device_tree=bcm2712-d-rpi-5-b.dtb\n[all]\n"
    );
    let booted = read(&files).expect("read");
    assert_eq!((booted.command_line.as_str(), booted.initramfs.as_slice()), ("console=tty0 quiet", b"compressed".as_slice()));
    assert_eq!((booted.uname, booted.sections), (None, vec![]));
}

#[test]
fn a_partition_no_pi_could_boot_is_refused() {
    for board in [pi4(), pi5()] {
        let good = made(&board, &given(&board)).expect("made");
        let needed = good.keys().filter(|name| !name.starts_with("EFI/BOOT") && !name.starts_with("l"));
        for name in needed {
            let mut files = good.clone();
            files.remove(name);
            let error = read(&files).expect_err(name).to_string();
            assert!(error.contains(name.rsplit('/').next().expect("a name")), "{name}: {error}");
        }
    }
}

#[test]
fn files_that_are_something_else_are_named() {
    let (four, five) = (pi4(), pi5());
    for (board, name, bytes, part) in [
        (&four, "u-boot.bin", b"\x1f\x8b compressed".to_vec(), "neither an uncompressed arm64 kernel nor U-Boot"),
        (&four, "bcm2711-rpi-4-b.dtb", tree("Raspberry Pi 3 Model B", "brcm,bcm2837"), "it is for `Raspberry Pi 3 Model B`"),
        (&four, "bcm2711-rpi-4-b.dtb", b"text".to_vec(), "not a flattened device tree"),
        (&four, "bcm2711-rpi-4-b.dtb", tree("Raspberry Pi 4", "brcm,bcm2711"), "it leaves U-Boot a prompt"),
        (&five, "slot-a/cmdline.txt", b"one\ntwo\n".to_vec(), "one line"),
        (&five, "slot-a/cmdline.txt", vec![b'x'; 2000], "1024"),
        (&five, "config.txt", [b"kernel=".as_slice(), &[b'x'; 120]].concat(), "more than 98"),
        (
            &five,
            "config.txt",
            b"os_prefix=slot-a/\nkernel=vmlinuz\n# device_tree=bcm2712-rpi-5-b.dtb\n".to_vec(),
            "no device tree",
        ),
    ] {
        let mut files = made(board, &given(board)).expect("made");
        files.insert(name.to_owned(), bytes);
        let error = read(&files).expect_err(name).to_string();
        assert!(error.contains(part) && error.contains(name), "{error}");
    }
}

#[test]
fn a_device_tree_for_another_model_than_its_filter_s_is_refused_when_building() {
    let mut board = board("rpi-native", &devicetrees(&[("bcm2712-rpi-6-b", "pi6")]), "");
    let given = given(&board);
    assert!(made(&board, &given).is_ok(), "a model that nobody knew needs a board file alone");
    board.devicetrees[0].model = "Raspberry Pi 6".into();
    let error = made(&board, &given).expect_err("refused").to_string();
    assert!(error.contains("bcm2712-rpi-6-b.dtb") && error.contains("not for `Raspberry Pi 6`"), "{error}");
}
