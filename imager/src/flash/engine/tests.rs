use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use super::super::facts::Facts;
use super::super::guard::Policy;
use super::super::image::{Image, Trust};
use super::super::plan::{pair, plan};
use super::super::testing::{Fault, MIB, Medium, Shelf, at, content, image, one, stick};
use super::*;
use crate::bmap::Bmap;
use crate::image::digest::Digest;

mod readback;
mod stopped;

const IMAGE_BYTES: u64 = 32 * MIB;
const MAPPED: [Range<u64>; 4] = [0..MIB / 2, 2 * MIB..15 * MIB, 16 * MIB..16 * MIB + 4096, 32 * MIB - 20480..32 * MIB];

fn options(patience: Duration) -> Options {
    Options { discard: Discard::Allowed, patience, nonce: [7; 16], stop: Stop::default() }
}

fn base(folder: &Path) -> Arc<Image> {
    image(folder, "base.img", IMAGE_BYTES, &MAPPED)
}

/// What a good drive has where the image reaches.
fn expected() -> Vec<u8> {
    let mut bytes = vec![0; at(IMAGE_BYTES)];
    for range in MAPPED {
        bytes[at(range.start)..at(range.end)].copy_from_slice(&content(range));
    }
    bytes
}

/// Flashes one image to drives of this size with these faults.
fn flash(image: &Arc<Image>, bytes: u64, faults: &[Fault], patience: Duration) -> (Vec<Outcome>, Vec<Arc<Medium>>) {
    flash_watched(image, bytes, faults, patience, &mut Unwatched)
}

fn flash_watched(
    image: &Arc<Image>,
    bytes: u64,
    faults: &[Fault],
    patience: Duration,
    watcher: &mut dyn Watcher,
) -> (Vec<Outcome>, Vec<Arc<Medium>>) {
    let mut shelf = Shelf::default();
    let sticks: Vec<Facts> = (0u32..).zip(faults).map(|(minor, _)| stick(&format!("sd{minor}"), minor, bytes)).collect();
    let media = sticks.iter().zip(faults).map(|(stick, fault)| shelf.put(stick, fault.clone())).collect();
    let plan = plan(pair(std::slice::from_ref(image), sticks).expect("one to all"), &Policy::default());
    assert!(plan.refused.is_empty());
    let shelf = Arc::new(shelf);
    let drives: Arc<dyn Drives> = Arc::clone(&shelf) as _;
    let outcomes = run(plan.jobs, &drives, &options(patience), watcher);
    shelf.release();
    (outcomes, media)
}

/// Keeps what people should know of each drive.
#[derive(Default)]
struct Notes(Vec<(usize, String)>);

impl Watcher for Notes {
    fn event(&mut self, drive: usize, event: Event<'_>) {
        if let Event::Note(note) = event {
            self.0.push((drive, note.to_owned()));
        }
    }

    fn stopping(&mut self, _: Hurry) {}
}

#[test]
fn a_drive_that_refuses_to_discard_is_good_and_says_so_once() {
    let folder = tempfile::tempdir().expect("temp folder");
    let mut notes = Notes::default();
    let faults = [Fault::None, Fault::RefusesToForget];
    let (outcomes, media) = flash_watched(&base(folder.path()), 64 * MIB, &faults, PATIENCE, &mut notes);
    assert!(outcomes.iter().all(Outcome::is_good));
    assert!(media.iter().all(|medium| medium.content()[..at(IMAGE_BYTES)] == expected()));
    assert_eq!(notes.0.len(), 1, "{:?}", notes.0);
    assert!(notes.0[0].0 == 1 && notes.0[0].1.starts_with("it refused to discard at byte "), "{:?}", notes.0);
}

fn reason(outcome: &Outcome) -> Option<Reason> {
    outcome.result.as_ref().err().map(|failure| failure.reason)
}

#[test]
fn eight_drives_at_once_of_which_three_fail_each_in_its_own_way() {
    let folder = tempfile::tempdir().expect("temp folder");
    let image = base(folder.path());
    let faults = [
        Fault::None,
        Fault::BadBlock(5 * MIB),
        Fault::None,
        Fault::PulledAt(9 * MIB),
        Fault::None,
        Fault::None,
        Fault::Loses(40 * MIB),
        Fault::None,
    ];
    let (outcomes, media) = flash(&image, 64 * MIB, &faults, PATIENCE);
    let reasons: Vec<_> = outcomes.iter().map(reason).collect();
    let (bad, pulled, fake) = (Some(Reason::BadBlock), Some(Reason::Pulled), Some(Reason::Counterfeit));
    assert_eq!(reasons, [None, bad, None, pulled, None, None, fake, None]);
    let whole = Digest::of(&expected());
    for (outcome, medium) in outcomes.iter().zip(&media).filter(|(outcome, _)| outcome.is_good()) {
        assert_eq!((outcome.image_sha256, outcome.readback_sha256), (Some(whole), Some(whole)));
        assert_eq!(outcome.bytes_written, image.written_bytes());
        let content = medium.content();
        assert_eq!(content[..at(IMAGE_BYTES)], expected());
        assert!(content[at(63 * MIB)..].iter().all(|byte| *byte == 0), "older labels at the end");
    }
}

#[test]
fn every_fault_has_its_own_reason_and_leaves_no_drive_that_boots() {
    let folder = tempfile::tempdir().expect("temp folder");
    let image = base(folder.path());
    let cases = [
        (Fault::PulledAt(3 * MIB), Reason::Pulled),
        (Fault::ShortAt(3 * MIB), Reason::ShortWrite),
        (Fault::BadBlock(16 * MIB), Reason::BadBlock),
        (Fault::UnreadableBlock(16 * MIB), Reason::BadBlock),
        (Fault::FullAt(3 * MIB), Reason::Full),
        (Fault::Wraps(32 * MIB), Reason::Counterfeit),
        (Fault::Loses(33 * MIB), Reason::Counterfeit),
        (Fault::Loses(10 * MIB), Reason::Counterfeit),
        (Fault::FlipsBit(14 * MIB), Reason::Mismatch),
        (Fault::Busy, Reason::Busy),
        (Fault::PanicsAt(14 * MIB), Reason::Io),
    ];
    let faults: Vec<Fault> = cases.iter().map(|(fault, _)| fault.clone()).chain([Fault::None]).collect();
    let (outcomes, media) = flash(&image, 128 * MIB, &faults, PATIENCE);
    for ((fault, expected), (outcome, medium)) in cases.iter().zip(outcomes.iter().zip(&media)) {
        assert_eq!(reason(outcome), Some(*expected), "{fault:?}: {:?}", outcome.result);
        assert_eq!(outcome.readback_sha256, None, "{fault:?}");
        let touched = !matches!(fault, Fault::Busy);
        assert!(!touched || medium.content()[..4096] == [0; 4096], "{fault:?} left a head");
    }
    assert!(outcomes.last().expect("the good one").is_good());
}

/// Fakes ignore the upper bits of an address: every power of two beyond what they have is their first block.
#[test]
fn a_drive_as_large_as_the_image_that_wraps_is_found_when_read_back() {
    let folder = tempfile::tempdir().expect("temp folder");
    let image = base(folder.path());
    let (outcomes, _) = flash(&image, IMAGE_BYTES, &[Fault::Wraps(16 * MIB), Fault::None], PATIENCE);
    assert_eq!(outcomes.iter().map(reason).collect::<Vec<_>>(), [Some(Reason::Mismatch), None]);
}

/// What `docs/warehouse.md` says of the probes: a drive that loses, or moves, only addresses between them has the image on it and counts as good.
#[test]
fn counterfeits_are_found_by_the_addresses_that_are_probed_and_by_no_others() {
    let folder = tempfile::tempdir().expect("temp folder");
    let image = base(folder.path());
    let claimed = 128 * MIB; // probed at 32, 48, 64, 96 MiB, and at its end
    let cases = [
        (Fault::LosesOnly(65 * MIB, 96 * MIB), None),
        (Fault::LosesOnly(65 * MIB, 97 * MIB), Some(Reason::Counterfeit)),
        (Fault::LosesOnly(127 * MIB, 128 * MIB), Some(Reason::Counterfeit)),
        (Fault::Wraps(32 * MIB), Some(Reason::Counterfeit)),
        (Fault::Wraps(48 * MIB), Some(Reason::Counterfeit)),
        (Fault::Wraps(64 * MIB), Some(Reason::Counterfeit)),
        (Fault::Wraps(96 * MIB), Some(Reason::Counterfeit)),
        // Each probe lands where neither the image nor another probe is.
        (Fault::Wraps(47 * MIB + MIB / 2), None),
    ];
    let faults: Vec<Fault> = cases.iter().map(|(fault, _)| fault.clone()).collect();
    let (outcomes, _) = flash(&image, claimed, &faults, PATIENCE);
    for ((fault, expected), outcome) in cases.iter().zip(&outcomes) {
        assert_eq!(reason(outcome), *expected, "{fault:?}: {:?}", outcome.result);
    }
}

#[test]
fn a_drive_that_hangs_is_given_up_and_the_others_finish() {
    let folder = tempfile::tempdir().expect("temp folder");
    let image = base(folder.path());
    let faults = [Fault::HangsAt(5 * MIB), Fault::None, Fault::HangsAt(0)];
    let (outcomes, media) = flash(&image, 64 * MIB, &faults, Duration::from_secs(5));
    assert_eq!(outcomes.iter().map(reason).collect::<Vec<_>>(), [Some(Reason::Timeout), None, Some(Reason::Timeout)]);
    assert!(outcomes[0].result.as_ref().expect_err("hung").text.contains("asked to write"));
    assert_eq!(media[1].content()[..at(IMAGE_BYTES)], expected());
}

#[test]
fn each_drive_gets_its_own_image_and_a_wrong_one_fails_its_own_drive_alone() {
    let folder = tempfile::tempdir().expect("temp folder");
    let other = image(folder.path(), "other.img", IMAGE_BYTES, &one(MIB..3 * MIB));
    let path = folder.path().join("base.img");
    image(folder.path(), "base.img", IMAGE_BYTES, &MAPPED);
    std::fs::write(folder.path().join("base.img.sha256"), format!("{}  base.img\n", Digest::of(b"another"))).expect("written");
    let wrong = Arc::new(Image::open(&path, &Trust::default()).expect("an image"));
    let mut shelf = Shelf::default();
    let sticks: Vec<Facts> = (0..2).map(|minor| stick(&format!("sd{minor}"), minor, 64 * MIB)).collect();
    let media: Vec<_> = sticks.iter().map(|stick| shelf.put(stick, Fault::None)).collect();
    let plan = plan(pair(&[wrong, other], sticks).expect("one each"), &Policy::default());
    let drives: Arc<dyn Drives> = Arc::new(shelf);
    let outcomes = run(plan.jobs, &drives, &options(PATIENCE), &mut Unwatched);
    assert_eq!(outcomes.iter().map(reason).collect::<Vec<_>>(), [Some(Reason::WrongHash), None]);
    assert_eq!(outcomes[0].image_sha256, Some(Digest::of(&expected())), "what it really is");
    assert!(media[0].content()[..at(MIB)].iter().all(|byte| *byte == 0), "nothing boots from it");
    assert_eq!(media[1].content()[at(MIB)..at(3 * MIB)], content(MIB..3 * MIB));
}

#[test]
fn a_changed_image_is_told_by_its_block_map() {
    let folder = tempfile::tempdir().expect("temp folder");
    let path = folder.path().join("base.img");
    image(folder.path(), "base.img", IMAGE_BYTES, &MAPPED);
    let file = std::fs::File::options().read(true).write(true).open(&path).expect("opened");
    let bmap = Bmap::from_sparse_file(&file).expect("mapped");
    std::fs::write(folder.path().join("base.img.bmap"), bmap.to_xml()).expect("written");
    let open = || Arc::new(Image::open(&path, &Trust::default()).expect("an image"));
    let (good, _) = flash(&open(), 64 * MIB, &[Fault::None], PATIENCE);
    assert_eq!(good[0].result, Ok(()));
    for (place, text) in [(3 * MIB, "is not the image it should be"), (20 * MIB, "where its block map has none")] {
        std::os::unix::fs::FileExt::write_all_at(&file, b"changed", place).expect("written");
        let (outcomes, _) = flash(&open(), 64 * MIB, &[Fault::None], PATIENCE);
        let failure = outcomes[0].result.as_ref().expect_err("changed");
        assert_eq!(failure.reason, Reason::WrongHash);
        assert!(failure.text.contains(text), "{failure}");
        std::os::unix::fs::FileExt::write_all_at(&file, &content(place..place + 7), place).expect("written");
    }
}

#[test]
fn compressed_images_are_written_as_what_they_hold() {
    let folder = tempfile::tempdir().expect("temp folder");
    let raw = base(folder.path());
    let whole = expected();
    let zst = zstd::bulk::compress(&whole, 1).expect("compressed");
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gz, &whole).expect("compressed");
    let gz = gz.finish().expect("compressed");
    let bmap = Bmap::from_sparse_file(&std::fs::File::open(&raw.path).expect("opened")).expect("mapped").to_xml();
    for (name, bytes) in [("base.raw.zst", &zst), ("base.raw.gz", &gz)] {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        std::fs::write(folder.path().join(format!("{name}.bmap")), &bmap).expect("written");
        std::fs::write(folder.path().join(format!("{name}.sha256")), format!("{}  {name}\n", Digest::of(bytes)))
            .expect("written");
        let image = Arc::new(Image::open(&path, &Trust::default()).expect("an image"));
        let (outcomes, media) = flash(&image, 64 * MIB, &[Fault::None, Fault::None], PATIENCE);
        assert_eq!(outcomes[0].result, Ok(()), "{name}");
        assert_eq!(outcomes[1].readback_sha256, Some(Digest::of(&whole)));
        let found = media[0].content();
        assert!(MAPPED.iter().all(|range| found[at(range.start)..at(range.end)] == content(range.clone())), "{name}");
        let map = folder.path().join(format!("{name}.bmap"));
        let mut wrong = Bmap::parse(&bmap).expect("a map");
        wrong.ranges[1].sha256 = Digest::of(b"another");
        std::fs::write(&map, wrong.to_xml()).expect("written");
        let image = Arc::new(Image::open(&path, &Trust::default()).expect("an image"));
        let (outcomes, _) = flash(&image, 64 * MIB, &[Fault::None], PATIENCE);
        let failure = outcomes[0].result.as_ref().expect_err("the map is another image's");
        assert!(failure.reason == Reason::WrongHash && failure.text.contains("its block map says"), "{name}: {failure}");
        std::fs::write(&map, &bmap).expect("written");
        std::fs::write(&path, &bytes[..bytes.len() - 20]).expect("cut");
        let image = Arc::new(Image::open(&path, &Trust::default()).expect("an image"));
        let (outcomes, _) = flash(&image, 64 * MIB, &[Fault::None], PATIENCE);
        let reason = reason(&outcomes[0]).expect("cut short");
        assert!([Reason::Image, Reason::WrongHash].contains(&reason), "{name}: {reason}");
    }
}

/// Counts what is told.
#[derive(Default)]
struct Told {
    stages: Vec<(usize, &'static str)>,
    ended: BTreeSet<usize>,
}

impl Watcher for Told {
    fn stopping(&mut self, hurry: Hurry) {
        panic!("nobody asked: {hurry:?}");
    }

    fn event(&mut self, drive: usize, event: Event<'_>) {
        match event {
            Event::Stage(stage) => self.stages.push((drive, stage.as_str())),
            Event::Advance(bytes) => assert!(bytes > 0),
            Event::Note(note) => panic!("{note}"),
            Event::Ended(outcome) => {
                assert!(outcome.is_good() && self.ended.insert(drive));
            }
        }
    }
}

#[test]
fn a_drive_goes_through_its_stages_and_ends_once() {
    let folder = tempfile::tempdir().expect("temp folder");
    let image = base(folder.path());
    let facts = stick("sd0", 0, 64 * MIB);
    let mut shelf = Shelf::default();
    shelf.put(&facts, Fault::None);
    let jobs = plan(vec![(image, facts)], &Policy::default()).jobs;
    let mut told = Told::default();
    let drives: Arc<dyn Drives> = Arc::new(shelf);
    run(jobs, &drives, &options(PATIENCE), &mut told);
    assert_eq!(told.stages, [(0, "clearing"), (0, "writing"), (0, "reading back")]);
    assert_eq!(told.ended, BTreeSet::from([0]));
}
