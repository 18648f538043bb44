use std::os::unix::fs::symlink;

use super::super::guard::{ImageFacts, Policy, Refusal, refusal};
use super::super::testing::MIB;
use super::*;

/// A machine's `/sys`, `/proc` and `/dev`, as far as drives are concerned.
struct Machine {
    folder: tempfile::TempDir,
    roots: Roots,
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("temp folder");
        let at = |name: &str| folder.path().canonicalize().expect("there").join(name);
        let roots = Roots { sys: at("sys"), proc: at("proc"), dev: at("dev") };
        let machine = Self { folder, roots };
        for folder in ["sys/block", "sys/dev/block", "sys/devices", "proc/self", "dev/disk/by-path"] {
            fs::create_dir_all(machine.path(folder)).expect("made");
        }
        machine.write("proc/swaps", "Filename Type Size Used Priority\n");
        machine.write("proc/self/mountinfo", "");
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, text).expect("written");
    }

    /// A disk at a place in `/sys/devices`.
    fn disk(&self, place: &str, number: &str, sectors: u64, files: &[(&str, &str)]) {
        let folder = format!("sys/devices/{place}");
        let name = place.rsplit('/').next().expect("a name");
        self.write(&format!("{folder}/dev"), &format!("{number}\n"));
        self.write(&format!("{folder}/size"), &format!("{sectors}\n"));
        for (file, text) in files {
            self.write(&format!("{folder}/{file}"), text);
        }
        symlink(self.path(&folder), self.path("sys/dev/block").join(number)).expect("linked");
        if !files.iter().any(|(file, _)| *file == "partition") {
            symlink(self.path(&folder), self.path("sys/block").join(name)).expect("linked");
        }
        self.write(&format!("dev/{name}"), "");
    }

    fn block(&self, major: u32, minor: u32) -> Block {
        Tables::read(&self.roots).expect("tables").block(DeviceNumber { major, minor }).expect("a device")
    }
}

const STICK: &str = "pci0000:00/0000:00:14.0/usb1/1-3/1-3:1.0/host4/target4:0:0/4:0:0:0/block/sdb";

/// A machine with a USB stick that has two partitions.
fn with_stick() -> Machine {
    let machine = Machine::new();
    let usb = "pci0000:00/0000:00:14.0/usb1/1-3";
    machine.write(&format!("sys/devices/{usb}/idVendor"), "0781\n");
    machine.write(&format!("sys/devices/{usb}/serial"), "4C530001\n");
    let files = [
        ("removable", "1\n"),
        ("ro", "0\n"),
        ("diskseq", "42\n"),
        ("device/model", "Ultra Fit       \n"),
        ("queue/logical_block_size", "512\n"),
    ];
    machine.disk(STICK, "8:16", 1 << 20, &files);
    machine.disk(&format!("{STICK}/sdb1"), "8:17", 2048, &[("partition", "1\n"), ("start", "2048\n")]);
    machine.disk(&format!("{STICK}/sdb2"), "8:18", 4096, &[("partition", "2\n"), ("start", "4096\n")]);
    let by_path = machine.path("dev/disk/by-path");
    for (name, to) in [
        ("pci-0000:00:14.0-usbv2-0:3:1.0-scsi-0:0:0:0", "sdb"),
        ("pci-0000:00:14.0-usb-0:3:1.0-scsi-0:0:0:0", "sdb"),
        ("pci-0000:00:14.0-usb-0:3:1.0-scsi-0:0:0:0-part1", "sdb1"),
    ] {
        symlink(Path::new("../..").join(to), by_path.join(name)).expect("linked");
    }
    machine
}

#[test]
fn a_stick_tells_everything() {
    let block = with_stick().block(8, 16);
    let drive = Drive {
        serial: Some("4C530001".into()),
        model: Some("Ultra Fit".into()),
        bytes: 512 * MIB,
        transport: Transport::Usb,
        port: Some("pci-0000:00:14.0-usb-0:3:1.0-scsi-0:0:0:0".into()),
    };
    assert_eq!((block.drive, block.sequence), (drive, Some(42)));
    assert!(block.removable && !block.read_only && block.uses.is_empty() && block.partition_of.is_none());
    assert_eq!(block.partitions, [MIB..2 * MIB, 2 * MIB..4 * MIB]);
}

#[test]
fn a_partition_knows_its_disk() {
    assert_eq!(with_stick().block(8, 17).partition_of.as_deref(), Some("sdb"));
}

#[test]
fn mounts_are_seen_through_partitions_and_names() {
    let machine = with_stick();
    machine.write(
        "proc/self/mountinfo",
        "36 35 8:17 / /media/a\\040b rw - vfat /dev/x rw\n37 35 0:44 / /mnt rw - btrfs DEV/sdb2 rw\n",
    );
    let text = fs::read_to_string(machine.path("proc/self/mountinfo")).expect("read");
    machine.write("proc/self/mountinfo", &text.replace("DEV", machine.roots.dev.to_str().expect("text")));
    let mounted = |device: &str, at: &str| Use::Mounted { device: device.into(), at: at.into() };
    assert_eq!(machine.block(8, 16).uses, [mounted("sdb1", "/media/a b"), mounted("sdb2", "/mnt")]);
}

#[test]
fn the_system_is_seen_through_encryption_and_volumes() {
    let machine = with_stick();
    machine.disk("virtual/block/dm-0", "254:0", 4096, &[]);
    machine.disk("virtual/block/dm-1", "254:1", 4096, &[]);
    for (below, upon) in [(format!("sys/devices/{STICK}/sdb2"), "dm-0"), ("sys/devices/virtual/block/dm-0".into(), "dm-1")] {
        fs::create_dir_all(machine.path(&below).join("holders")).expect("made");
        symlink(machine.path("sys/devices/virtual/block").join(upon), machine.path(&below).join("holders").join(upon))
            .expect("linked");
    }
    machine.write("proc/self/mountinfo", "36 1 254:1 / / rw - ext4 /dev/mapper/root rw\n");
    let facts = Facts { named: "/dev/sdb".into(), path: "/dev/sdb".into(), kind: Kind::Block(machine.block(8, 16)) };
    let image = ImageFacts { kept: &[], bytes: MIB };
    let refused = refusal(&facts, &image, &[], &Policy::default());
    assert_eq!(refused, Some(Refusal::System("dm-1 is mounted at /".into())));
}

#[test]
fn swap_loop_devices_and_btrfs_are_seen() {
    let machine = with_stick();
    let dev = machine.roots.dev.to_str().expect("text").to_owned();
    machine.write("proc/swaps", &format!("Filename Type Size Used Priority\n{dev}/sdb1 partition 1 0 -2\n"));
    machine.disk("virtual/block/loop3", "7:3", 2048, &[("loop/backing_file", &format!("{dev}/sdb2\n"))]);
    machine.write("sys/fs/btrfs/0d1f/devices/sdb2", "");
    let uses = machine.block(8, 16).uses;
    assert!(uses.contains(&Use::Swap { device: "sdb1".into() }), "{uses:?}");
    assert!(uses.contains(&Use::Held { device: "sdb2".into(), by: "loop3".into() }), "{uses:?}");
    assert!(uses.contains(&Use::Held { device: "sdb2".into(), by: "the mounted btrfs 0d1f".into() }), "{uses:?}");
    assert_eq!(machine.block(7, 3).backing.expect("a file").path, Path::new(&format!("{dev}/sdb2")));
}

#[test]
fn what_is_removable_depends_on_how_it_is_connected() {
    let machine = Machine::new();
    let pci = "pci0000:00/0000:00:17.0";
    for (minor, (place, files, transport, removable)) in (0u32..).zip([
        (format!("{pci}/ata1/host0/target0:0:0/0:0:0:0/block/sda"), vec![("removable", "0\n")], Transport::Sata, false),
        (format!("{pci}/nvme/nvme0/nvme0n1"), vec![("serial", "S1 \n"), ("removable", "0\n")], Transport::Nvme, false),
        ("platform/mmc/mmc_host/mmc0/mmc0:aaaa/block/mmcblk0".into(), vec![("device/type", "SD\n")], Transport::Mmc, true),
        ("platform/mmc/mmc_host/mmc1/mmc1:0001/block/mmcblk1".into(), vec![("device/type", "MMC\n")], Transport::Mmc, false),
        (format!("{pci}/usb2/2-1/host9/block/sdq"), vec![("removable", "0\n")], Transport::Usb, true),
        (format!("{pci}/virtio2/block/vda"), vec![], Transport::Virtio, false),
        ("virtual/block/loop7".into(), vec![], Transport::Loop, true),
        ("virtual/block/nbd0".into(), vec![], Transport::Nbd, true),
        ("virtual/block/zram0".into(), vec![], Transport::Other, false),
    ]) {
        machine.disk(&place, &format!("1:{minor}"), 2048, &files);
        let block = machine.block(1, minor);
        assert_eq!((block.drive.transport, block.removable), (transport, removable), "{place}");
    }
    let all = Facts::all(&machine.roots).expect("listed");
    assert_eq!(all.len(), 9);
}

#[test]
fn drives_are_listed_by_port() {
    let machine = with_stick();
    machine.disk("pci0000:00/0000:00:14.0/usb1/1-1/host5/block/sdc", "8:32", 2048, &[]);
    machine.disk("virtual/block/loop0", "7:0", 2048, &[]);
    let port = machine.path("dev/disk/by-path/pci-0000:00:14.0-usb-0:1:1.0-scsi-0:0:0:0");
    symlink("../../sdc", port).expect("linked");
    let names: Vec<_> = Facts::all(&machine.roots).expect("listed").into_iter().map(|facts| facts.path).collect();
    assert_eq!(names, ["sdc", "sdb", "loop0"].map(|name| machine.roots.dev.join(name)));
}

#[test]
fn what_is_no_drive_is_told_apart() {
    let folder = tempfile::tempdir().expect("temp folder");
    let file = folder.path().join("file");
    fs::write(&file, [0; 600]).expect("written");
    let link = folder.path().join("link");
    symlink(&file, &link).expect("linked");
    let gather = |path: &Path| Facts::gather(path, &Roots::default()).expect("gathered");
    assert_eq!(gather(&folder.path().join("none")).kind, Kind::Missing);
    assert_eq!(gather(folder.path()).kind, Kind::Other("a folder"));
    assert!(matches!(gather(Path::new("/dev/zero")).kind, Kind::Other(_)));
    let facts = gather(&link);
    assert_eq!((facts.named.as_path(), facts.path), (link.as_path(), file.canonicalize().expect("there")));
    assert_eq!(facts.kind, gather(&file).kind);
}

#[test]
fn a_file_holds_something_unless_it_is_empty_or_one_hole() {
    let folder = tempfile::tempdir().expect("temp folder");
    let path = folder.path().join("file");
    let file = fs::File::create(&path).expect("made");
    let holds = || match Facts::gather(&path, &Roots::default()).expect("gathered").kind {
        Kind::File(file) => file.holds_data,
        other => panic!("{other:?}"),
    };
    assert!(!holds());
    file.set_len(MIB).expect("sized");
    assert!(!holds());
    fs::write(&path, b"notes").expect("written");
    assert!(holds());
}
