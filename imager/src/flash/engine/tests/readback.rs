//! What reading back finds, in both of its ways.

use std::os::unix::fs::FileExt;

use super::*;

/// Writes to the image's file once the drive has been written to.
struct ChangesImage {
    file: std::fs::File,
    place: u64,
    bytes: Vec<u8>,
    shelf: Arc<Shelf>,
}

impl Watcher for ChangesImage {
    fn event(&mut self, _: usize, event: Event<'_>) {
        if let Event::Stage(Stage::ReadingBack) = event {
            self.file.write_all_at(&self.bytes, self.place).expect("written");
            self.shelf.release();
        }
    }

    fn stopping(&mut self, hurry: Hurry) {
        panic!("nobody asked: {hurry:?}");
    }
}

/// One bit, in the first, a middle and the last piece, read wrongly from a raw image's drive: by comparing with the file. From a compressed one's: by
/// its digest.
#[test]
fn a_bit_that_is_read_back_wrongly_is_found_in_every_piece() {
    let folder = tempfile::tempdir().expect("temp folder");
    let raw = base(folder.path());
    let path = folder.path().join("packed.raw.zst");
    std::fs::write(&path, zstd::bulk::compress(&expected(), 1).expect("compressed")).expect("written");
    let bmap = Bmap::from_sparse_file(&std::fs::File::open(&raw.path).expect("opened")).expect("mapped");
    std::fs::write(folder.path().join("packed.raw.zst.bmap"), bmap.to_xml()).expect("written");
    let packed = Arc::new(Image::open(&path, &Trust::default()).expect("an image"));
    let places = [0, MIB / 2 - 1, 2 * MIB, 8 * MIB, 15 * MIB - 1, 16 * MIB, 32 * MIB - 1];
    let faults: Vec<Fault> = places.iter().map(|place| Fault::FlipsBit(*place)).chain([Fault::None]).collect();
    for image in [raw, packed] {
        let (outcomes, _) = flash(&image, 64 * MIB, &faults, PATIENCE);
        let (good, bad) = outcomes.split_last().expect("eight of them");
        assert_eq!(good.result, Ok(()), "{}", image.path.display());
        for (outcome, place) in bad.iter().zip(places) {
            assert_eq!(reason(outcome), Some(Reason::Mismatch), "{}: byte {place}", image.path.display());
            assert_eq!(outcome.readback_sha256, None);
        }
    }
}

/// The file proves nothing then, the digest of what was read from it does.
#[test]
fn a_drive_is_not_blamed_when_the_image_is_written_to_meanwhile() {
    let folder = tempfile::tempdir().expect("temp folder");
    for (fault, expected_result) in [(Fault::WaitsToRead(3 * MIB), None), (Fault::FlipsBit(9 * MIB), Some(Reason::Mismatch))] {
        let image = base(folder.path());
        let digest = Digest::of(&expected());
        let facts = stick("sd0", 0, 64 * MIB);
        let mut shelf = Shelf::default();
        shelf.put(&facts, fault.clone());
        let jobs = plan(vec![(Arc::clone(&image), facts)], &Policy::default()).jobs;
        let file = std::fs::File::options().write(true).open(&image.path).expect("opened");
        let shelf = Arc::new(shelf);
        let drives: Arc<dyn Drives> = Arc::clone(&shelf) as _;
        let mut watcher = ChangesImage { file, place: 31 * MIB + MIB - 4096, bytes: vec![1; 4096], shelf };
        let outcomes = run(jobs, &drives, &options(PATIENCE), &mut watcher);
        assert_eq!(reason(&outcomes[0]), expected_result, "{fault:?}: {:?}", outcomes[0].result);
        assert_eq!(outcomes[0].readback_sha256, expected_result.is_none().then_some(digest), "{fault:?}");
    }
}

#[test]
fn a_drive_through_memory_is_asked_to_finish_now_and_then() {
    let folder = tempfile::tempdir().expect("temp folder");
    let bytes = 150 * MIB;
    let image = image(folder.path(), "large.img", bytes, &one(0..bytes));
    let (outcomes, media) = flash(&image, bytes, &[Fault::Cached, Fault::None], PATIENCE);
    assert!(outcomes.iter().all(Outcome::is_good));
    let step = 64 * MIB + 4 * MIB;
    assert!(media[0].most_unfinished() <= step, "{}", media[0].most_unfinished());
    assert!(media[1].most_unfinished() > step, "others need not be asked");
}
