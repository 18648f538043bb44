//! Runs that end before they are done.

use super::*;

/// Stops the run, so many times, when the second drive has ended; then lets the first one go on.
struct StopAfterSecond {
    stop: Stop,
    times: usize,
    shelf: Arc<Shelf>,
    heard: Vec<Hurry>,
}

impl Watcher for StopAfterSecond {
    fn event(&mut self, drive: usize, event: Event<'_>) {
        if let (1, Event::Ended(outcome)) = (drive, event) {
            assert!(outcome.is_good(), "{:?}", outcome.result);
            (0..self.times).for_each(|_| self.stop.ask());
            if self.times == 1 {
                self.shelf.release();
            }
        }
    }

    fn stopping(&mut self, hurry: Hurry) {
        self.heard.push(hurry);
    }
}

/// A run of two drives, the first with a fault, that is stopped so many times when the second is good.
fn stopped(fault: Fault, times: usize) -> (Vec<Outcome>, Vec<Arc<Medium>>, Vec<Hurry>) {
    let folder = tempfile::tempdir().expect("temp folder");
    let image = base(folder.path());
    let mut shelf = Shelf::default();
    let sticks: Vec<Facts> = (0..2).map(|minor| stick(&format!("sd{minor}"), minor, 64 * MIB)).collect();
    let media = sticks.iter().zip([fault, Fault::None]).map(|(stick, fault)| shelf.put(stick, fault)).collect();
    let plan = plan(pair(std::slice::from_ref(&image), sticks).expect("one to all"), &Policy::default());
    let (shelf, options) = (Arc::new(shelf), options(PATIENCE));
    let drives: Arc<dyn Drives> = Arc::clone(&shelf) as _;
    let mut watcher = StopAfterSecond { stop: options.stop.clone(), times, shelf: Arc::clone(&shelf), heard: Vec::new() };
    let outcomes = run(plan.jobs, &drives, &options, &mut watcher);
    shelf.release();
    (outcomes, media, watcher.heard)
}

#[test]
fn a_drive_ends_at_its_next_block_and_has_no_head_whatever_it_was_doing() {
    for fault in [Fault::WaitsAt(0), Fault::WaitsAt(5 * MIB), Fault::WaitsToRead(3 * MIB), Fault::WaitsToRead(32 * MIB)] {
        let (outcomes, media, heard) = stopped(fault.clone(), 1);
        assert_eq!(outcomes.iter().map(reason).collect::<Vec<_>>(), [Some(Reason::Interrupted), None], "{fault:?}");
        assert!(media[0].content()[..at(MIB)].iter().all(|byte| *byte == 0), "{fault:?} left a head");
        assert_eq!(media[1].content()[..at(IMAGE_BYTES)], expected(), "{fault:?}");
        assert!(heard.iter().all(|hurry| *hurry == Hurry::NextBlock), "{fault:?}");
    }
}

#[test]
fn a_drive_that_does_not_answer_is_not_waited_for_when_the_run_is_stopped_twice() {
    let began = Instant::now();
    let (outcomes, _, _) = stopped(Fault::HangsAt(5 * MIB), 2);
    assert_eq!(outcomes.iter().map(reason).collect::<Vec<_>>(), [Some(Reason::Interrupted), None]);
    assert!(began.elapsed() < PATIENCE);
}

#[test]
fn a_run_that_is_stopped_before_it_begins_writes_nothing() {
    let folder = tempfile::tempdir().expect("temp folder");
    let image = base(folder.path());
    let facts = stick("sd0", 0, 64 * MIB);
    let mut shelf = Shelf::default();
    let medium = shelf.put(&facts, Fault::None);
    let jobs = plan(vec![(image, facts)], &Policy::default()).jobs;
    let options = options(PATIENCE);
    options.stop.ask();
    let drives: Arc<dyn Drives> = Arc::new(shelf);
    let outcomes = run(jobs, &drives, &options, &mut Unwatched);
    assert_eq!(reason(&outcomes[0]), Some(Reason::Interrupted));
    assert!(medium.content().iter().all(|byte| *byte == 0xee));
}
