//! Logs that were tampered with, torn, or written by several at once.

use std::path::Path;

use proptest::prelude::*;

use super::append::{AppendError, Recorder};
use super::chain::{Log, LogError, Problem, read};
use super::testing::{entry, log, outcome};
use super::{CONTEXT, Entry, Link, Record, RecordError, Signed};
use crate::image::digest::Digest;
use crate::signed;
use crate::stamp::testing::{key, public};

fn judged(lines: &[String]) -> Result<Log, LogError> {
    read(lines.concat().as_bytes(), Some(&public(1)))
}

fn place_of(lines: &[String]) -> (u64, Option<u64>) {
    let error = judged(lines).expect_err("tampered with");
    match error.problem {
        Problem::Place { found } => (error.line, Some(found)),
        Problem::Record(_) | Problem::Previous => (error.line, None),
    }
}

#[test]
fn a_record_has_one_form_that_a_golden_line_keeps() {
    let line = Record::line(entry(2), Link { line: 1, ..Link::default() }, &key(1));
    let expected = concat!(
        r#"{"record":{"form":"skerry.dev/v1 flash record","line":1,"imager":"0.1.0","flash":{"#,
        r#""started":"2026-09-21T14:13:22.123Z","ended":"2026-09-21T14:14:27.555Z","milliseconds":65432,"#,
        r#""path":"/dev/sd2","drive":{"serial":"S\u001b[2","bytes":68719476736,"transport":"usb","port":"usb-0:3"},"#,
        r#""device":{"name":"box-2","serial":"FZ-box-2","board":"nuc","version":"0.1.0","fleet":"acme","hub":"https://hub.example"},"#,
        r#""imageSha256":"6105d6cc76af400325e94d588ce511be5bfdbb73b437dc51eca43917d7a43e3d","bytesWritten":314572800,"#,
        r#""result":{"failed":{"reason":"bad-block","text":"cannot write at 4096: \"I/O error\""}}},"#,
        r#""station":"8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c"},"signature":""#,
    );
    assert_eq!(&line[..expected.len().min(line.len())], expected);
    assert_eq!(Record::parse(line.as_bytes(), Some(&public(1))).expect("holds").flash, entry(2));
}

#[test]
fn a_good_drive_is_told_with_serial_model_and_what_was_read_back() {
    let mut good = entry(1);
    good.drive.model = Some("SanDisk Ultra Fit".into());
    let line = Record::line(good.clone(), Link { line: 1, ..Link::default() }, &key(1));
    let expected = concat!(
        r#"{"record":{"form":"skerry.dev/v1 flash record","line":1,"imager":"0.1.0","flash":{"#,
        r#""started":"2026-09-21T14:13:21.123Z","ended":"2026-09-21T14:14:26.555Z","milliseconds":65432,"#,
        r#""path":"/dev/sd1","drive":{"serial":"S\u001b[1","model":"SanDisk Ultra Fit","bytes":68719476736,"transport":"usb","port":"usb-0:3"},"#,
        r#""device":{"name":"box-1","serial":"FZ-box-1","board":"nuc","version":"0.1.0","fleet":"acme","hub":"https://hub.example"},"#,
        r#""imageSha256":"6105d6cc76af400325e94d588ce511be5bfdbb73b437dc51eca43917d7a43e3d","#,
        r#""readbackSha256":"6105d6cc76af400325e94d588ce511be5bfdbb73b437dc51eca43917d7a43e3d","bytesWritten":314572800,"result":"ok"},"#,
        r#""station":"8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c"},"signature":""#,
    );
    assert_eq!(&line[..expected.len().min(line.len())], expected);
    assert_eq!(Record::parse(line.as_bytes(), Some(&public(1))).expect("holds").flash, good);
}

#[test]
fn a_clock_that_was_set_back_makes_no_negative_time() {
    let mut set_back = outcome(0);
    set_back.ended = set_back.started - jiff::Span::new().hours(1);
    assert_eq!(Entry::new(&set_back, None).milliseconds, 0);
}

#[test]
fn a_whole_log_reads_back_and_is_known_by_its_last_line() {
    let lines = log(5);
    let whole = judged(&lines).expect("sound");
    assert_eq!(whole.records().map(|record| record.flash.clone()).collect::<Vec<_>>(), (0..5).map(entry).collect::<Vec<_>>());
    let head = Digest::of(lines[4].as_bytes());
    assert!(whole.holds(&head));
    assert!(!judged(&lines[..4]).expect("sound, but shorter").holds(&head), "only the hash tells that the end is gone");
    assert_eq!(judged(&[]).expect("empty"), Log::default());
}

#[test]
fn a_line_of_another_station_is_told() {
    let mut lines = log(3);
    let previous = Some(Digest::of(lines[2].as_bytes()));
    lines.push(Record::line(entry(3), Link { line: 4, previous, set_aside: None }, &key(2)));
    assert_eq!(place_of(&lines), (4, None));
    assert_eq!(read(lines.concat().as_bytes(), None).expect("each by its own key").lines.len(), 4);
}

#[test]
fn a_line_that_was_exchanged_is_told_by_the_next() {
    let mut lines = log(3);
    let previous = Some(Digest::of(lines[0].as_bytes()));
    lines[1] = Record::line(entry(7), Link { line: 2, previous, set_aside: None }, &key(1));
    let error = judged(&lines).expect_err("exchanged");
    assert!(matches!(error, LogError { line: 3, problem: Problem::Previous }), "{error:?}");
}

#[test]
fn a_signature_without_its_context_does_not_hold() {
    let line = &log(1)[0];
    let record = Record::parse(line.as_bytes(), None).expect("holds");
    let signature = signed::sign(&CONTEXT[1..], &record, &key(1));
    let other = Signed { record, signature }.to_line();
    assert!(matches!(Record::parse(other.as_bytes(), None), Err(RecordError::Signature(_))));
    let spaced = line.replacen(":", ": ", 1);
    assert!(matches!(Record::parse(spaced.as_bytes(), None), Err(RecordError::Rewritten)));
    assert!(matches!(Record::parse(b"{}\n", None), Err(RecordError::Form(_))));
}

/// What is left of a log whose writing was cut, beside the whole lines.
fn torn(folder: &Path) -> Vec<Vec<u8>> {
    let names = std::fs::read_dir(folder).expect("listed").map(|entry| entry.expect("entry").path());
    names.filter(|path| path.to_string_lossy().contains(".torn-")).map(|path| std::fs::read(path).expect("read")).collect()
}

#[test]
fn a_line_that_a_power_cut_tore_is_put_aside_and_told() {
    let lines = log(2);
    for cut in [1, lines[1].len() / 2, lines[1].len() - 1] {
        let folder = tempfile::tempdir().expect("temp folder");
        let path = folder.path().join("flash.log");
        let half = &lines[1].as_bytes()[..cut];
        std::fs::write(&path, [lines[0].as_bytes(), half].concat()).expect("written");
        let found = read(&std::fs::read(&path).expect("read"), None).expect("sound as far as it goes");
        assert_eq!((found.lines.len(), found.torn_bytes), (1, cut as u64));
        let recorder = Recorder::open(&path, key(1)).expect("usable");
        assert_eq!(torn(folder.path()), [] as [Vec<u8>; 0], "looking changes nothing");
        let aside = recorder.append(entry(1)).expect("appended").set_aside.expect("told");
        assert_eq!((aside.bytes, aside.sha256), (cut as u64, Digest::of(half)));
        assert_eq!(torn(folder.path()), [half]);
        let log = read(&std::fs::read(&path).expect("read"), Some(&public(1))).expect("sound");
        assert_eq!(log.lines[1].record.set_aside.as_ref(), Some(&aside));
        assert_eq!(recorder.append(entry(2)).expect("appended").set_aside, None);
    }
}

#[test]
fn writers_at_the_same_time_never_mix_their_lines() {
    let folder = tempfile::tempdir().expect("temp folder");
    let path = folder.path().join("flash.log");
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let recorder = Recorder::open(&path, key(1)).expect("usable");
            scope.spawn(move || (0..10).for_each(|n| drop(recorder.append(entry(writer * 10 + n)).expect("appended"))));
        }
    });
    let log = read(&std::fs::read(&path).expect("read"), Some(&public(1))).expect("sound");
    let mut paths: Vec<String> = log.records().map(|record| record.flash.path.clone()).collect();
    paths.sort();
    paths.dedup();
    assert_eq!((log.lines.len(), paths.len()), (40, 40));
}

#[test]
fn what_is_no_log_is_left_alone() {
    let folder = tempfile::tempdir().expect("temp folder");
    let path = folder.path().join("file");
    for (content, expected) in [
        (b"name,serial\n".to_vec(), "its last line is not to be trusted"),
        (vec![b'x'; 200_000], "it is not a log"),
        (log(1)[0].replace("box-0", "box-1").into_bytes(), "its last line is not to be trusted"),
    ] {
        std::fs::write(&path, &content).expect("written");
        let error = Recorder::open(&path, key(1)).err().expect(expected).to_string();
        assert!(error.contains(expected) && error.contains("--record"), "{error}");
        assert_eq!(std::fs::read(&path).expect("read"), content);
    }
    for (path, expected) in [("/dev/null", "it is not a file"), ("/nowhere/log", "cannot open the log /nowhere/log")] {
        let error = Recorder::open(Path::new(path), key(1)).err().expect(expected).to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_record_that_is_too_long_is_not_begun() {
    let folder = tempfile::tempdir().expect("temp folder");
    let path = folder.path().join("flash.log");
    let recorder = Recorder::open(&path, key(1)).expect("usable");
    recorder.append(entry(0)).expect("appended");
    let before = std::fs::read(&path).expect("read");
    let mut long = entry(1);
    long.drive.model = Some("x".repeat(100_000));
    assert!(matches!(recorder.append(long), Err(AppendError::TooLong { .. })));
    assert_eq!(std::fs::read(&path).expect("read"), before);
    recorder.append(entry(1)).expect("appended");
}

/// How somebody may tamper with a log of some lines.
#[derive(Debug, Clone)]
enum Tampering {
    Flip { line: usize, at: prop::sample::Index, bit: u8 },
    Remove(usize),
    Swap(usize, usize),
    Double(usize),
}

const LINES: usize = 4;

fn tampering() -> impl Strategy<Value = Tampering> {
    let line = || 0..LINES;
    prop_oneof![
        4 => (line(), any::<prop::sample::Index>(), 0..8u8).prop_map(|(line, at, bit)| Tampering::Flip { line, at, bit }),
        1 => (0..LINES - 1).prop_map(Tampering::Remove),
        1 => (line(), line()).prop_filter("two", |(one, other)| one < other).prop_map(|(one, other)| Tampering::Swap(one, other)),
        1 => line().prop_map(Tampering::Double),
    ]
}

/// The log after it, the line that must be named, and whether that is said of an unfinished line.
fn tampered(tampering: &Tampering) -> (Vec<u8>, u64) {
    let mut lines: Vec<Vec<u8>> = log(LINES as u64).into_iter().map(String::into_bytes).collect();
    let named = match *tampering {
        Tampering::Flip { line, at, bit } => {
            let at = at.index(lines[line].len());
            lines[line][at] ^= 1 << bit;
            line + 1
        }
        Tampering::Remove(line) => {
            lines.remove(line);
            line + 1
        }
        Tampering::Swap(one, other) => {
            lines.swap(one, other);
            one + 1
        }
        Tampering::Double(line) => {
            lines.insert(line, lines[line].clone());
            line + 2
        }
    };
    (lines.concat(), named as u64)
}

proptest! {
    #[test]
    fn every_tampering_is_named_with_its_line(tampering in tampering()) {
        let (bytes, named) = tampered(&tampering);
        match read(&bytes, Some(&public(1))) {
            Err(error) => prop_assert_eq!(error.line, named),
            // The last line break was the byte.
            Ok(log) => prop_assert!(log.torn_bytes > 0 && log.lines.len() as u64 + 1 == named && named == LINES as u64),
        }
    }
}
