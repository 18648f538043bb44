//! Flashing onto drives that fail: real block devices, each with its own fault.

mod rig;
mod station;
mod stopped;
mod table;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use imager::flash::outcome::Reason;
use imager::flash::record::{Record, Verdict};
use imager::image::digest::Digest;
use rig::{Drive, Fault, Shape};
use rustix::fs::OFlags;
use rustix::io::Errno;
use station::Station;

const MIB: u64 = 1 << 20;

/// The drive, opened past the page cache.
fn direct(path: &Path) -> File {
    let flags = i32::try_from(OFlags::DIRECT.bits()).expect("a flag");
    OpenOptions::new().read(true).write(true).custom_flags(flags).open(path).expect("opened")
}

/// A buffer as direct I/O wants it: at the border of a page.
fn aligned(bytes: usize, fill: u8) -> (Vec<u8>, usize) {
    let buffer = vec![fill; bytes + 4096];
    let at = buffer.as_ptr().align_offset(4096);
    (buffer, at)
}

fn fill(n: u64) -> u8 {
    0x50 + u8::try_from(n).expect("small")
}

/// Writes 4 MiB and reads them back, as any program would; the first byte that is not what was written.
fn exercise(path: &Path) -> io::Result<Option<u64>> {
    let file = direct(path);
    let bytes = usize::try_from(MIB).expect("small");
    for n in 0..4 {
        let (buffer, at) = aligned(bytes, fill(n));
        file.write_all_at(&buffer[at..at + bytes], n * MIB)?;
    }
    file.sync_all()?;
    for n in 0..4 {
        let (mut buffer, at) = aligned(bytes, 0);
        file.read_exact_at(&mut buffer[at..at + bytes], n * MIB)?;
        if let Some(wrong) = buffer[at..at + bytes].iter().position(|byte| *byte != fill(n)) {
            return Ok(Some(n * MIB + wrong as u64));
        }
    }
    Ok(None)
}

#[test]
fn each_fault_shows_as_it_would_on_a_real_drive() {
    if !rig::usable() {
        return;
    }
    let cases = [
        (Fault::None, Shape::Block, Ok(None)),
        (Fault::BadWrite { at: 3 * MIB }, Shape::Block, Err(Some(Errno::IO))),
        (Fault::BadRead { at: MIB + 5 }, Shape::Block, Err(Some(Errno::IO))),
        (Fault::Forgets { at: MIB + 5000 }, Shape::Block, Ok(Some(MIB + 4096))),
        (Fault::Flips { at: MIB + 5000 }, Shape::Block, Ok(Some(MIB + 5000))),
        (Fault::Wraps { capacity: 2 * MIB }, Shape::Block, Ok(Some(0))),
        (Fault::Drops { capacity: 2 * MIB }, Shape::Block, Ok(Some(2 * MIB))),
        (Fault::Full { after: 2 * MIB }, Shape::Block, Err(Some(Errno::NOSPC))),
        (Fault::Gone { after: 2 * MIB }, Shape::Block, Err(Some(Errno::NODEV))),
        (Fault::Pulled { after: 2 * MIB }, Shape::Block, Err(Some(Errno::IO))),
        (Fault::Slow { by: Duration::from_millis(1) }, Shape::Block, Ok(None)),
        // No error of the kernel's: the count is what tells.
        (Fault::Short { after: 2 * MIB + 8192 }, Shape::File, Err(None)),
    ];
    for (fault, shape, expected) in cases {
        let drive = Drive::new(8 * MIB, fault, shape);
        let found = exercise(&drive.path).map_err(|error| Errno::from_io_error(&error));
        assert_eq!(found, expected, "{fault:?}");
    }
}

#[test]
fn a_drive_that_hangs_holds_up_its_own_writer_only() {
    if !rig::usable() {
        return;
    }
    let hanging = Drive::new(8 * MIB, Fault::Hangs { after: MIB }, Shape::Block);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| exercise(&hanging.path));
        while !hanging.hangs() {
            std::thread::yield_now();
        }
        let sound = Drive::new(8 * MIB, Fault::None, Shape::Block);
        let found = exercise(&sound.path);
        let waits = !writer.is_finished();
        hanging.release();
        writer.join().expect("ended").expect_err("never written");
        assert_eq!((found.expect("written"), waits), (None, true));
        assert_eq!(sound.content(3 * MIB, 1), [fill(3)]);
    });
}

/// Bytes that each test drive claims.
const DRIVE: u64 = 40 * MIB;

fn outcomes(results: &[Result<(), Reason>]) -> Vec<&'static str> {
    results.iter().map(|result| result.map_or_else(Reason::code, |()| "ok")).collect()
}

/// The whole image is on the drive, holes and all.
fn carries(drive: &Drive, image: &[u8]) -> bool {
    drive.content(0, image.len() as u64) == image
}

#[test]
fn three_of_eight_drives_fail_in_their_own_ways_and_five_are_proved() {
    if !rig::usable() {
        return;
    }
    let station = Station::new();
    let faults = [
        Fault::None,
        Fault::BadWrite { at: 5 * MIB },
        Fault::None,
        Fault::Wraps { capacity: 16 * MIB },
        Fault::None,
        Fault::Gone { after: 6 * MIB },
        Fault::None,
        Fault::None,
    ];
    let drives: Vec<Drive> = faults.iter().map(|fault| Drive::new(DRIVE, *fault, Shape::Block)).collect();
    let flashed = station.flash(&drives);
    let expected = ["ok", "bad-block", "ok", "counterfeit", "ok", "pulled", "ok", "ok"];
    assert_eq!(outcomes(&flashed.results), expected, "{}", flashed.text);
    assert_eq!(flashed.code, 1);
    let image = station.image_bytes();
    for (index, drive) in drives.iter().enumerate() {
        assert_eq!(carries(drive, &image), faults[index] == Fault::None, "drive {index}");
    }
    let records = station.records();
    assert_eq!(records.len(), 8, "one line per drive, good or not");
    for (drive, result) in drives.iter().zip(&flashed.results) {
        let of_drive = |record: &&Record| record.flash.path == drive.path.to_string_lossy();
        let record = records.iter().find(of_drive).expect("every drive has its record");
        let verdict = result.map_or_else(|reason| reason.code().to_owned(), |()| "ok".to_owned());
        let recorded = match &record.flash.result {
            Verdict::Ok => "ok".to_owned(),
            Verdict::Failed(failure) => failure.reason.code().to_owned(),
        };
        assert_eq!(recorded, verdict);
        let proved = result.is_ok().then(|| Digest::of(&image));
        assert_eq!(record.flash.readback_sha256, proved, "{}", drive.path.display());
    }
    assert!(station.imager(&["records", &station.log(), "--station-key", &station.public()]).status.success());
}

#[test]
fn each_fault_fails_its_own_drive_with_its_own_reason() {
    if !rig::usable() {
        return;
    }
    let beyond = 28 * MIB; // more than the image has, less than the drive claims
    for (fault, shape, expected) in [
        (Fault::BadWrite { at: 5 * MIB }, Shape::Block, "bad-block"),
        (Fault::BadRead { at: 5 * MIB }, Shape::Block, "bad-block"),
        (Fault::Forgets { at: 5 * MIB }, Shape::Block, "mismatch"),
        (Fault::Flips { at: 5 * MIB }, Shape::Block, "mismatch"),
        (Fault::Wraps { capacity: beyond }, Shape::Block, "counterfeit"),
        (Fault::Drops { capacity: beyond }, Shape::Block, "counterfeit"),
        (Fault::Drops { capacity: 16 * MIB }, Shape::Block, "counterfeit"),
        (Fault::Full { after: 6 * MIB }, Shape::Block, "full"),
        (Fault::Full { after: 6 * MIB }, Shape::File, "full"),
        (Fault::Short { after: 6 * MIB + 8192 }, Shape::File, "short-write"),
        (Fault::Gone { after: 6 * MIB }, Shape::Block, "pulled"),
        (Fault::Pulled { after: 6 * MIB }, Shape::File, "pulled"),
        (Fault::Unplugged { after: 6 * MIB }, Shape::Block, "pulled"),
        (Fault::Slow { by: Duration::from_millis(20) }, Shape::Block, "ok"),
    ] {
        let station = Station::new();
        let drives = [Drive::new(DRIVE, fault, shape), Drive::new(DRIVE, Fault::None, Shape::Block)];
        let flashed = station.flash(&drives);
        assert_eq!(outcomes(&flashed.results), [expected, "ok"], "{fault:?} {shape:?}: {}", flashed.text);
        assert!(carries(&drives[1], &station.image_bytes()), "{fault:?}");
        assert_eq!(station.records().len(), 2, "{fault:?}");
    }
}

#[test]
fn a_drive_that_does_not_answer_is_given_up_and_the_other_one_is_proved() {
    if !rig::usable() {
        return;
    }
    let station = Station::new();
    let hangs = Drive::new(DRIVE, Fault::Hangs { after: 6 * MIB }, Shape::Block);
    let drives = [hangs, Drive::new(DRIVE, Fault::None, Shape::Block)];
    let timeout = rig::patience().as_secs().to_string();
    let flashed = station.flash_with(Path::new(&station.log()), &drives, &["--timeout", &timeout], |_, _| {});
    assert_eq!(outcomes(&flashed.results), ["timeout", "ok"], "{}", flashed.text);
    assert!(carries(&drives[1], &station.image_bytes()));
    assert_eq!(station.records().len(), 2);
}

#[test]
fn a_mounted_disk_is_refused_with_its_mount_point_and_keeps_what_is_on_it() {
    if !rig::usable() {
        return;
    }
    let station = Station::new();
    for (content, end) in [(station.used_disk(DRIVE), "p2"), (station.whole_disk(DRIVE), "")] {
        let drive = Drive::used(&content);
        let device = drive.path.to_str().expect("text");
        if !end.is_empty() {
            station::tell_partitions(device);
        }
        let part = &Path::new(&format!("{device}{end}")).to_owned();
        let at = rig::Mounted::new(part);
        std::fs::write(at.path().join("kept"), "by somebody").expect("written");
        let flashed = station.flash(std::slice::from_ref(&drive));
        assert_eq!((flashed.code, outcomes(&flashed.results)), (1, vec!["refused"]), "{}", flashed.text);
        let expected = format!("{} is mounted at {}", part.file_name().expect("a name").display(), at.path().display());
        assert!(flashed.text.contains(&expected), "{expected}: {}", flashed.text);
        drop(at);
        let again = rig::Mounted::new(part);
        assert_eq!(std::fs::read(again.path().join("kept")).expect("still there"), b"by somebody");
        drop(again);
        assert_eq!(outcomes(&station.flash(std::slice::from_ref(&drive)).results), ["ok"], "unmounted, it is taken");
    }
}

#[test]
fn a_drive_larger_than_allowed_is_refused_and_keeps_what_is_on_it() {
    if !rig::usable() {
        return;
    }
    let station = Station::new();
    let content = station.used_disk(DRIVE);
    let drives = [Drive::used(&content)];
    let flash = |limit: &str| station.flash_with(Path::new(&station.log()), &drives, &["--max-size", limit], |_, _| {});
    let flashed = flash("32M");
    assert_eq!((flashed.code, outcomes(&flashed.results)), (1, vec!["refused"]), "{}", flashed.text);
    assert!(flashed.text.contains("--max-size"), "{}", flashed.text);
    assert!(drives[0].content(0, DRIVE) == content, "something was written");
    assert_eq!(outcomes(&flash("40M").results), ["ok"], "as large as allowed");
}

#[test]
fn nothing_of_an_earlier_life_is_found_on_a_drive() {
    if !rig::usable() {
        return;
    }
    let station = Station::new();
    let drive = Drive::used(&station.used_disk(DRIVE));
    let device = drive.path.to_str().expect("text");
    let (second, third) = (26 * MIB, 32 * MIB);
    station::tell_partitions(device);
    for offset in [second, third] {
        assert!(station::tool("blkid", &["-p", "-O", &offset.to_string(), device]).contains("ext4"), "the old disk is one");
    }
    assert_eq!(outcomes(&station.flash(std::slice::from_ref(&drive)).results), ["ok"]);
    for offset in [second, third] {
        assert_eq!(station::tool("blkid", &["-p", "-O", &offset.to_string(), device]), "");
    }
    let signatures = station::tool("wipefs", &["--no-act", "--noheadings", "--parsable", "--output", "OFFSET,TYPE", device]);
    let found: Vec<&str> = signatures.lines().collect();
    assert_eq!(found, ["0x200,gpt", "0x1fe,PMBR"], "the image's table and no other");
    // What first boot does: the second table goes to the end of the disk. Then nothing is wrong with it.
    station::tool("sgdisk", &["-e", device]);
    let verified = station::tool("sgdisk", &["-v", device]);
    assert!(verified.contains("No problems found"), "{verified}");
    let listed = station::tool("sgdisk", &["-p", device]);
    assert!(listed.contains("SYSTEM") && listed.contains("CONTENT") && !listed.contains("OLD"), "{listed}");
}

#[test]
fn a_log_on_a_full_disk_keeps_whole_lines_and_the_loss_is_told() {
    if !rig::usable() {
        return;
    }
    let station = Station::new();
    let small = rig::SmallDisk::new(12 << 10);
    let log = small.path().join("log");
    let drives = [Drive::new(DRIVE, Fault::None, Shape::Block)];
    let mut whole = 0;
    let flashed = loop {
        let flashed = station.flash_into(&log, &drives);
        assert_eq!(outcomes(&flashed.results), ["ok"], "the drive is good whatever becomes of the log");
        if flashed.code != 0 {
            break flashed;
        }
        whole += 1;
        assert!(whole < 40, "so many lines have no room there");
    };
    assert!(whole > 0 && flashed.text.contains("not all of them are in the log"), "{}", flashed.text);
    assert_eq!(station.records_in(&log).len(), whole);
}
