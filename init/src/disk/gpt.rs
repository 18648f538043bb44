//! The GUID partition table, read and written whole: bounded, so that a hostile disk costs a refusal and nothing else.
//!
//! Pure but for [`ReadAt`]. It keeps what it does not understand (attributes, foreign partitions) as it was.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use machine_config::disk::{Partition, SECTOR_BYTES};
use uuid::Uuid;

/// Entries in every table this project writes or accepts.
pub const ENTRIES: usize = 128;
const ENTRY_BYTES: usize = 128;
/// Sectors of the entry array.
pub const ARRAY_SECTORS: u64 = (ENTRIES * ENTRY_BYTES) as u64 / SECTOR_BYTES;
const HEADER_BYTES: usize = 92;
const SIGNATURE: &[u8; 8] = b"EFI PART";
const REVISION: u32 = 0x0001_0000;

/// Where sectors are read from: a block device, or memory in tests.
pub trait ReadAt {
    /// Fills the buffer from this byte offset.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

impl ReadAt for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(buffer, offset)
    }
}

impl<T: ReadAt + ?Sized> ReadAt for &T {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        (**self).read_at(buffer, offset)
    }
}

/// Why there is no table to be read.
#[derive(Debug, thiserror::Error)]
pub enum GptError {
    /// The device does not answer.
    #[error("cannot read sector {lba}")]
    Read {
        /// Which sector.
        lba: u64,
        /// Why.
        source: io::Error,
    },
    /// Neither copy is a table.
    #[error("no GUID partition table, neither at its place nor at the end of the disk")]
    None,
}

/// One used entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is for.
    pub type_guid: Uuid,
    /// What it is.
    pub guid: Uuid,
    /// First sector.
    pub first: u64,
    /// Last sector, inclusive.
    pub last: u64,
    /// Kept as found.
    pub attributes: u64,
    /// Its name.
    pub name: String,
}

impl Entry {
    /// Its length.
    pub fn sectors(&self) -> u64 {
        self.last - self.first + 1
    }

    /// Byte offset of its first sector.
    pub fn offset(&self) -> u64 {
        self.first * SECTOR_BYTES
    }

    /// Its length in bytes.
    pub fn bytes(&self) -> u64 {
        self.sectors() * SECTOR_BYTES
    }
}

/// A table: the disk's GUID and its entries by number (from 1, as the kernel counts).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The disk's GUID.
    pub disk_guid: Uuid,
    /// By partition number less one; none: unused.
    pub entries: Vec<Option<Entry>>,
}

impl Table {
    /// The partition of this kind and its number.
    pub fn find(&self, partition: Partition) -> Option<(u32, &Entry)> {
        self.used().find(|(_, entry)| entry.type_guid == partition.type_guid())
    }

    /// Every used entry with its number.
    pub fn used(&self) -> impl Iterator<Item = (u32, &Entry)> {
        (1..).zip(&self.entries).filter_map(|(number, entry)| Some((number, entry.as_ref()?)))
    }

    /// The sector after the last used one.
    pub fn end(&self) -> u64 {
        self.used().map(|(_, entry)| entry.last + 1).max().unwrap_or(0)
    }
}

/// A table as found, and how whole its two copies are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The table.
    pub table: Table,
    /// Sectors of the disk.
    pub sectors: u64,
    /// Both copies are intact, equal, and the second lies at the very end of the disk.
    pub whole: bool,
    /// The protective MBR, sector 0.
    pub mbr: Vec<u8>,
}

struct Copy {
    table: Table,
    other_lba: u64,
}

/// Reads the table; the copy at the end of the disk serves when the first is damaged.
pub fn read(disk: &impl ReadAt, sectors: u64) -> Result<Found, GptError> {
    let primary = read_copy(disk, 1, sectors)?;
    let backup = read_copy(disk, sectors.saturating_sub(1), sectors)?;
    let whole = match (&primary, &backup) {
        (Some(first), Some(second)) => first.table == second.table && first.other_lba == sectors - 1,
        (Some(_), None) | (None, Some(_)) | (None, None) => false,
    };
    let table = primary.or(backup).ok_or(GptError::None)?.table;
    Ok(Found { table, sectors, whole, mbr: read_sectors(disk, 0, 1)? })
}

fn read_sectors(disk: &impl ReadAt, lba: u64, count: u64) -> Result<Vec<u8>, GptError> {
    let mut buffer = vec![0; usize::try_from(count * SECTOR_BYTES).expect("a few sectors")];
    disk.read_at(&mut buffer, lba * SECTOR_BYTES).map_err(|source| GptError::Read { lba, source })?;
    Ok(buffer)
}

/// One copy, or none when what lies there is not an intact table.
fn read_copy(disk: &impl ReadAt, lba: u64, sectors: u64) -> Result<Option<Copy>, GptError> {
    if lba == 0 || lba >= sectors {
        return Ok(None);
    }
    let header = read_sectors(disk, lba, 1)?;
    let Some((disk_guid, other_lba, array_lba, array_crc)) = parse_header(&header, lba) else { return Ok(None) };
    if array_lba.checked_add(ARRAY_SECTORS).is_none_or(|end| end > sectors) {
        return Ok(None);
    }
    let array = read_sectors(disk, array_lba, ARRAY_SECTORS)?;
    if crc32fast::hash(&array) != array_crc {
        return Ok(None);
    }
    let entries: Option<Vec<_>> = array.chunks_exact(ENTRY_BYTES).map(|entry| parse_entry(entry, sectors)).collect();
    Ok(entries.map(|entries| Copy { table: Table { disk_guid, entries }, other_lba }))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn uuid_at(bytes: &[u8], at: usize) -> Uuid {
    Uuid::from_bytes_le(bytes[at..at + 16].try_into().expect("sixteen bytes"))
}

/// UEFI 2.10, table 5.5. Only the form this project writes is accepted: 128 entries of 128 bytes.
fn parse_header(sector: &[u8], lba: u64) -> Option<(Uuid, u64, u64, u32)> {
    let mut unsummed = sector[..HEADER_BYTES].to_vec();
    unsummed[16..20].fill(0);
    let sound = sector.starts_with(SIGNATURE)
        && u32_at(sector, 8) == REVISION
        && u32_at(sector, 12) as usize == HEADER_BYTES
        && u32_at(sector, 16) == crc32fast::hash(&unsummed)
        && u64_at(sector, 24) == lba
        && u32_at(sector, 80) as usize == ENTRIES
        && u32_at(sector, 84) as usize == ENTRY_BYTES;
    sound.then(|| (uuid_at(sector, 56), u64_at(sector, 32), u64_at(sector, 72), u32_at(sector, 88)))
}

/// An unused entry is `Some(None)`; one that cannot be right is `None`.
#[allow(clippy::option_option, reason = "unused and impossible are different answers")]
fn parse_entry(bytes: &[u8], sectors: u64) -> Option<Option<Entry>> {
    let type_guid = uuid_at(bytes, 0);
    if type_guid.is_nil() {
        return Some(None);
    }
    let (first, last) = (u64_at(bytes, 32), u64_at(bytes, 40));
    if first == 0 || last < first || last >= sectors {
        return None;
    }
    let units: Vec<u16> = bytes[56..].chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    let name = String::from_utf16_lossy(units.split(|unit| *unit == 0).next().unwrap_or_default());
    Some(Some(Entry { type_guid, guid: uuid_at(bytes, 16), first, last, attributes: u64_at(bytes, 48), name }))
}

/// The bytes of both copies for a disk of this many sectors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// Sector 1.
    pub primary_header: Vec<u8>,
    /// Sectors 2 to 33, and again before the last sector.
    pub array: Vec<u8>,
    /// The last sector.
    pub backup_header: Vec<u8>,
}

/// Encodes a table for a disk of `sectors`.
pub fn encode(table: &Table, sectors: u64) -> Encoded {
    let mut array: Vec<u8> = table.entries.iter().flat_map(|entry| encode_entry(entry.as_ref())).collect();
    array.resize(ENTRIES * ENTRY_BYTES, 0);
    let header = |lba, other, array_lba| encode_header(table.disk_guid, lba, other, array_lba, sectors, crc32fast::hash(&array));
    Encoded {
        primary_header: header(1, sectors - 1, 2),
        backup_header: header(sectors - 1, 1, sectors - 1 - ARRAY_SECTORS),
        array,
    }
}

/// The last sector a partition may use.
pub fn last_usable(sectors: u64) -> u64 {
    sectors - ARRAY_SECTORS - 2
}

fn encode_header(disk: Uuid, lba: u64, other: u64, array_lba: u64, sectors: u64, array_crc: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(512);
    bytes.extend(SIGNATURE);
    bytes.extend(REVISION.to_le_bytes());
    bytes.extend((HEADER_BYTES as u32).to_le_bytes());
    bytes.extend([0; 8]);
    for value in [lba, other, 2 + ARRAY_SECTORS, last_usable(sectors)] {
        bytes.extend(value.to_le_bytes());
    }
    bytes.extend(disk.to_bytes_le());
    bytes.extend(array_lba.to_le_bytes());
    for value in [ENTRIES as u32, ENTRY_BYTES as u32, array_crc] {
        bytes.extend(value.to_le_bytes());
    }
    let sum = crc32fast::hash(&bytes);
    bytes[16..20].copy_from_slice(&sum.to_le_bytes());
    bytes.resize(SECTOR_BYTES as usize, 0);
    bytes
}

fn encode_entry(entry: Option<&Entry>) -> [u8; ENTRY_BYTES] {
    let mut bytes = [0; ENTRY_BYTES];
    if let Some(entry) = entry {
        bytes[..16].copy_from_slice(&entry.type_guid.to_bytes_le());
        bytes[16..32].copy_from_slice(&entry.guid.to_bytes_le());
        bytes[32..40].copy_from_slice(&entry.first.to_le_bytes());
        bytes[40..48].copy_from_slice(&entry.last.to_le_bytes());
        bytes[48..56].copy_from_slice(&entry.attributes.to_le_bytes());
        for (place, unit) in bytes[56..].chunks_exact_mut(2).zip(entry.name.encode_utf16().take(35)) {
            place.copy_from_slice(&unit.to_le_bytes());
        }
    }
    bytes
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// A table as imager leaves it: ESP, SEED and RUNTIME-A, ending at `image_sectors`.
    pub(crate) fn image_table() -> Table {
        let entry = |partition: Partition, first, sectors| {
            Some(Entry {
                type_guid: partition.type_guid(),
                guid: Uuid::from_u128(u128::from(first) + 1),
                first,
                last: first + sectors - 1,
                attributes: 0,
                name: partition.name().to_owned(),
            })
        };
        let mut entries = vec![None; ENTRIES];
        entries[0] = entry(Partition::Esp, 2048, 4096);
        entries[1] = entry(Partition::Seed, 6144, 2048);
        entries[2] = entry(Partition::RuntimeA, 8192, 8192);
        Table { disk_guid: Uuid::from_u128(7), entries }
    }

    /// A disk in memory that keeps only the sectors that were written.
    #[derive(Clone)]
    pub(crate) struct MemoryDisk {
        pub(crate) sectors: u64,
        written: BTreeMap<u64, Vec<u8>>,
    }

    impl MemoryDisk {
        pub(crate) fn blank(sectors: u64) -> Self {
            Self { sectors, written: BTreeMap::new() }
        }

        /// Writes whole sectors.
        pub(crate) fn put(&mut self, lba: u64, bytes: &[u8]) {
            for (lba, sector) in (lba..).zip(bytes.chunks(512)) {
                assert!(lba < self.sectors, "a write past the end");
                self.written.insert(lba, sector.to_vec());
            }
        }

        fn flip(&mut self, lba: u64, at: usize) {
            self.written.get_mut(&lba).expect("was written")[at] ^= 1;
        }
    }

    impl ReadAt for MemoryDisk {
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
            for (lba, chunk) in (offset / 512..).zip(buffer.chunks_mut(512)) {
                if lba >= self.sectors {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                match self.written.get(&lba) {
                    Some(sector) => chunk.copy_from_slice(sector),
                    None => chunk.fill(0),
                }
            }
            Ok(())
        }
    }

    /// A disk of `sectors` that an image of `image_sectors` was written to.
    pub(crate) fn flashed_disk(image_sectors: u64, sectors: u64) -> MemoryDisk {
        let mut disk = MemoryDisk::blank(sectors);
        let encoded = encode(&image_table(), image_sectors);
        let mut put = |lba: u64, bytes: &[u8]| disk.put(lba, bytes);
        let mut mbr = vec![0; 512];
        mbr[446 + 4] = 0xee;
        mbr[446 + 8..446 + 12].copy_from_slice(&1_u32.to_le_bytes());
        mbr[446 + 12..446 + 16].copy_from_slice(&u32::try_from(image_sectors - 1).expect("small").to_le_bytes());
        mbr[510..].copy_from_slice(&[0x55, 0xaa]);
        put(0, &mbr);
        put(1, &encoded.primary_header);
        put(2, &encoded.array);
        put(image_sectors - 1 - ARRAY_SECTORS, &encoded.array);
        put(image_sectors - 1, &encoded.backup_header);
        disk
    }

    #[test]
    fn a_table_is_read_as_it_was_written() {
        let disk = flashed_disk(20_000, 20_000);
        let found = read(&disk, 20_000).expect("a table");
        assert_eq!(found.table, image_table());
        assert!(found.whole);
        assert!(!read(&flashed_disk(20_000, 30_000), 30_000).expect("a table").whole, "the second copy is not at the end");
    }

    #[test]
    fn a_damaged_first_copy_falls_back_to_the_second() {
        for lba in [1, 2, 33] {
            let mut disk = flashed_disk(20_000, 20_000);
            disk.flip(lba, 60);
            let found = read(&disk, 20_000).expect("the second copy");
            assert_eq!(found.table, image_table());
            assert!(!found.whole);
        }
    }

    #[test]
    fn what_is_no_table_is_refused() {
        assert!(matches!(read(&MemoryDisk::blank(100), 100), Err(GptError::None)));
        assert!(matches!(read(&MemoryDisk::blank(100), 1), Err(GptError::None)));
        assert!(matches!(read(&MemoryDisk::blank(10), 100), Err(GptError::Read { .. })));
    }

    #[test]
    fn a_header_with_absurd_numbers_is_refused() {
        let mut disk = flashed_disk(20_000, 20_000);
        for (at, value) in [(72, u64::MAX), (80, u64::MAX)] {
            let mut header = vec![0; 512];
            disk.read_at(&mut header, 512).expect("in memory");
            header[at..at + 8].copy_from_slice(&value.to_le_bytes());
            header[16..20].fill(0);
            let sum = crc32fast::hash(&header[..HEADER_BYTES]);
            header[16..20].copy_from_slice(&sum.to_le_bytes());
            disk.put(1, &header);
            assert!(!read(&disk, 20_000).expect("the second copy").whole);
        }
    }
}
