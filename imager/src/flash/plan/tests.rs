use super::super::testing::{MIB, image, one, stick};
use super::*;

#[test]
fn a_plan_says_all_that_will_be_lost_and_why() {
    let folder = tempfile::tempdir().expect("temp folder");
    let image = image(folder.path(), "a.img", 16 * MIB, &[0..MIB, 4 * MIB..8 * MIB]);
    let mut used = stick("sdb", 16, 64 * MIB);
    if let Kind::Block(block) = &mut used.kind {
        block.partitions = one(MIB..40 * MIB);
    }
    let small = stick("sdc", 32, 8 * MIB);
    let plan = plan(pair(std::slice::from_ref(&image), vec![used, small]).expect("one to all"), &Policy::default());
    let text = plan.to_string().replace(folder.path().to_str().expect("text"), "DIR");
    let expected = "\
/dev/sdb  Stick, 0123456789ABCDEF, 64.0 MiB, usb, port pci-0000:00:14.0-usb-0:16:1.0-scsi-0:0:0:0
  write 5.0 MiB of DIR/a.img
  clear 11.0 MiB: zeros of the image
  clear 1.0 MiB: signatures of older partitions
  clear 1.0 MiB: older labels at the end of the drive
  discard 48.0 MiB: space beyond the image
  probe the capacity at 5 places beyond the image
/dev/sdc  refused: it has 8388608 bytes, the image needs 16777216; take a larger one
";
    assert_eq!(text, expected);
    let report = serde_json::to_value(plan.report()).expect("JSON");
    assert_eq!(report["write"][0]["clears"][0]["why"], "beyond");
    assert_eq!(report["refuse"][0]["device"], "/dev/sdc");
}

#[test]
fn images_and_drives_that_do_not_go_together_are_told() {
    let folder = tempfile::tempdir().expect("temp folder");
    let images = ["a", "b"].map(|name| image(folder.path(), name, MIB, &one(0..4096)));
    let sticks = |count: u32| (0..count).map(|minor| stick(&format!("sd{minor}"), minor, 64 * MIB)).collect::<Vec<_>>();
    assert_eq!(pair(&images, sticks(3)).expect_err("two and three"), PairError { images: 2, drives: 3 });
    let pairs = pair(&images, sticks(2)).expect("two and two");
    assert!(Arc::ptr_eq(&pairs[1].0, &images[1]));
    assert_eq!(pair(&images[..1], sticks(3)).expect("one to three").len(), 3);
}

#[test]
fn images_of_an_inventory_go_to_the_drives_that_nothing_speaks_against() {
    let folder = tempfile::tempdir().expect("temp folder");
    let images = ["a", "b", "c"].map(|name| image(folder.path(), name, MIB, &one(0..4096)));
    let mut fixed = stick("sda", 0, 64 * MIB);
    if let Kind::Block(block) = &mut fixed.kind {
        block.removable = false;
    }
    let mut looped = stick("loop0", 1, 64 * MIB);
    if let Kind::Block(block) = &mut looped.kind {
        block.drive.transport = Transport::Loop;
    }
    let (empty, taken) = (stick("sdc", 32, 0), stick("sde", 64, 64 * MIB));
    let drives = vec![fixed, looped, stick("sdb", 16, 64 * MIB), empty, taken, stick("sdd", 48, 64 * MIB)];
    let pairs = assign(&images, drives, &Policy::default(), |facts| !facts.path.ends_with("sde"));
    let names: Vec<_> = pairs.iter().map(|(image, facts)| (image.path.file_name(), facts.path.to_str())).collect();
    assert_eq!(names, [(Some("a".as_ref()), Some("/dev/sdb")), (Some("b".as_ref()), Some("/dev/sdd"))]);
}

#[test]
fn a_file_grows_to_the_image() {
    let folder = tempfile::tempdir().expect("temp folder");
    let image = image(folder.path(), "a.img", 16 * MIB, &one(0..MIB));
    let path = folder.path().canonicalize().expect("there").join("drive");
    std::fs::write(&path, [1; 1000]).expect("written");
    let facts = Facts::gather(&path, &crate::flash::facts::Roots::default()).expect("gathered");
    let policy = Policy { fixed: vec![path], ..Policy::default() };
    let job = plan(vec![(image, facts)], &policy).jobs.remove(0);
    assert_eq!((job.drive.bytes, job.probes.len()), (16 * MIB, 0));
}

#[test]
fn no_image_of_a_run_is_written_onto_another() {
    let folder = tempfile::tempdir().expect("temp folder");
    let images = ["a", "b"].map(|name| image(folder.path(), name, MIB, &one(0..4096)));
    let path = folder.path().canonicalize().expect("there").join("b");
    let link = folder.path().join("link");
    std::fs::hard_link(&path, &link).expect("linked");
    for target in [&path, &link] {
        let facts = Facts::gather(target, &crate::flash::facts::Roots::default()).expect("gathered");
        let policy = Policy { fixed: vec![facts.path.clone()], ..Policy::default() };
        let pairs = pair(&images, vec![facts, stick("sdb", 16, 64 * MIB)]).expect("one each");
        let plan = plan(pairs, &policy);
        assert_eq!(plan.jobs.len(), 1, "{plan}");
        assert!(plan.refused[0].refusal.to_string().contains("which this run reads"), "{plan}");
    }
}

#[test]
fn what_will_not_be_discarded_is_not_announced() {
    let folder = tempfile::tempdir().expect("temp folder");
    let image = image(folder.path(), "a.img", 16 * MIB, &one(0..MIB));
    let text = |discard| {
        let pairs = vec![(Arc::clone(&image), stick("sdb", 16, 64 * MIB))];
        plan(pairs, &Policy { discard, ..Policy::default() }).to_string()
    };
    assert!(text(Discard::Allowed).contains("discard 48.0 MiB"));
    let never = text(Discard::Never);
    assert!(!never.contains("discard") && never.contains("clear 15.0 MiB: zeros of the image"), "{never}");
}
