//! What lies on a disk, told by its first and last sectors. Pure: bytes in, an answer out.
//!
//! It knows partition tables and the marks of file systems, volume managers and arrays. Whether a disk with none of them is blank is `blank`'s to say.

use machine_config::disk::Partition;
use uuid::Uuid;

use super::installed::Installed;
use crate::disk::gpt::Table;

/// Bytes at the beginning that are looked at. The mark that lies furthest in, that of a ZFS pool, does so within 512 KiB.
pub(super) const HEAD_BYTES: usize = 1 << 20;

/// Bytes at the end that are looked at. Arrays that keep their mark there do so within 128 KiB.
pub(super) const TAIL_BYTES: usize = 1 << 20;

/// Stands in sector 1, where the table's header belongs, from an installation's first write to its last.
pub(super) const MARK: &[u8; 16] = b"SKERRY-HALF-DONE";

/// What lies on a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// No partition table, no known mark, and no data where it was looked at.
    Blank,
    /// An installation of Skerry that was cut off before it was whole. Nothing of worth is on it.
    Unfinished,
    /// An installation of Skerry.
    Skerry(Installed),
    /// The medium this system was started from.
    Medium,
    /// Something else; in words.
    Other(String),
    /// It cannot be read; in words.
    Unreadable(String),
}

/// Whether an installation began here and did not end. A first sector that is neither cleared nor that of a table like ours is still another's:
/// then the disk is what it looks like.
pub(super) fn is_unfinished(head: &[u8]) -> bool {
    let first = head.get(..512).unwrap_or_default();
    head.get(512..512 + MARK.len()) == Some(MARK) && (first.iter().all(|byte| *byte == 0) || is_protective(first))
}

/// An MBR whose only partitions say that another table holds.
fn is_protective(sector: &[u8]) -> bool {
    const GPT: u8 = 0xee;
    let mut kinds = sector[446..510].chunks_exact(16).map(|entry| entry[4]).filter(|kind| *kind != 0).peekable();
    sector[510..] == [0x55, 0xaa] && kinds.peek().is_some() && kinds.all(|kind| kind == GPT)
}

/// What a partition table says; of an installation only that it is one, and whether it is alone.
pub(super) fn of_table(table: &Table, started_from: &[Uuid]) -> Content {
    if table.used().any(|(_, entry)| started_from.contains(&entry.guid)) {
        return Content::Medium;
    }
    if table.find(Partition::Seed).is_some() && table.find(Partition::RuntimeA).is_some() {
        let shared = table.used().any(|(_, entry)| Partition::from_type_guid(entry.type_guid).is_none());
        return Content::Skerry(Installed { shared, ..Installed::default() });
    }
    match table.used().count() {
        0 => Content::Other("an empty partition table".to_owned()),
        1 => Content::Other("a partition table with one partition".to_owned()),
        count => Content::Other(format!("a partition table with {count} partitions")),
    }
}

/// What a disk without GUID partition table holds, if a mark says it.
pub(super) fn of_marks(head: &[u8], tail: &[u8]) -> Option<&'static str> {
    let known = SIGNATURES.iter().find(|signature| signature.is_in(head, tail)).map(|signature| signature.name);
    known.or_else(|| has_zfs(head).then_some("a ZFS pool")).or_else(|| old_table(head))
}

/// ISO 9660 whose volume is called SKERRY…: what imager makes.
pub(super) fn is_own_disc(head: &[u8]) -> bool {
    let descriptor = head.get(0x8000..0x8048).unwrap_or_default();
    descriptor.get(1..6) == Some(b"CD001") && descriptor[40..].starts_with(b"SKERRY")
}

/// Where a mark lies.
enum Place {
    /// From the beginning.
    Head(usize),
    /// Back from the end.
    Tail(usize),
}

struct Signature {
    place: Place,
    mark: &'static [u8],
    name: &'static str,
}

impl Signature {
    fn is_in(&self, head: &[u8], tail: &[u8]) -> bool {
        let bytes = match self.place {
            Place::Head(at) => head.get(at..),
            Place::Tail(back) => tail.len().checked_sub(back).and_then(|at| tail.get(at..)),
        };
        bytes.is_some_and(|bytes| bytes.starts_with(self.mark))
    }
}

const fn head(at: usize, mark: &'static [u8], name: &'static str) -> Signature {
    Signature { place: Place::Head(at), mark, name }
}

const fn tail(back: usize, mark: &'static [u8], name: &'static str) -> Signature {
    Signature { place: Place::Tail(back), mark, name }
}

/// The places and marks are those of the formats' own descriptions, as libblkid knows them.
const SIGNATURES: &[Signature] = &[
    head(0x438, &[0x53, 0xef], "an ext2, ext3 or ext4 file system"),
    head(0, b"XFSB", "an XFS file system"),
    head(0x1_0040, b"_BHRfS_M", "a Btrfs file system"),
    head(0x400, &[0x10, 0x20, 0xf5, 0xf2], "an F2FS file system"),
    head(0x1018, &[0xc6, 0x85, 0x73, 0xf6, 0x4e, 0x1a, 0x45, 0xca], "a bcache or bcachefs volume"),
    head(0x8001, b"CD001", "an ISO 9660 file system"),
    head(0x8001, b"NSR0", "a UDF file system"),
    head(0, b"hsqs", "a squashfs image"),
    head(0x400, &[0xe2, 0xe1, 0xf5, 0xe0], "an EROFS image"),
    head(3, b"NTFS    ", "an NTFS file system"),
    head(3, b"EXFAT   ", "an exFAT file system"),
    head(54, b"FAT", "a FAT file system"),
    head(82, b"FAT32", "a FAT file system"),
    head(0x400, b"H+", "an HFS+ file system"),
    head(0x400, b"HX", "an HFS+ file system"),
    head(32, b"NXSB", "an APFS container"),
    head(0xff6, b"SWAPSPACE2", "a swap area"),
    head(0xfff6, b"SWAPSPACE2", "a swap area"),
    head(0, b"LUKS\xba\xbe", "an encrypted volume (LUKS)"),
    head(3, b"-FVE-FS-", "an encrypted volume (BitLocker)"),
    head(0, b"LABELONE", "an LVM volume"),
    head(512, b"LABELONE", "an LVM volume"),
    head(1024, b"LABELONE", "an LVM volume"),
    head(1536, b"LABELONE", "an LVM volume"),
    head(0, b"verity\0\0", "a dm-verity tree"),
    head(0, &[0xfc, 0x4e, 0x2b, 0xa9], "a part of a RAID array (md)"),
    head(4096, &[0xfc, 0x4e, 0x2b, 0xa9], "a part of a RAID array (md)"),
    // Versions 1.0 and 0.90 lie at the last whole 4 KiB and 64 KiB with a gap behind; disks end on a 4 KiB boundary, and either 64 KiB may count.
    tail(8192, &[0xfc, 0x4e, 0x2b, 0xa9], "a part of a RAID array (md)"),
    tail(65_536, &[0xfc, 0x4e, 0x2b, 0xa9], "a part of a RAID array (md)"),
    tail(131_072, &[0xfc, 0x4e, 0x2b, 0xa9], "a part of a RAID array (md)"),
    tail(1024, b"Intel Raid ISM Cfg Sig. ", "a part of a RAID array (Intel)"),
    tail(512, &[0x11, 0xde, 0x11, 0xde], "a part of a RAID array (DDF)"),
    tail(512, b"EFI PART", "a damaged partition table"),
    head(512, b"EFI PART", "a damaged partition table"),
];

/// The first two ZFS labels, each of 256 KiB, keep their uberblocks in their second halves, one in each KiB at least.
fn has_zfs(head: &[u8]) -> bool {
    const MAGIC: u64 = 0x00ba_b10c;
    let blocks = head.get(128 << 10..512 << 10).unwrap_or_default().chunks_exact(1024);
    let magic = |block: &[u8]| u64::from_le_bytes(block[..8].try_into().expect("eight bytes"));
    blocks.map(magic).any(|found| found == MAGIC || found.swap_bytes() == MAGIC)
}

/// A partition table in the manner of 1983: a sector that ends as one, whether it names partitions or not.
fn old_table(head: &[u8]) -> Option<&'static str> {
    let sector = head.get(..512)?;
    let names_one = sector[446..510].chunks_exact(16).any(|entry| entry[4] != 0);
    let name = if names_one { "an MBR partition table" } else { "a boot sector, or an empty MBR partition table" };
    (sector[510..] == [0x55, 0xaa]).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::gpt::tests::image_table;

    fn blank() -> (Vec<u8>, Vec<u8>) {
        (vec![0; HEAD_BYTES], vec![0; TAIL_BYTES])
    }

    #[test]
    fn what_has_no_mark_has_no_name() {
        let (mut head, tail) = blank();
        assert_eq!(of_marks(&head, &tail), None);
        head.fill(0xff);
        assert_eq!(of_marks(&head, &vec![0xff; TAIL_BYTES]), None, "an erased disk");
        assert_eq!(of_marks(&[], &[]), None);
    }

    #[test]
    fn every_known_mark_is_found_where_it_lies() {
        for signature in SIGNATURES {
            let (mut head, mut tail) = blank();
            let place = match signature.place {
                Place::Head(at) => &mut head[at..],
                Place::Tail(back) => &mut tail[TAIL_BYTES - back..],
            };
            place[..signature.mark.len()].copy_from_slice(signature.mark);
            assert!(of_marks(&head, &tail).is_some(), "{}", signature.name);
        }
    }

    #[test]
    fn old_tables_and_pools_are_found() {
        let (mut head, tail) = blank();
        head[510..512].copy_from_slice(&[0x55, 0xaa]);
        assert_eq!(of_marks(&head, &tail), Some("a boot sector, or an empty MBR partition table"));
        head[446 + 16 + 4] = 0x83;
        assert_eq!(of_marks(&head, &tail), Some("an MBR partition table"));
        let (mut head, tail) = blank();
        head[(128 << 10) + 5 * 1024..][..8].copy_from_slice(&0x00ba_b10c_u64.to_be_bytes());
        assert_eq!(of_marks(&head, &tail), Some("a ZFS pool"));
    }

    #[test]
    fn the_medium_is_known_by_its_volume_or_its_partition() {
        let (mut head, tail) = blank();
        head[0x8001..0x8006].copy_from_slice(b"CD001");
        assert_eq!(of_marks(&head, &tail), Some("an ISO 9660 file system"));
        assert!(!is_own_disc(&head));
        head[0x8028..0x802e].copy_from_slice(b"SKERRY");
        assert!(is_own_disc(&head) && !is_own_disc(&[]));
        let table = image_table();
        let esp = table.entries[0].as_ref().expect("the ESP").guid;
        assert_eq!(of_table(&table, &[esp]), Content::Medium);
        assert_eq!(of_table(&table, &[]), Content::Skerry(Installed::default()));
    }

    #[test]
    fn another_systems_table_is_told_from_ours() {
        let mut table = image_table();
        table.entries[1] = None;
        assert_eq!(of_table(&table, &[]), Content::Other("a partition table with 2 partitions".into()));
        let mut shared = image_table();
        let mut entry = shared.entries[2].clone().expect("RUNTIME-A");
        entry.type_guid = Uuid::from_u128(0xebd0_a0a2);
        shared.entries[5] = Some(entry);
        assert!(matches!(of_table(&shared, &[]), Content::Skerry(installed) if installed.shared));
        table.entries.fill(None);
        assert_eq!(of_table(&table, &[]), Content::Other("an empty partition table".into()));
    }

    #[test]
    fn a_mark_behind_another_systems_first_sector_does_not_give_the_disk_free() {
        let (mut head, _) = blank();
        assert!(!is_unfinished(&head) && !is_unfinished(&[]));
        head[512..512 + MARK.len()].copy_from_slice(MARK);
        assert!(is_unfinished(&head), "cleared");
        head[510..512].copy_from_slice(&[0x55, 0xaa]);
        assert!(!is_unfinished(&head), "a boot sector");
        head[450] = 0xee;
        assert!(is_unfinished(&head), "a protective MBR");
        head[466] = 0x83;
        assert!(!is_unfinished(&head), "a partition beside it");
    }
}
