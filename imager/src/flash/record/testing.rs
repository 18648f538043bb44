//! Drives and what became of them, for tests.

use std::path::PathBuf;

use jiff::Timestamp;

use super::{Device, Entry, Link, Record};
use crate::flash::outcome::{Drive, Failure, Outcome, Reason, Transport};
use crate::image::digest::Digest;
use crate::stamp::testing::key;

/// What came of the drive of this number: every third one failed.
pub(crate) fn outcome(number: u64) -> Outcome {
    let begun = 1_790_000_000_123_456_i64 + 1_000_000 * i64::try_from(number).expect("small");
    let time = |microseconds| Timestamp::from_microsecond(microseconds).expect("a time");
    let image = Digest::of(b"image");
    let drive = Drive {
        serial: Some(format!("S\u{1b}[{number}")),
        model: None,
        bytes: 64 << 30,
        transport: Transport::Usb,
        port: Some("usb-0:3".into()),
    };
    let failure = Failure::new(Reason::BadBlock, "cannot write at 4096: \"I/O error\"");
    Outcome {
        device: PathBuf::from(format!("/dev/sd{number}")),
        drive,
        image: "store.img".into(),
        device_name: None,
        image_sha256: Some(image),
        readback_sha256: (number % 3 != 2).then_some(image),
        started: time(begun),
        ended: time(begun + 65_432_000),
        bytes_written: 300 << 20,
        result: if number % 3 == 2 { Err(failure) } else { Ok(()) },
    }
}

/// The same, as a record has it, for a device of its own.
pub(crate) fn entry(number: u64) -> Entry {
    Entry { device: Some(device(&format!("box-{number}"))), ..Entry::new(&outcome(number), None) }
}

/// A device of this name.
pub(crate) fn device(name: &str) -> Device {
    Device {
        name: name.parse().expect("a name"),
        id: None,
        serial: Some(format!("FZ-{name}")),
        board: "nuc".into(),
        version: "0.1.0".into(),
        fleet: "acme".parse().expect("a name"),
        hub: Some("https://hub.example".into()),
    }
}

/// A log of so many lines, signed by the key of number 1.
pub(crate) fn log(count: u64) -> Vec<String> {
    log_of((0..count).map(entry))
}

/// A log of these, signed by the key of number 1.
pub(crate) fn log_of(entries: impl IntoIterator<Item = Entry>) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for (line, entry) in (1..).zip(entries) {
        let previous = lines.last().map(|line| Digest::of(line.as_bytes()));
        lines.push(Record::line(entry, Link { line, previous, set_aside: None }, &key(1)));
    }
    lines
}
