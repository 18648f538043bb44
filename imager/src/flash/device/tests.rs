use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use super::super::engine::{Options, PATIENCE, Unwatched, run};
use super::super::facts::{Facts, Roots};
use super::super::guard::Policy;
use super::super::image::Image;
use super::super::outcome::Outcome;
use super::super::plan::plan;
use super::super::probe;
use super::super::stop::Stop;
use super::super::testing::{MIB, at, content, image};
use super::*;

const MAPPED: [Range<u64>; 3] = [0..MIB / 2, 2 * MIB..11 * MIB, 16 * MIB - 20480..16 * MIB];

/// Allows these, although there is something in them.
fn allowing(targets: &[&Path]) -> Policy {
    let fixed = targets.iter().map(|path| path.canonicalize().expect("there")).collect();
    Policy { fixed, ..Policy::default() }
}

fn flash(image: &Arc<Image>, targets: &[&Path], discard: Discard) -> Vec<Outcome> {
    let gather = |path: &&Path| (Arc::clone(image), Facts::gather(path, &Roots::default()).expect("gathered"));
    let plan = plan(targets.iter().map(gather).collect(), &allowing(targets));
    assert!(plan.refused.is_empty(), "{plan}");
    let drives: Arc<dyn Drives> = Arc::new(RealDrives::default());
    run(plan.jobs, &drives, &Options { discard, patience: PATIENCE, nonce: [3; 16], stop: Stop::default() }, &mut Unwatched)
}

fn check(path: &Path, bytes: u64) {
    let found = std::fs::read(path).expect("read");
    assert_eq!(found.len(), at(bytes));
    let mut expected = vec![0; at(16 * MIB)];
    for range in MAPPED {
        expected[at(range.start)..at(range.end)].copy_from_slice(&content(range));
    }
    assert!(found[..at(16 * MIB)] == expected, "the image is there");
    assert!(found[at(bytes - MIB.min(bytes - 16 * MIB))..].iter().all(|byte| *byte == 0), "older labels are gone");
    let probes: Vec<_> = probe::places(16 * MIB, bytes).into_iter().map(|place| probe::pattern([3; 16], place)).collect();
    assert!(found.chunks(4096).all(|block| probes.iter().all(|probe| block != &probe[..])), "no probe is left");
}

#[test]
fn files_carry_the_image_whether_they_were_empty_or_full() {
    let folder = tempfile::tempdir().expect("temp folder");
    let image = image(folder.path(), "a.img", 16 * MIB, &MAPPED);
    let (empty, full, odd) = (folder.path().join("empty"), folder.path().join("full"), folder.path().join("odd"));
    for discard in [Discard::Allowed, Discard::Never] {
        std::fs::write(&empty, b"").expect("written");
        std::fs::write(&full, vec![0xee; at(64 * MIB)]).expect("written");
        std::fs::write(&odd, vec![0xee; at(20 * MIB + 100)]).expect("written");
        for outcome in flash(&image, &[&empty, &full], discard) {
            assert_eq!(outcome.result, Ok(()));
            assert_eq!(outcome.readback_sha256, outcome.image_sha256);
        }
        check(&empty, 16 * MIB);
        check(&full, 64 * MIB);
        assert_eq!(flash(&image, &[&odd], discard)[0].result, Ok(()));
    }
}

/// What nobody needs between the image and the last MiB is dropped where that is allowed, and else as it was but for the probes.
fn check_beyond(file: &Path, discard: Discard) {
    let found = std::fs::read(file).expect("read");
    let (beyond, kept) = (16 * MIB..63 * MIB, if discard == Discard::Allowed { 0 } else { 0xee });
    let probed = probe::places(16 * MIB, 64 * MIB);
    for at_block in (beyond.start..beyond.end).step_by(4096) {
        let expected = if probed.contains(&at_block) { 0 } else { kept };
        let block = &found[at(at_block)..at(at_block) + 4096];
        assert!(block.iter().all(|byte| *byte == expected), "byte {at_block} with {discard:?}: {} for {expected}", block[0]);
    }
    let allocated = std::fs::metadata(file).expect("there").blocks() * 512;
    assert_eq!(allocated < 32 * MIB, discard == Discard::Allowed, "{allocated} bytes are allocated with {discard:?}");
}

/// A loop device for as long as this lives: it is detached at once, which the kernel does when nobody has it open any more.
struct Loop {
    path: PathBuf,
    _held: File,
}

impl Loop {
    fn over(file: &Path) -> Self {
        Self::with("--direct-io=on", file)
    }

    fn with(direct: &str, file: &Path) -> Self {
        let output = Command::new("losetup").args(["--find", "--show", direct]).arg(file).output().expect("losetup runs");
        assert!(output.status.success(), "this test needs root and loop devices: {}", String::from_utf8_lossy(&output.stderr));
        let path = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        let held = File::open(&path).expect("opened");
        assert!(Command::new("losetup").arg("--detach").arg(&path).status().expect("losetup runs").success());
        Self { path, _held: held }
    }
}

#[test]
fn loop_devices_are_drives_and_who_uses_one_is_seen() {
    let folder = tempfile::tempdir().expect("temp folder");
    let image = image(folder.path(), "a.img", 16 * MIB, &MAPPED);
    let files = ["one", "two", "three"].map(|name| folder.path().join(name));
    files.iter().for_each(|file| std::fs::write(file, vec![0xee; at(64 * MIB)]).expect("written"));
    let loops = files.each_ref().map(|file| Loop::over(file));
    let targets: Vec<&Path> = loops.iter().map(|one| one.path.as_path()).collect();
    for discard in [Discard::Never, Discard::Allowed] {
        for outcome in flash(&image, &targets, discard) {
            assert_eq!(outcome.result, Ok(()));
            assert_eq!(outcome.drive.bytes, 64 * MIB);
        }
        files.iter().for_each(|file| check(file, 64 * MIB));
        files.iter().for_each(|file| check_beyond(file, discard));
    }
    let claimed =
        rustix::fs::open(&loops[0].path, OFlags::RDONLY | OFlags::EXCL | OFlags::CLOEXEC, Mode::empty()).expect("claimed");
    let outcomes = flash(&image, &targets[..2], Discard::Allowed);
    assert_eq!(outcomes[0].result.as_ref().expect_err("claimed").reason, Reason::Busy);
    assert_eq!(outcomes[1].result, Ok(()));
    drop(claimed);
    let pair = [files[0].as_path(), targets[0]].map(|path| Facts::gather(path, &Roots::default()).expect("gathered"));
    let plan = plan(pair.map(|facts| (Arc::clone(&image), facts)).into(), &Policy::default());
    assert!(plan.refused[0].refusal.to_string().contains("is in use by loop"), "{plan}");
}

/// The plan for a loop device over a new file, after its facts were changed.
fn on_loop(folder: &Path, direct: &str, change: impl FnOnce(&mut crate::flash::facts::Block)) -> (Vec<Job>, Loop) {
    let image = image(folder, "a.img", 16 * MIB, &MAPPED);
    let file = folder.join("behind");
    File::create(&file).and_then(|file| file.set_len(64 * MIB)).expect("made");
    let device = Loop::with(direct, &file);
    let mut facts = Facts::gather(&device.path, &Roots::default()).expect("gathered");
    let Kind::Block(block) = &mut facts.kind else { panic!("{facts:?}") };
    change(block);
    (plan(vec![(image, facts)], &Policy::default()).jobs, device)
}

#[test]
fn another_disk_under_the_same_number_and_of_the_same_size_is_not_written() {
    let folder = tempfile::tempdir().expect("temp folder");
    let open = |jobs: &[Job]| RealDrives::default().open(&jobs[0]).map(drop);
    let (jobs, _held) = on_loop(folder.path(), "--direct-io=on", |_| ());
    assert_eq!(open(&jobs), Ok(()));
    let (jobs, _held) =
        on_loop(folder.path(), "--direct-io=on", |block| block.sequence = block.sequence.map(|number| number - 1));
    assert_eq!(open(&jobs).expect_err("another medium").reason, Reason::Refused);
    let (jobs, _held) = on_loop(folder.path(), "--direct-io=on", |block| block.drive.serial = Some("another".into()));
    assert_eq!(open(&jobs).expect_err("another disk").reason, Reason::Refused);
}

#[test]
fn a_loop_device_that_reads_from_memory_says_so() {
    let folder = tempfile::tempdir().expect("temp folder");
    for (direct, told) in [("--direct-io=on", false), ("--direct-io=off", true)] {
        let (jobs, _held) = on_loop(folder.path(), direct, |_| ());
        let note = RealDrives::default().open(&jobs[0]).expect("opened").note();
        assert_eq!(note.is_some_and(|note| note.contains("may come from the page cache")), told, "{direct}");
    }
}

#[test]
fn a_drive_that_was_exchanged_meanwhile_is_not_written() {
    let folder = tempfile::tempdir().expect("temp folder");
    let image = image(folder.path(), "a.img", 16 * MIB, &MAPPED);
    let path = folder.path().join("drive");
    std::fs::write(&path, b"planned").expect("written");
    let facts = Facts::gather(&path, &Roots::default()).expect("gathered");
    let jobs = plan(vec![(image, facts)], &allowing(&[&path])).jobs;
    std::fs::rename(&path, folder.path().join("old")).expect("moved");
    std::fs::write(&path, b"another").expect("written");
    let drives: Arc<dyn Drives> = Arc::new(RealDrives::default());
    let outcomes = run(
        jobs,
        &drives,
        &Options { discard: Discard::Allowed, patience: PATIENCE, nonce: [3; 16], stop: Stop::default() },
        &mut Unwatched,
    );
    assert_eq!(outcomes[0].result.as_ref().expect_err("another").reason, Reason::Refused);
    assert_eq!(std::fs::read(&path).expect("read"), b"another");
}
