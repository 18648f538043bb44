//! The disks of the machine: what they are, what lies on them, and whether somebody uses them. Looks, and changes nothing.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use machine_config::Digest;
use machine_config::disk::SECTOR_BYTES;
use machine_config::schema::{DiskSelector, Transport};
use uuid::Uuid;

use super::content::{self, Content, HEAD_BYTES, TAIL_BYTES};
use super::installed::{look_into_state, told_by};
use super::{blank, choose};
use crate::disk::gpt::{self, ReadAt};
use crate::inventory::Roots;
use crate::sys;

/// Whether a disk may be written by anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nobody uses it.
    Free,
    /// The kernel or the disk itself refuses writes.
    ReadOnly,
    /// Something on it is mounted or claimed.
    InUse,
}

/// One disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskFacts {
    /// The kernel's name.
    pub name: String,
    /// As the disk tells it.
    pub model: String,
    /// As the disk tells it.
    pub serial: String,
    /// How it is attached, where that is known.
    pub transport: Option<Transport>,
    /// Its length.
    pub bytes: u64,
    /// Bytes of its sectors.
    pub sector_bytes: u64,
    /// Whether it may be written.
    pub access: Access,
    /// What lies on it.
    pub content: Content,
    /// Of its first and last bytes, for knowing it again; none: they cannot be read.
    pub edges: Option<Digest>,
}

/// The first and last bytes of a disk.
pub(super) struct Edges {
    pub(super) head: Vec<u8>,
    pub(super) tail: Vec<u8>,
}

impl Edges {
    pub(super) fn read(device: &impl ReadAt, bytes: u64) -> io::Result<Self> {
        let edge = |most: usize| vec![0; usize::try_from(bytes).unwrap_or(usize::MAX).min(most)];
        let (mut head, mut tail) = (edge(HEAD_BYTES), edge(TAIL_BYTES));
        device.read_at(&mut head, 0)?;
        let tail_at = bytes - tail.len() as u64;
        device.read_at(&mut tail, tail_at)?;
        Ok(Self { head, tail })
    }

    fn digest(&self) -> Digest {
        Digest::of(&[self.head.as_slice(), &self.tail].concat())
    }
}

/// The names of all disks, in order, without looking at what is on them.
pub fn disk_names() -> Vec<String> {
    disks().map(|disk| disk.name).collect()
}

/// Every disk there is, by name. Optical and floppy drives are none, nor are the boot areas of an eMMC. File systems are mounted only of those
/// that are meant.
pub fn look(selector: &DiskSelector) -> Vec<DiskFacts> {
    let started_from = started_from(Path::new("/sys/firmware/efi/efivars"));
    let mut found: Vec<DiskFacts> = disks().map(|disk| facts(disk, &started_from)).collect();
    for disk in found.iter_mut().filter(|disk| choose::is_meant(selector, disk)) {
        if let Content::Skerry(installed) = &mut disk.content {
            look_into_state(installed, &disk.name);
        }
    }
    found
}

/// A reader without a card in it has no bytes.
fn disks() -> impl Iterator<Item = api::v1::Disk> {
    Roots::system().disks("").into_iter().filter(|disk| disk.size_bytes > 0 && is_disk(&disk.name))
}

fn is_disk(name: &str) -> bool {
    let other_kind = ["sr", "fd", "mtdblock", "zram", "nbd"].iter().any(|prefix| name.starts_with(prefix));
    let boot_area = name.starts_with("mmcblk") && name.contains("boot");
    !other_kind && !boot_area
}

fn facts(disk: api::v1::Disk, started_from: &[Uuid]) -> DiskFacts {
    let sys = Path::new("/sys/block").join(&disk.name);
    let path = Path::new("/dev").join(&disk.name);
    let read_only = fs::read_to_string(sys.join("ro")).is_ok_and(|text| text.trim() == "1");
    let sector_bytes = File::open(&path).and_then(|device| sys::sector_bytes(&device)).unwrap_or(SECTOR_BYTES);
    let link = fs::canonicalize(&sys).unwrap_or_default();
    DiskFacts {
        transport: transport(&disk.name, &link.to_string_lossy()),
        bytes: disk.size_bytes,
        sector_bytes,
        access: if read_only { Access::ReadOnly } else { access(&path) },
        content: content_of(&path, disk.size_bytes, started_from),
        edges: File::open(&path).and_then(|device| Edges::read(&device, disk.size_bytes)).ok().map(|edges| edges.digest()),
        model: disk.model,
        serial: disk.serial,
        name: disk.name,
    }
}

/// By the kernel's name, and where several kinds share one by the way to the device through sysfs.
fn transport(name: &str, link: &str) -> Option<Transport> {
    if link.contains("/usb") {
        return Some(Transport::Usb);
    }
    let by_name = [("nvme", Transport::Nvme), ("mmcblk", Transport::Mmc), ("vd", Transport::Virtio)]
        .into_iter()
        .find(|(prefix, _)| name.starts_with(prefix));
    match by_name {
        Some((_, transport)) => Some(transport),
        None if name.starts_with("sd") && link.contains("/ata") => Some(Transport::Sata),
        None => name.starts_with("sd").then_some(Transport::Scsi),
    }
}

/// A whole disk opens exclusively only while neither it nor a part of it is mounted or claimed.
fn access(path: &Path) -> Access {
    match OpenOptions::new().read(true).custom_flags(libc::O_EXCL).open(path) {
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => Access::InUse,
        Ok(_) | Err(_) => Access::Free,
    }
}

fn content_of(path: &Path, bytes: u64, started_from: &[Uuid]) -> Content {
    let looked = File::open(path).and_then(|device| recognise(&device, bytes, started_from));
    looked.unwrap_or_else(|error| Content::Unreadable(error.to_string()))
}

/// What lies on a disk of this length.
pub(super) fn recognise(device: &impl ReadAt, bytes: u64, started_from: &[Uuid]) -> io::Result<Content> {
    let edges = Edges::read(device, bytes)?;
    if content::is_unfinished(&edges.head) {
        return Ok(Content::Unfinished);
    }
    // What goes to a stick is a disc as well, with a partition table of its own.
    if content::is_own_disc(&edges.head) {
        return Ok(Content::Medium);
    }
    match gpt::read(device, bytes / SECTOR_BYTES) {
        Ok(found) => Ok(match content::of_table(&found.table, started_from) {
            Content::Skerry(installed) => Content::Skerry(told_by(device, &found.table, installed.shared)),
            other => other,
        }),
        Err(gpt::GptError::None) => without_table(device, bytes, &edges),
        Err(gpt::GptError::Read { source, .. }) => Err(source),
    }
}

fn without_table(device: &impl ReadAt, bytes: u64, edges: &Edges) -> io::Result<Content> {
    if let Some(name) = content::of_marks(&edges.head, &edges.tail) {
        return Ok(Content::Other(name.to_owned()));
    }
    let data = blank::first_data(device, bytes, edges)?;
    Ok(data.map_or(Content::Blank, |at| Content::Other(format!("data of an unknown kind at byte {at}"))))
}

/// Whether an opened device is the disk that was judged: names go to other disks when disks come and go.
pub(super) fn is_same(judged: &DiskFacts, device: &File) -> io::Result<bool> {
    let named = fs::read_to_string(Path::new("/sys/block").join(&judged.name).join("dev"))?;
    let number = device.metadata()?.rdev();
    let is_named = named.trim() == format!("{}:{}", libc::major(number), libc::minor(number));
    let says_so = disks().find(|disk| disk.name == judged.name).is_some_and(|now| says_the_same(judged, &now));
    Ok(is_named && says_so && sys::device_bytes(device)? == judged.bytes && holds_the_same(judged, device)?)
}

fn says_the_same(judged: &DiskFacts, now: &api::v1::Disk) -> bool {
    (judged.bytes, &judged.serial, &judged.model) == (now.size_bytes, &now.serial, &now.model)
}

fn holds_the_same(judged: &DiskFacts, device: &impl ReadAt) -> io::Result<bool> {
    Ok(judged.edges == Some(Edges::read(device, judged.bytes)?.digest()))
}

/// The partitions that firmware and boot loader say they were started from (systemd's Boot Loader Interface).
fn started_from(efivars: &Path) -> Vec<Uuid> {
    const VENDOR: &str = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
    let variable = |name: &str| fs::read(efivars.join(format!("{name}-{VENDOR}"))).ok().and_then(|bytes| partition_guid(&bytes));
    ["StubDevicePartUUID", "LoaderDevicePartUUID"].into_iter().filter_map(variable).collect()
}

/// Four bytes of attributes, then text in UTF-16.
fn partition_guid(variable: &[u8]) -> Option<Uuid> {
    let units: Vec<u16> = variable.get(4..)?.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    let text = String::from_utf16(&units).ok()?;
    Uuid::parse_str(text.trim_end_matches('\0')).ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::disk::gpt::tests::flashed_disk;
    use crate::install::Installed;

    #[test]
    fn the_way_through_sysfs_tells_disks_of_one_name_apart() {
        let pci = "/sys/devices/pci0000:00/0000:00:";
        for (name, link, expected) in [
            ("nvme0n1", "04.0/nvme/nvme0/nvme0n1", Some(Transport::Nvme)),
            ("sda", "1f.2/ata1/host0/target0:0:0/0:0:0:0/block/sda", Some(Transport::Sata)),
            ("sdb", "14.0/usb1/1-1/1-1:1.0/host2/target2:0:0/2:0:0:0/block/sdb", Some(Transport::Usb)),
            ("sdc", "05.0/virtio2/host3/target3:0:0/3:0:0:0/block/sdc", Some(Transport::Scsi)),
            ("mmcblk0", "1a.0/mmc_host/mmc0/mmc0:0001/block/mmcblk0", Some(Transport::Mmc)),
            ("vda", "02.0/virtio1/block/vda", Some(Transport::Virtio)),
            ("xvda", "", None),
        ] {
            assert_eq!(transport(name, &format!("{pci}{link}")), expected, "{name}");
        }
    }

    #[test]
    fn what_is_no_disk_is_none() {
        for (name, expected) in
            [("nvme0n1", true), ("mmcblk0", true), ("sda", true), ("sr0", false), ("mmcblk0boot0", false), ("fd0", false)]
        {
            assert_eq!(is_disk(name), expected, "{name}");
        }
    }

    #[test]
    fn the_partition_this_was_started_from_is_read_from_the_firmwares_variable() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let guid = Uuid::from_u128(0x1234_5678_9abc_def0_1234_5678_9abc_def0);
        let text: Vec<u8> = format!("{guid:X}\0").encode_utf16().flat_map(u16::to_le_bytes).collect();
        let path = folder.path().join("StubDevicePartUUID-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f");
        fs::write(&path, [&[6, 0, 0, 0][..], &text].concat()).expect("writable");
        assert_eq!(started_from(folder.path()), [guid]);
        fs::write(&path, [6, 0, 0]).expect("writable");
        assert!(started_from(folder.path()).is_empty());
    }

    #[test]
    fn a_torn_table_is_an_installation_all_the_same() {
        for sectors in [20_000, 30_000] {
            let disk = flashed_disk(20_000, sectors);
            let found = recognise(&disk, sectors * SECTOR_BYTES, &[]).expect("readable");
            assert_eq!(found, Content::Skerry(Installed::default()), "{sectors}");
        }
    }

    #[test]
    fn another_disk_under_the_same_name_is_noticed() {
        let disk = flashed_disk(20_000, 20_000);
        let bytes = 20_000 * SECTOR_BYTES;
        let edges = Some(Edges::read(&disk, bytes).expect("readable").digest());
        let now = api::v1::Disk { size_bytes: bytes, serial: "S1".into(), model: "M".into(), ..Default::default() };
        let judged = DiskFacts { model: "M".into(), serial: "S1".into(), bytes, edges, ..judged_blank() };
        assert!(says_the_same(&judged, &now) && holds_the_same(&judged, &disk).expect("readable"));
        for other in [
            api::v1::Disk { size_bytes: bytes - 512, ..now.clone() },
            api::v1::Disk { serial: "S2".into(), ..now.clone() },
            api::v1::Disk { model: "N".into(), ..now },
        ] {
            assert!(!says_the_same(&judged, &other), "{other:?}");
        }
        for lba in [0, 19_999] {
            let mut other = disk.clone();
            other.put(lba, &[1; 512]);
            assert!(!holds_the_same(&judged, &other).expect("readable"), "sector {lba}");
        }
        assert!(!holds_the_same(&DiskFacts { edges: None, ..judged }, &disk).expect("readable"), "it was never read");
        assert!(is_same(&judged_blank(), &tempfile::tempfile().expect("a file")).is_err(), "it is gone");
    }

    fn judged_blank() -> DiskFacts {
        DiskFacts {
            name: String::new(),
            model: String::new(),
            serial: String::new(),
            transport: None,
            bytes: 0,
            sector_bytes: SECTOR_BYTES,
            access: Access::Free,
            content: Content::Blank,
            edges: None,
        }
    }

    #[test]
    fn a_disk_is_known_by_what_is_on_it() {
        let disk = tempfile::tempfile().expect("a temporary file");
        disk.set_len(1 << 20).expect("room");
        let look = || recognise(&disk, 1 << 20, &[]).expect("readable");
        assert_eq!(look(), Content::Blank);
        disk.write_all_at(b"x", 700_000).expect("room");
        assert_eq!(look(), Content::Other("data of an unknown kind at byte 700000".into()));
        disk.write_all_at(b"XFSB", 0).expect("room");
        assert_eq!(look(), Content::Other("an XFS file system".into()));
        disk.write_all_at(b"CD001", 0x8001).expect("room");
        disk.write_all_at(b"SKERRY", 0x8028).expect("room");
        assert_eq!(look(), Content::Medium);
        disk.write_all_at(content::MARK, 512).expect("room");
        assert_eq!(look(), Content::Medium, "the first sector is another system's");
        disk.write_all_at(&[0; 512], 0).expect("room");
        assert_eq!(look(), Content::Unfinished);
    }
}
