//! What needs the kernel's devices, and so root. On a file system that shares blocks, stamping copies no byte of the base: seen by `filefrag` and by the
//! space that a dozen images take. On a drive, an image verifies without the rest being read.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Bench, Existing, image};
use crate::oracle::{ask, skip};

/// Bytes of the disk that is made: the least that `mkfs.xfs` takes, and some.
const DISK_BYTES: u64 = 400 << 20;
const DEVICES: usize = 12;
/// What a stamp may take beside the base's blocks: SEED, two small files, and the file system's own records.
const MOST_BYTES_EACH: u64 = (1 << 20) + (64 << 10);

/// A file system in a file, mounted; unmounted when it goes.
struct Mounted {
    folder: PathBuf,
}

impl Mounted {
    /// None where the kernel or the user may not.
    fn new(place: &Path, mkfs: &str, quiet: &str) -> Option<Self> {
        let (file, folder) = (place.join(format!("{mkfs}.disk")), place.join(mkfs));
        std::fs::File::create(&file).and_then(|file| file.set_len(DISK_BYTES)).expect("made");
        std::fs::create_dir(&folder).expect("made");
        let made = ask(Command::new(mkfs).arg(quiet).arg(&file))?;
        assert!(made.status.success(), "{made:?}");
        let mounted = ask(Command::new("mount").args(["-o", "loop"]).arg(&file).arg(&folder))?;
        if mounted.status.success() {
            return Some(Self { folder });
        }
        eprintln!("{mkfs}: {}", String::from_utf8_lossy(&mounted.stderr).trim_end());
        None
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        Command::new("umount").arg(&self.folder).status().expect("umount is beside mount");
    }
}

fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        skip("only root may mount file systems and make loop devices");
    }
    is_root
}

#[test]
fn where_blocks_can_be_shared_no_byte_of_the_base_is_copied() {
    if !is_root() {
        return;
    }
    let place = tempfile::tempdir().expect("temp folder");
    let systems = [("mkfs.btrfs", "-q"), ("mkfs.xfs", "-q")];
    let mounted: Vec<_> = systems.iter().filter_map(|(mkfs, quiet)| Mounted::new(place.path(), mkfs, quiet)).collect();
    if mounted.is_empty() {
        skip("this kernel mounts neither btrfs nor xfs");
    }
    for system in &mounted {
        shares(&system.folder);
    }
}

fn shares(folder: &Path) {
    let mut bench = Bench::new();
    let base = folder.join("base");
    std::fs::copy(&bench.base, &base).expect("copied");
    (bench.base, bench.out) = (base, folder.join("out"));
    std::fs::create_dir(&bench.out).expect("made");
    let before = used(folder);
    let rows: String = (1..=DEVICES).map(|n| format!("box-{n},S{n}\n")).collect();
    let stamped = bench.run(&rows, Existing::Keep).expect("stamped");
    let (taken, base_bytes) = (used(folder) - before, std::fs::metadata(&bench.base).expect("there").blocks() * 512);
    assert!(taken <= DEVICES as u64 * MOST_BYTES_EACH, "{taken} bytes for {DEVICES} images of {base_bytes} allocated bytes");
    for one in &stamped {
        bench.verify(one).expect("proved");
    }
    check_extents(image(&stamped[0]), &bench);
}

/// Every extent outside SEED is one that the base has too.
fn check_extents(path: &Path, bench: &Bench) {
    let seed = super::seed_of(&bench.base);
    let Some(output) = ask(Command::new("filefrag").args(["-v", "-b1"]).arg(path)) else { return };
    let text = String::from_utf8(output.stdout).expect("text");
    let mut shared = 0;
    for (offsets, line) in text.lines().filter_map(|line| Some((offsets(line)?, line))) {
        let in_seed = seed.start as u64 <= offsets.0 && offsets.1 <= seed.end as u64;
        assert!(in_seed || line.contains("shared"), "an extent of {} is its own: {line}\n{text}", path.display());
        shared += u64::from(!in_seed);
    }
    assert!(shared > 0, "filefrag tells of no extent:\n{text}");
}

/// First offset and the one after the last, of a line like `   0:        0..    8191:     135168..    143359:   8192:      shared`.
fn offsets(line: &str) -> Option<(u64, u64)> {
    let (first, last) = line.trim_start().split_once(':')?.1.split_once(':')?.0.split_once("..")?;
    Some((first.trim().parse().ok()?, last.trim().parse::<u64>().ok()? + 1))
}

/// Bytes that are taken on the file system, once everything is on it.
fn used(folder: &Path) -> u64 {
    rustix::fs::syncfs(std::fs::File::open(folder).expect("opened")).expect("synced");
    let stat = rustix::fs::statvfs(folder).expect("asked");
    (stat.f_blocks - stat.f_bfree) * stat.f_frsize
}

/// A loop device over a file; detached when it goes.
struct Drive {
    device: PathBuf,
}

impl Drop for Drive {
    fn drop(&mut self) {
        Command::new("losetup").arg("-d").arg(&self.device).status().expect("losetup was run before");
    }
}

#[test]
fn an_image_on_a_larger_drive_verifies_and_the_rest_is_not_looked_at() {
    if !is_root() {
        return;
    }
    let bench = Bench::new();
    let one = bench.one();
    let length = std::fs::metadata(image(&one)).expect("there").len();
    let file = std::fs::File::options().write(true).open(image(&one)).expect("opened");
    file.set_len(length + (1 << 20)).expect("grown");
    let Some(output) = ask(Command::new("losetup").args(["--find", "--show"]).arg(image(&one))) else { return };
    assert!(output.status.success(), "{output:?}");
    let drive = Drive { device: String::from_utf8(output.stdout).expect("text").trim_end().into() };
    let manifest = std::fs::read(&one.manifest).expect("read");
    let proof = crate::stamp::verify::verify(&drive.device, &manifest, None, Some(&bench.base)).expect("proved");
    assert_eq!((proof.unread_bytes, proof.image), (1 << 20, drive.device.clone()));
}
