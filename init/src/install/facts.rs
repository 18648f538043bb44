//! The disks of the machine: what they are, what lies on them, and whether somebody uses them. Looks, and changes nothing.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use machine_config::Digest;
use machine_config::disk::{Partition, SECTOR_BYTES, SEED_BYTES};
use machine_config::schema::Transport;
use machine_config::seed::{self, Seed};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use uuid::Uuid;

use super::content::{self, Content, HEAD_BYTES, Installed, TAIL_BYTES};
use crate::devices::partition_path;
use crate::disk::gpt::{self, Entry, ReadAt, Table};
use crate::inventory::Roots;
use crate::state::Store;
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
}

/// Where an installed STATE is looked at.
const LOOKED_AT: &str = "/run/skerry/looked-at";

/// The names of all disks, in order, without looking at what is on them.
pub fn disk_names() -> Vec<String> {
    disks().map(|disk| disk.name).collect()
}

/// Every disk there is, by name. Optical and floppy drives are none, nor are the boot areas of an eMMC.
pub fn look() -> Vec<DiskFacts> {
    let started_from = started_from(Path::new("/sys/firmware/efi/efivars"));
    disks().map(|disk| facts(disk, &started_from)).collect()
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
        content: content_of(&disk.name, disk.size_bytes, started_from),
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

fn content_of(name: &str, bytes: u64, started_from: &[Uuid]) -> Content {
    let path = Path::new("/dev").join(name);
    let looked = File::open(&path).and_then(|device| recognise(&device, name, bytes, started_from));
    looked.unwrap_or_else(|error| Content::Unreadable(error.to_string()))
}

/// What lies on a disk of this name and length.
pub(super) fn recognise(device: &impl ReadAt, name: &str, bytes: u64, started_from: &[Uuid]) -> io::Result<Content> {
    let edge = |most: usize| vec![0; usize::try_from(bytes).unwrap_or(usize::MAX).min(most)];
    let (mut head, mut tail) = (edge(HEAD_BYTES), edge(TAIL_BYTES));
    device.read_at(&mut head, 0)?;
    let tail_at = bytes - tail.len() as u64;
    device.read_at(&mut tail, tail_at)?;
    if content::is_unfinished(&head) {
        return Ok(Content::Unfinished);
    }
    // What goes to a stick is a disc as well, with a partition table of its own.
    if content::is_own_disc(&head) {
        return Ok(Content::Medium);
    }
    match gpt::read(device, bytes / SECTOR_BYTES) {
        Ok(found) => Ok(match content::of_table(&found.table, found.whole, started_from) {
            Content::Skerry(installed) => Content::Skerry(told_by(device, name, &found.table, installed.whole)),
            other => other,
        }),
        Err(gpt::GptError::None) => Ok(content::of_bytes(&head, &tail)),
        Err(gpt::GptError::Read { source, .. }) => Err(source),
    }
}

/// What an installation says of itself in SEED and STATE. What cannot be read is not there: it counts as another one's.
fn told_by(device: &impl ReadAt, name: &str, table: &Table, whole: bool) -> Installed {
    let seed = table.find(Partition::Seed).and_then(|(_, entry)| read_seed(device, entry));
    let state = table.find(Partition::State).map(|(number, _)| accepted(&partition_path(name, number)));
    let in_seed = seed.as_ref().and_then(|seed| seed.config.as_deref()).map(Digest::of);
    // STATE is made by the first start.
    let unstarted = if state.is_none() { seed.and_then(|seed| seed.identity) } else { None };
    Installed {
        whole,
        configs: in_seed.into_iter().chain(state.flatten()).collect(),
        unstarted: unstarted.map(|identity| identity.device_id()),
    }
}

fn read_seed(device: &impl ReadAt, entry: &Entry) -> Option<Seed> {
    let mut bytes = vec![0; usize::try_from(SEED_BYTES).expect("1 MiB")];
    device.read_at(&mut bytes, entry.offset()).ok()?;
    Some(seed::decode(&bytes).ok()?.seed)
}

/// What the system on that disk last accepted. Mounted for reading, without touching even its journal.
fn accepted(partition: &PathBuf) -> Option<Digest> {
    fs::create_dir_all(LOOKED_AT).ok()?;
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount(partition, LOOKED_AT, "ext4", flags, Some(c"noload")).ok()?;
    let record = Store::look_into(Path::new(LOOKED_AT)).accepted_record();
    // It stays mounted when that fails, and then the disk counts as used.
    let _ = unmount(LOOKED_AT, UnmountFlags::empty());
    Some(record.ok()??.digest)
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
    use crate::disk::gpt::tests::{MemoryDisk, flashed_disk, image_table};

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
    fn an_installation_that_never_started_says_which_device_it_would_be() {
        let identity = machine_config::IdentitySeed::new([7; 32]);
        let key = machine_config::SigningKey::from_bytes(&[1; 32]).verifying_key();
        let fleet =
            machine_config::FleetTrust { name: "acme".parse().expect("a name"), keys: vec![key.try_into().expect("strong")] };
        let (config, id) = (Some(b"x".to_vec()), identity.device_id());
        let seed = Seed { fleet, hub: None, join_token: None, device_name: None, config, identity: Some(identity) };
        let mut disk = flashed_disk(20_000, 20_000);
        disk.put(6144, &seed::encode(&seed).expect("fits"));
        let look = |disk: &MemoryDisk| recognise(disk, "none", 20_000 * 512, &[]).expect("readable");
        let expected = Installed { whole: true, configs: vec![Digest::of(b"x")], unstarted: Some(id) };
        assert_eq!(look(&disk), Content::Skerry(expected.clone()));
        let mut table = image_table();
        let mut state = table.entries[2].clone().expect("RUNTIME-A");
        state.type_guid = Partition::State.type_guid();
        table.entries[3] = Some(state);
        let encoded = gpt::encode(&table, 20_000);
        for (lba, bytes) in
            [(1, &encoded.primary_header), (2, &encoded.array), (19_967, &encoded.array), (19_999, &encoded.backup_header)]
        {
            disk.put(lba, bytes);
        }
        assert_eq!(look(&disk), Content::Skerry(Installed { unstarted: None, ..expected }));
    }

    #[test]
    fn a_disk_is_known_by_what_is_on_it() {
        let disk = tempfile::tempfile().expect("a temporary file");
        disk.set_len(1 << 20).expect("room");
        let look = || recognise(&disk, "none", 1 << 20, &[]).expect("readable");
        assert_eq!(look(), Content::Blank);
        disk.write_all_at(b"XFSB", 0).expect("room");
        assert_eq!(look(), Content::Other("an XFS file system".into()));
        disk.write_all_at(b"CD001", 0x8001).expect("room");
        disk.write_all_at(b"SKERRY", 0x8028).expect("room");
        assert_eq!(look(), Content::Medium);
        disk.write_all_at(content::MARK, 512).expect("room");
        assert_eq!(look(), Content::Unfinished);
    }
}
