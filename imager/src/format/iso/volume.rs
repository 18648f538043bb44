//! The descriptors of an ISO 9660 volume with an El Torito boot catalog, and its one folder. One block each, so that nothing needs to be planned.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

/// Bytes in a block of a disc.
pub(super) const BLOCK_BYTES: u64 = 2048;
const BLOCK: usize = BLOCK_BYTES as usize;

/// Numbers of the blocks that follow the system area.
const PRIMARY: u64 = 16;
const BOOT_RECORD: u64 = 17;
const TERMINATOR: u64 = 18;
const CATALOG: u64 = 19;
const PATHS_LITTLE: u64 = 20;
const PATHS_BIG: u64 = 21;
const ROOT: u64 = 22;
const README: u64 = 23;

const PATH_TABLE_BYTES: u32 = 10;
const CATALOG_BYTES: u64 = 64;
const PLATFORM_EFI: u8 = 0xef;
const BOOTABLE: u8 = 0x88;
/// UEFI takes one sector for "as long as it is".
const LOAD_SECTORS: u16 = 1;
const FOLDER: u8 = 2;

/// A file of the volume.
#[derive(Debug, Clone, Copy)]
pub(super) struct File {
    /// Its name, with `;1`.
    pub(super) name: &'static str,
    /// Its length.
    pub(super) bytes: u64,
}

/// What is on the volume.
#[derive(Debug, Clone, Copy)]
pub(super) struct Contents<'a> {
    /// What firmware boots.
    pub(super) boot: File,
    /// Where it lies.
    pub(super) boot_block: u64,
    /// For people; at most one block.
    pub(super) readme: &'a [u8],
}

/// What the volume says of itself.
#[derive(Debug, Clone)]
pub(super) struct Volume {
    /// At most 32 characters; what ISO 9660 does not allow becomes `_`.
    pub(super) volume_id: String,
    /// At most 128 characters.
    pub(super) application_id: String,
    /// Seconds since 1970.
    pub(super) time: u64,
    /// Its length.
    pub(super) blocks: u64,
}

impl Volume {
    /// The blocks from the first descriptor to the last file that is not booted.
    pub(super) fn descriptors(&self, contents: &Contents<'_>) -> Vec<u8> {
        let blocks = [
            (PRIMARY, self.primary()),
            (BOOT_RECORD, boot_record()),
            (TERMINATOR, descriptor(255)),
            (CATALOG, catalog(contents.boot_block as u32)),
            (PATHS_LITTLE, path_table(u16::to_le_bytes, u32::to_le_bytes)),
            (PATHS_BIG, path_table(u16::to_be_bytes, u32::to_be_bytes)),
            (ROOT, self.root(contents)),
            (README, contents.readme.to_vec()),
        ];
        let mut bytes = Vec::new();
        for (number, mut block) in blocks {
            debug_assert_eq!(number - PRIMARY, bytes.len() as u64 / BLOCK_BYTES);
            block.resize(BLOCK, 0);
            bytes.extend(block);
        }
        bytes
    }

    fn primary(&self) -> Vec<u8> {
        let mut block = descriptor(1);
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(8, &text("SKERRY", 32, is_a));
        put(40, &text(&self.volume_id, 32, is_d));
        put(80, &both_32(self.blocks as u32));
        put(120, &both_16(1)); // volumes in the set
        put(124, &both_16(1)); // number of this one
        put(128, &both_16(BLOCK_BYTES as u16));
        put(132, &both_32(PATH_TABLE_BYTES));
        put(140, &(PATHS_LITTLE as u32).to_le_bytes());
        put(148, &(PATHS_BIG as u32).to_be_bytes());
        put(156, &self.record(b"\0", ROOT, BLOCK_BYTES, FOLDER));
        put(190, &[b' '; 128 * 3]); // set, publisher, preparer: none named
        put(574, &text(&self.application_id, 128, is_a));
        put(702, &[b' '; 37 * 3]); // no files with copyright, abstract, bibliography
        for at in [813, 830] {
            put(at, &self.long_time());
        }
        for at in [847, 864] {
            put(at, b"0000000000000000\0"); // never expires, always effective
        }
        put(881, &[1]); // version of this structure
        block
    }

    /// The only folder. Its entries are in the order that ISO 9660 asks for.
    fn root(&self, contents: &Contents<'_>) -> Vec<u8> {
        let records = [
            self.record(b"\0", ROOT, BLOCK_BYTES, FOLDER),
            self.record(b"\x01", ROOT, BLOCK_BYTES, FOLDER),
            self.record(b"BOOT.CAT;1", CATALOG, CATALOG_BYTES, 0),
            self.record(contents.boot.name.as_bytes(), contents.boot_block, contents.boot.bytes, 0),
            self.record(b"README.TXT;1", README, contents.readme.len() as u64, 0),
        ];
        records.concat()
    }

    fn record(&self, name: &[u8], block: u64, bytes: u64, flags: u8) -> Vec<u8> {
        let mut record = vec![0, 0];
        record.extend(both_32(block as u32));
        record.extend(both_32(bytes as u32));
        record.extend(self.short_time());
        record.extend([flags, 0, 0]);
        record.extend(both_16(1));
        record.push(name.len() as u8);
        record.extend(name);
        record.resize(record.len().next_multiple_of(2), 0);
        record[0] = record.len() as u8;
        record
    }

    fn time(&self) -> DateTime {
        let time = i64::try_from(self.time).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
        Offset::UTC.to_datetime(time.unwrap_or(Timestamp::UNIX_EPOCH))
    }

    fn short_time(&self) -> [u8; 7] {
        let time = self.time();
        let year = u8::try_from(time.year() - 1900).unwrap_or(u8::MAX);
        let [month, day, hour, minute, second] =
            [time.month(), time.day(), time.hour(), time.minute(), time.second()].map(i8::cast_unsigned);
        [year, month, day, hour, minute, second, 0]
    }

    fn long_time(&self) -> Vec<u8> {
        let mut text = self.time().strftime("%Y%m%d%H%M%S00").to_string().into_bytes();
        text.push(0); // UTC
        text
    }
}

fn descriptor(kind: u8) -> Vec<u8> {
    let mut block = vec![0; BLOCK];
    block[0] = kind;
    block[1..7].copy_from_slice(b"CD001\x01");
    block
}

fn boot_record() -> Vec<u8> {
    let mut block = descriptor(0);
    block[7..7 + 23].copy_from_slice(b"EL TORITO SPECIFICATION");
    block[71..75].copy_from_slice(&(CATALOG as u32).to_le_bytes());
    block
}

/// The validation entry, whose words add up to zero, and the one entry there is.
fn catalog(boot_block: u32) -> Vec<u8> {
    let mut entry = vec![1, PLATFORM_EFI, 0, 0];
    entry.extend(b"SKERRY");
    entry.resize(30, 0);
    entry.extend([0x55, 0xaa]);
    let sum = entry.chunks(2).fold(0u16, |sum, word| sum.wrapping_add(u16::from_le_bytes([word[0], word[1]])));
    entry[28..30].copy_from_slice(&sum.wrapping_neg().to_le_bytes());
    entry.extend([BOOTABLE, 0, 0, 0, 0, 0]); // no emulation
    entry.extend(LOAD_SECTORS.to_le_bytes());
    entry.extend(boot_block.to_le_bytes());
    entry
}

/// The one folder's entry, in one byte order.
fn path_table(short: fn(u16) -> [u8; 2], long: fn(u32) -> [u8; 4]) -> Vec<u8> {
    let mut table = vec![1, 0];
    table.extend(long(ROOT as u32));
    table.extend(short(1));
    table.extend([0, 0]);
    table
}

fn both_16(number: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = (number.to_le_bytes(), number.to_be_bytes());
    [a, b, c, d]
}

fn both_32(number: u32) -> Vec<u8> {
    [number.to_le_bytes(), number.to_be_bytes()].concat()
}

/// Text of a fixed length, padded with blanks.
fn text(words: &str, length: usize, allowed: fn(char) -> bool) -> Vec<u8> {
    let upper = words.chars().map(|c| c.to_ascii_uppercase());
    let mut bytes: Vec<u8> = upper.map(|c| if allowed(c) { c as u8 } else { b'_' }).take(length).collect();
    bytes.resize(length, b' ');
    bytes
}

/// d-characters.
fn is_d(c: char) -> bool {
    c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'
}

/// a-characters.
fn is_a(c: char) -> bool {
    is_d(c) || " !\"%&'()*+,-./:;<=>?".contains(c)
}
