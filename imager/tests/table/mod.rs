//! The live table of drives, on a terminal: what whoever stands before it reads, and what a program is told of the same.

use std::time::Duration;

use serde_json::Value;

use crate::rig::{self, Drive, Fault, Shape};
use crate::station::Station;
use crate::{DRIVE, MIB, outcomes};

/// Slow enough that the table is drawn many times while it is written to.
const SLOW: Fault = Fault::Slow { by: Duration::from_millis(200) };

/// The lines that a terminal was ever sent, without the words that move its cursor and colour it.
fn lines(sent: &str) -> Vec<String> {
    // Each such word begins with an escape and ends with a letter.
    let words = sent.split('\x1b').enumerate();
    let plain: String =
        words.map(|(n, text)| if n == 0 { text } else { text.split_once(char::is_alphabetic).unwrap_or_default().1 }).collect();
    // A line that fills the terminal needs no word for the next one.
    let plain = plain.replace("/dev/", "\n/dev/");
    plain.split(['\r', '\n']).map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn a_terminal_shows_each_drives_stage_speed_and_time_left_and_then_how_it_ended() {
    if !rig::usable() {
        return;
    }
    let station = Station::new();
    let drives = [Drive::new(DRIVE, SLOW, Shape::Block), Drive::new(DRIVE, Fault::BadWrite { at: 5 * MIB }, Shape::Block)];
    let shown = lines(&station.flash_on_terminal(&drives));
    let of = |drive: &Drive, words: &[&str]| {
        let device = format!("{} ", drive.path.display());
        shown.iter().any(|line| line.starts_with(&device) && words.iter().all(|word| line.contains(word)))
    };
    assert!(of(&drives[0], &["writing [=", "iB/s 0:", " left"]), "{shown:#?}");
    assert!(of(&drives[0], &["reading back ["]) && of(&drives[0], &[" ok"]), "{shown:#?}");
    assert!(of(&drives[1], &["FAILED (bad-block)"]) && !of(&drives[0], &["FAILED"]), "{shown:#?}");
}

#[test]
fn a_program_is_told_speed_and_seconds_left() {
    if !rig::usable() {
        return;
    }
    let station = Station::new();
    let drives = [Drive::new(DRIVE, SLOW, Shape::Block)];
    let flashed = station.flash(&drives);
    assert_eq!(outcomes(&flashed.results), ["ok"], "{}", flashed.text);
    let events = flashed.text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let number = |event: &Value, name: &str| event[name].as_u64().unwrap_or_default();
    let under_way = |event: &Value| event["state"] == "writing" && number(event, "done_bytes") > 0;
    let under_way: Vec<_> = events.filter(under_way).collect();
    let tells = |event: &&Value| number(event, "bytes_per_second") > 0 && event["seconds_left"].is_u64();
    assert!(!under_way.is_empty() && under_way.iter().all(|event| tells(&event)), "{}", flashed.text);
}
