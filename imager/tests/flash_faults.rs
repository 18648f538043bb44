//! Flashing onto drives that fail: real block devices, each with its own fault.

mod rig;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use rig::{Drive, Fault, Shape};
use rustix::fs::OFlags;
use rustix::io::Errno;

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
