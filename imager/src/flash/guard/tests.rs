use globset::Glob;

use super::super::facts::{Backing, DeviceNumber};
use super::super::testing::stick;
use super::*;

const GIB: u64 = 1 << 30;

/// Judges what an image of this run with its checksum file may be written to.
fn judge(facts: &Facts, earlier: &[&Facts], policy: &Policy) -> Option<Refusal> {
    let kept = [("/images/a.img", 77), ("/images/a.img.sha256", 78)].map(|(path, inode)| kept(path, inode));
    refusal(facts, &ImageFacts { kept: &kept, bytes: GIB }, earlier, policy)
}

fn kept(path: &str, inode: u64) -> Kept {
    Kept { path: path.into(), id: (1, inode) }
}

fn file(path: &str, inode: u64, uses: Vec<Use>) -> Facts {
    let kind = Kind::File(RegularFile { id: (1, inode), bytes: 0, holds_data: false, uses });
    Facts { named: path.into(), path: path.into(), kind }
}

/// A file with something in it.
fn full(path: &str, inode: u64) -> Facts {
    let kind = Kind::File(RegularFile { id: (1, inode), bytes: 9, holds_data: true, uses: vec![] });
    Facts { kind, ..file(path, inode, vec![]) }
}

fn other(kind: Kind) -> Facts {
    Facts { named: "/dev/x".into(), path: "/dev/x".into(), kind }
}

/// A stick that is changed in one way.
fn changed(change: impl FnOnce(&mut Block)) -> Facts {
    let mut facts = stick("sdb", 16, 8 * GIB);
    let Kind::Block(block) = &mut facts.kind else { panic!("a stick is a block device") };
    change(block);
    facts
}

fn behind(inode: u64) -> Option<Backing> {
    Some(Backing { path: "/x".into(), id: Some((1, inode)) })
}

fn mounted(device: &str, at: &str) -> Use {
    Use::Mounted { device: device.into(), at: at.into() }
}

fn judged(facts: &Facts) -> String {
    judge(facts, &[], &Policy::default()).map_or("allowed".into(), |refusal| refusal.to_string())
}

#[test]
fn every_guard_refuses_with_its_reason() {
    let held = Use::Held { device: "sdb2".into(), by: "dm-0".into() };
    let swap = Use::Swap { device: "sdb3".into() };
    let cases = [
        ("a stick", changed(|_| ()), "allowed"),
        ("nothing there", other(Kind::Missing), "no such drive"),
        ("a folder", other(Kind::Other("a folder")), "it is a folder"),
        ("a partition", changed(|block| block.partition_of = Some("sdb".into())), "partition of sdb"),
        ("an empty reader", changed(|block| block.drive.bytes = 0), "no medium"),
        ("mounted", changed(|block| block.uses = vec![mounted("sdb1", "/media/x")]), "sdb1 is mounted at /media/x"),
        (
            "the root",
            changed(|block| block.uses = vec![held.clone(), mounted("dm-0", "/")]),
            "this machine runs from it (dm-0 is mounted at /)",
        ),
        ("/boot", changed(|block| block.uses = vec![mounted("sdb1", "/boot/efi")]), "this machine runs from it"),
        ("swap", changed(|block| block.uses = vec![swap]), "it swaps to sdb3"),
        ("LVM", changed(|block| block.uses = vec![held]), "sdb2 is in use by dm-0"),
        ("locked", changed(|block| block.read_only = true), "read-only"),
        ("4K sectors", changed(|block| block.sector_bytes = 4096), "sectors have 4096 bytes"),
        ("too small", changed(|block| block.drive.bytes = GIB - 512), "the image needs"),
        ("too large", changed(|block| block.drive.bytes = MAX_BYTES + 512), "--max-size"),
        ("just small enough", changed(|block| block.drive.bytes = MAX_BYTES), "allowed"),
        ("built in", changed(|block| block.removable = false), "--allow-fixed /dev/sdb"),
        ("a loop device on the image", changed(|block| block.backing = behind(77)), "/images/a.img, which this run"),
        ("a loop device on a checksum", changed(|block| block.backing = behind(78)), "/images/a.img.sha256, which this run"),
        ("a full file", full("/x", 5), "--allow-fixed /x"),
        ("a file", file("/x", 5, vec![]), "allowed"),
        ("the image itself", file("/images/a.img", 77, vec![]), "/images/a.img, which this run"),
        ("the image under another name", full("/x", 77), "/images/a.img, which this run"),
        ("a file in use", file("/x", 5, vec![Use::Held { device: "/x".into(), by: "loop0".into() }]), "/x is in use by loop0"),
        ("a swap file", file("/x", 5, vec![Use::Swap { device: "/x".into() }]), "it swaps to /x"),
    ];
    for (name, facts, expected) in cases {
        let found = judged(&facts);
        assert!(found.contains(expected), "{name}: {found}");
    }
}

#[test]
fn what_the_system_runs_from_is_not_allowed_by_any_option() {
    let facts = changed(|block| {
        block.uses = vec![mounted("sdb1", "/")];
        block.removable = false;
        block.drive.bytes = MAX_BYTES * 2;
    });
    let policy = Policy { max_bytes: u64::MAX, fixed: vec!["/dev/sdb".into()], ..Policy::default() };
    assert!(matches!(judge(&facts, &[], &policy), Some(Refusal::System(_))));
}

#[test]
fn files_of_the_run_are_not_written_to_by_any_option_and_others_when_they_are_named() {
    let policy = Policy { fixed: vec!["/x".into()], kept: vec![kept("/log", 79)], ..Policy::default() };
    assert_eq!(judge(&full("/x", 5), &[], &policy), None);
    for inode in [77, 78, 79] {
        assert!(matches!(judge(&full("/x", inode), &[], &policy), Some(Refusal::Kept(_))), "{inode}");
    }
}

#[test]
fn a_fixed_drive_and_a_large_one_are_allowed_when_they_are_named() {
    let facts = changed(|block| {
        block.removable = false;
        block.drive.bytes = MAX_BYTES * 2;
    });
    let mut policy = Policy { fixed: vec!["/dev/sdb".into()], ..Policy::default() };
    assert!(matches!(judge(&facts, &[], &policy), Some(Refusal::TooLarge { .. })));
    policy.max_bytes = MAX_BYTES * 2;
    assert_eq!(judge(&facts, &[], &policy), None);
}

#[test]
fn only_ports_on_the_list_are_written_to() {
    let glob = |pattern: &str| Glob::new(pattern).expect("a pattern").compile_matcher();
    let policy = Policy { ports: vec![glob("pci-0000:00:14.0-usb-0:3*"), glob("other")], ..Policy::default() };
    let on = |port: Option<&str>| changed(|block| block.drive.port = port.map(str::to_owned));
    for (port, allowed) in [
        (Some("pci-0000:00:14.0-usb-0:3:1.0-scsi-0:0:0:0"), true),
        (Some("pci-0000:00:14.0-usb-0:4:1.0-scsi-0:0:0:0"), false),
        (None, false),
    ] {
        assert_eq!(judge(&on(port), &[], &policy).is_none(), allowed, "{port:?}");
    }
    assert!(matches!(judge(&file("/x", 5, vec![]), &[], &policy), Some(Refusal::Port(None))));
}

#[test]
fn one_drive_under_two_names_is_written_once() {
    let numbered = |minor| changed(|block| block.number = DeviceNumber { major: 8, minor });
    let nvme = |minor| {
        changed(|block| {
            block.number = DeviceNumber { major: 259, minor };
            block.drive.transport = Transport::Nvme;
        })
    };
    let on_file = |minor: u32| {
        changed(|block| {
            block.number = DeviceNumber { major: 7, minor };
            block.backing = behind(5);
        })
    };
    for (name, one, two, same) in [
        ("the same number", numbered(16), numbered(16), true),
        ("sticks that share a serial number", numbered(16), numbered(32), false),
        ("two paths to one disk", nvme(1), nvme(2), true),
        ("the same file", file("/x", 5, vec![]), file("/y", 5, vec![]), true),
        ("two files", file("/x", 5, vec![]), file("/y", 6, vec![]), false),
        ("two loop devices on one file", on_file(0), on_file(1), true),
        ("a file and its loop device", file("/x", 5, vec![]), on_file(0), true),
        ("a loop device and its file", on_file(0), file("/x", 5, vec![]), true),
    ] {
        let refused = judge(&two, &[&one], &Policy::default());
        assert_eq!(matches!(refused, Some(Refusal::Twice(_))), same, "{name}: {refused:?}");
    }
}
