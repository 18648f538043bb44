//! Ctrl-C and SIGTERM while drives are flashed: every drive ends at a block, with its record, and none that was not proved can be taken for a good one.

use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use imager::flash::outcome::Reason;
use imager::flash::record::Verdict;
use rustix::process::{Pid, Signal, kill_process};

use crate::rig::{self, Drive, Fault, Shape};
use crate::station::Station;
use crate::{DRIVE, MIB, carries, outcomes};

/// What the program ends with when it was stopped.
const STOPPED: i32 = 3;

fn send(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid")).expect("not zero");
    kill_process(pid, signal).expect("sent");
}

/// Whether a drive is in this stage, and some of it is done.
fn is_at(told: &str, drive: &Drive, state: &str) -> bool {
    let events = told.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mine = events.filter(|event| event["device"].as_str() == drive.path.to_str());
    mine.into_iter().any(|event| event["state"] == state && event["done_bytes"].as_u64() != Some(0))
}

fn reasons(station: &Station) -> Vec<Option<Reason>> {
    let mut records = station.records();
    records.sort_by_key(|record| record.flash.result == Verdict::Ok);
    let reason = |verdict: &Verdict| match verdict {
        Verdict::Ok => None,
        Verdict::Failed(failure) => Some(failure.reason),
    };
    records.iter().map(|record| reason(&record.flash.result)).collect()
}

#[test]
fn a_run_that_is_stopped_leaves_no_drive_that_boots_but_those_it_proved() {
    if !rig::usable() {
        return;
    }
    let by = Duration::from_secs(1); // so slow that nobody is late to stop it
    for (fault, state, signal) in
        [(Fault::Slow { by }, "writing", Signal::INT), (Fault::SlowToRead { by }, "reading back", Signal::TERM)]
    {
        let station = Station::new();
        let drives = [Drive::new(DRIVE, fault, Shape::Block), Drive::new(DRIVE, Fault::None, Shape::Block)];
        let mut sent = false;
        let flashed = station.flash_with(Path::new(&station.log()), &drives, &[], |child, told| {
            if !sent && is_at(told, &drives[1], "ok") && is_at(told, &drives[0], state) {
                send(child, signal);
                sent = true;
            }
        });
        assert_eq!((flashed.code, outcomes(&flashed.results)), (STOPPED, vec!["interrupted", "ok"]), "{state}: {}", flashed.text);
        assert_eq!(reasons(&station), [Some(Reason::Interrupted), None], "{state}");
        assert!(drives[0].content(0, MIB).iter().all(|byte| *byte == 0), "{state}: something of a head is left");
        assert!(carries(&drives[1], &station.image_bytes()), "{state}");
    }
}

#[test]
fn a_drive_that_does_not_answer_is_given_up_when_the_run_is_stopped_twice() {
    if !rig::usable() {
        return;
    }
    let station = Station::new();
    let hanging = Drive::new(DRIVE, Fault::Hangs { after: 6 * MIB }, Shape::Block);
    let drives = [hanging, Drive::new(DRIVE, Fault::None, Shape::Block)];
    let (mut sent, mut told_last) = (0, Instant::now());
    let flashed = station.flash_with(Path::new(&station.log()), &drives, &[], |child, told| {
        let heard = told.matches("\"stopping\"").count();
        if sent < 2 && heard == sent && is_at(told, &drives[1], "ok") && drives[0].hangs() {
            send(child, Signal::INT);
            (sent, told_last) = (sent + 1, Instant::now());
        }
    });
    assert_eq!((flashed.code, outcomes(&flashed.results)), (STOPPED, vec!["interrupted", "ok"]), "{}", flashed.text);
    assert!(told_last.elapsed() < imager::flash::engine::PATIENCE, "it waited for the drive");
    assert_eq!(reasons(&station), [Some(Reason::Interrupted), None]);
    assert!(drives[0].content(0, MIB).iter().all(|byte| *byte == 0), "something of a head is left");
}
