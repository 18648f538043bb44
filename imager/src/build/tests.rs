//! Whole builds from made-up ingredients: the same bytes under other conditions, and nothing left behind when one fails.

use super::*;
use crate::board::{Architecture, BootMethod, Format, Modules, PartitionSizes, Standing};
use crate::components::elf::testing::elf;
use crate::components::modules::Table;
use crate::image::boot::tests as boot_tests;
use crate::image::pe::tests::stub;
use crate::progress::Silent;

const MACHINE: u16 = 62;

/// Machine numbers in ELF and PE.
fn machines(architecture: Architecture) -> (u16, u16) {
    match architecture {
        Architecture::X86_64 => (MACHINE, 0x8664),
        Architecture::Aarch64 => (183, 0xaa64),
    }
}

pub(crate) fn board() -> Board {
    Board {
        name: "test".into(),
        description: "a board for tests".into(),
        architecture: Architecture::X86_64,
        boot: BootMethod::UefiUki,
        kernel: "linux".into(),
        consoles: vec!["tty0".into()],
        cmdline: vec!["loglevel=3".into()],
        modules: Modules::default(),
        watchdog: None,
        firmware: vec![],
        devicetrees: vec![],
        boot_files: None,
        microcode: None,
        partitions: PartitionSizes { esp_mib: 40, runtime_mib: 1 },
        memory_mib: 2048,
        k3s_roles: vec![],
        formats: vec![Format::Raw],
        standing: Standing::default(),
    }
}

/// Files of the runtime image, in the order in which somebody found them.
fn files() -> Vec<(String, Vec<u8>)> {
    let noise = |seed: u32| (0..90_000u32).flat_map(|n| (n.wrapping_mul(seed) / 3 % 9973).to_le_bytes()).collect::<Vec<_>>();
    (1..12).map(|n| (format!("usr/share/file{n}"), noise(n * 7919))).collect()
}

/// Writes ingredients below `folder` with a mode of their own and takes them from there.
fn ingredients<'a>(board: &'a Board, folder: &Path, files: &[(String, Vec<u8>)]) -> Ingredients<'a> {
    std::fs::create_dir_all(folder).expect("made");
    let place = |name: &str, bytes: &[u8]| {
        let path = folder.join(name.replace('/', "-"));
        std::fs::write(&path, bytes).expect("written");
        path
    };
    let (machine, efi) = machines(board.architecture);
    let program = elf(machine, None, &[]);
    let mut hardware = Tree::new();
    let table = Table { kernel: "6.12.0".into(), ..Table::default() };
    let table = serde_json::to_vec(&table).expect("JSON");
    hardware.add_file("skerry/modules/modules.json", table, 0o644).expect("added");
    let mut runtime = Tree::new();
    for (path, bytes) in files {
        runtime.add_path(path, place(path, bytes), 0o644).expect("added");
    }
    for folder in ["usr/bin", "usr/sbin", "usr/lib", "usr/lib64"] {
        runtime.add_dir(folder, 0o755).expect("added");
    }
    Ingredients {
        board,
        version: "0.1.0",
        build_time_floor: 1_700_000_000,
        kernel: boot_tests::kernel(board.architecture).into(),
        kernel_version: "6.12.0".into(),
        loader: board.boot.has_loader().then(|| Loader { program: stub(0, efi).into(), stub: stub(9, efi).into() }),
        microcode: board.microcode.as_ref().map(|_| b"early".as_slice().into()),
        boot_files: boot_tests::given(board),
        hardware,
        runtime,
        component_list: "[]\n".into(),
        programs: Programs {
            init: place("init", &program),
            apid: place("apid", &program),
            images_importer: place("skerry-images", &program),
        },
        seed: None,
    }
}

fn build(ingredients: Ingredients<'_>, cache: &DerivedCache, out: &Path) -> Result<Report, BuildError> {
    run(ingredients, cache, &Silent, &Place::new(out).expect("a place"))
}

/// Builds an image of made-up ingredients below `folder`, for tests of what reads images.
pub(crate) fn build_sample(folder: &Path, seed: Option<Vec<u8>>) -> PathBuf {
    let board = board();
    let mut ingredients = ingredients(&board, &folder.join("in"), &files());
    ingredients.seed = seed;
    let out = folder.join("image");
    build(ingredients, &DerivedCache::none(), &out).expect("built");
    out
}

/// The same with so many bytes more in its runtime image, which nothing makes fewer.
pub(crate) fn build_large(folder: &Path, more: usize) -> PathBuf {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let noise: Vec<u8> = std::iter::repeat_with(next).take(more / 8).flatten().collect();
    let board = board();
    let files = [files(), vec![("usr/share/noise".into(), noise)]].concat();
    let out = folder.join("image");
    build(ingredients(&board, &folder.join("in"), &files), &DerivedCache::none(), &out).expect("built");
    out
}

#[test]
fn the_same_ingredients_give_the_same_bytes_whatever_the_order_place_and_cache() {
    let (board, folder) = (board(), tempfile::tempdir().expect("temp folder"));
    let mut images = Vec::new();
    for (name, reversed) in [("one", false), ("two", true), ("one", false)] {
        let mut files = files();
        if reversed {
            files.reverse();
        }
        let cache = if reversed { DerivedCache::none() } else { DerivedCache::at(&folder.path().join("cache")) };
        let out = folder.path().join(format!("{}.img", images.len()));
        build(ingredients(&board, &folder.path().join(name), &files), &cache, &out).expect("built");
        images.push(std::fs::read(&out).expect("read"));
    }
    assert!(images.iter().all(|image| image == &images[0]));
}

#[test]
fn every_way_to_boot_gives_the_same_bytes_twice_and_reads_back() {
    let folder = tempfile::tempdir().expect("temp folder");
    let with_microcode = Board { microcode: Some("microcode".into()), ..board() };
    for board in [with_microcode, boot_tests::pi4(), boot_tests::pi5()] {
        let made = |name: &str| {
            let out = folder.path().join(name);
            build(ingredients(&board, &folder.path().join("in"), &files()), &DerivedCache::none(), &out).expect("built");
            out
        };
        let (one, two) = (made("one"), made("two"));
        assert!(std::fs::read(&one).expect("read") == std::fs::read(&two).expect("read"), "{:?}", board.boot);
        let found = inspect::inspect(&one, Depth::EveryFile).expect("inspected");
        assert_eq!((found.kernel.as_str(), found.release.architecture), ("6.12.0", board.architecture), "{:?}", board.boot);
        assert!(found.command_line.starts_with(&board.command_line()), "{}", found.command_line);
        assert_eq!(found.uki_sections.is_empty(), !board.boot.has_loader());
        assert_eq!(found.uki_sections.iter().any(|section| section.name == ".ucode"), board.microcode.is_some());
        let room = |partition: &str| found.partitions.iter().find(|found| found.name == partition).expect("there").bytes;
        assert!(room("ESP") >= 3 * found.esp.iter().map(|entry| entry.bytes).sum::<u64>());
    }
}

/// Names the folder for [`child_build`].
const FOLDER_VARIABLE: &str = "SKERRY_TEST_BUILD_FOLDER";

#[test]
#[ignore = "a process of the test below"]
fn child_build() {
    let folder = std::env::var_os(FOLDER_VARIABLE).expect("run by the test below");
    build_sample(Path::new(&folder), None);
}

#[test]
fn the_same_bytes_whatever_the_time_zone_umask_and_number_of_cores() {
    let folder = tempfile::tempdir().expect("temp folder");
    let program = std::env::current_exe().expect("a path");
    let build = |name: &str, zone: &str, shell: &str| {
        let place = folder.path().join(name);
        std::fs::create_dir(&place).expect("made");
        let mut command = std::process::Command::new("sh");
        command.args(["-c", shell]).arg(&program).args(["--exact", "build::tests::child_build", "--ignored"]);
        let output = command.env("TZ", zone).env(FOLDER_VARIABLE, &place).output().expect("started");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        std::fs::read(place.join("image")).expect("read")
    };
    let one = build("one", "UTC", "umask 022; exec \"$0\" \"$@\"");
    let other = build("another-place", "Pacific/Kiritimati", "umask 077; exec taskset -c 0 \"$0\" \"$@\"");
    assert!(one == other);
}

#[test]
fn a_refused_image_leaves_nothing_behind() {
    let (board, folder) = (board(), tempfile::tempdir().expect("temp folder"));
    let mut ingredients = ingredients(&board, &folder.path().join("in"), &files());
    ingredients.runtime.add_file("usr/bin/sh", elf(MACHINE, None, &[]), 0o755).expect("added");
    let out = folder.path().join("out");
    std::fs::create_dir(&out).expect("made");
    let error = build(ingredients, &DerivedCache::none(), &out.join("image")).expect_err("refused").to_string();
    assert!(error.contains("/usr/bin/sh in the runtime image"), "{error}");
    assert_eq!(std::fs::read_dir(&out).expect("listed").count(), 0);
}

#[test]
fn a_missing_program_says_how_to_make_it() {
    let (board, folder) = (board(), tempfile::tempdir().expect("temp folder"));
    let mut ingredients = ingredients(&board, folder.path(), &[]);
    ingredients.programs.apid = folder.path().join("nothing");
    let error = build(ingredients, &DerivedCache::none(), &folder.path().join("image")).expect_err("refused").to_string();
    assert!(error.starts_with("cannot find apid at ") && error.contains("make node") && error.contains("--apid"), "{error}");
}

#[test]
fn a_damaged_cache_costs_time_and_not_correctness() {
    let (board, folder) = (board(), tempfile::tempdir().expect("temp folder"));
    let cache_folder = folder.path().join("cache");
    let cache = DerivedCache::at(&cache_folder);
    let build = |out: &str| {
        let out = folder.path().join(out);
        build(ingredients(&board, &folder.path().join("in"), &files()), &cache, &out).expect("built");
        std::fs::read(out).expect("read")
    };
    let before = build("before");
    let mut damaged = 0;
    for shard in std::fs::read_dir(&cache_folder).expect("listed") {
        for entry in std::fs::read_dir(shard.expect("entry").path()).expect("listed") {
            std::fs::write(entry.expect("entry").path(), "damaged").expect("written");
            damaged += 1;
        }
    }
    assert!(damaged > 0);
    assert!(build("after") == before);
}
