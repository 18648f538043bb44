//! Appends sections to a PE32+ file, as a UKI needs it. Field names and offsets are those of Microsoft's PE format.
//!
//! It refuses a file without room in its header: moving what is there would break what points at it.

pub mod stretch;

use crate::board::Architecture;

const OPTIONAL_MAGIC_PE32_PLUS: u16 = 0x20b;
const SECTION_HEADER: usize = 40;
/// PE32+ fields up to the data directories.
const LEAST_OPTIONAL_HEADER: usize = 112;
/// Files of ours are aligned far less; larger numbers are damage.
const MOST_ALIGNMENT: u32 = 1 << 16;
/// IMAGE_SCN_CNT_INITIALIZED_DATA | IMAGE_SCN_MEM_READ.
const DATA_READ_ONLY: u32 = 0x4000_0040;

/// Why sections cannot be appended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeError {
    /// Not a PE32+ file, or cut short.
    #[error("cannot use {name}: {reason}")]
    NotPe {
        /// Which file.
        name: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// For another processor.
    #[error("cannot use {name}: it is for {found}, the board is {expected}")]
    Architecture {
        /// Which file.
        name: String,
        /// The file's.
        found: String,
        /// The board's.
        expected: Architecture,
    },
    /// The header has no room for another section.
    #[error("cannot add section {section} to {name}: its header has room for {room} more sections")]
    NoRoom {
        /// Which file.
        name: String,
        /// The first section that found no room.
        section: String,
        /// How many would fit.
        room: usize,
    },
    /// PE ends at 4 GiB.
    #[error("cannot add section {section} to {name}: the file would pass 4 GiB")]
    Large {
        /// Which file.
        name: String,
        /// The section.
        section: String,
    },
}

/// A section to append.
#[derive(Debug, Clone, Copy)]
pub struct Section<'a> {
    /// At most eight bytes, such as `.linux`.
    pub name: &'a str,
    /// Content.
    pub bytes: &'a [u8],
}

/// Where things are in a PE32+ file.
struct Header {
    count_at: usize,
    optional: usize,
    table: usize,
    count: usize,
    section_alignment: u32,
    file_alignment: u32,
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2).map(|b| u16::from_le_bytes([b[0], b[1]]))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}

fn put(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// Checks that a file is PE for an architecture; `name` is for the message.
pub fn check_architecture(name: &str, bytes: &[u8], expected: Architecture) -> Result<(), PeError> {
    let machine = find_pe(bytes).and_then(|pe| u16_at(bytes, pe + 4)).map_err_pe(name, "it is not a PE file")?;
    let found = match machine {
        0x8664 => Architecture::X86_64.to_string(),
        0xaa64 => Architecture::Aarch64.to_string(),
        0x014c => "i386".to_owned(),
        other => format!("PE machine {other:#06x}"),
    };
    if found == expected.as_str() { Ok(()) } else { Err(PeError::Architecture { name: name.to_owned(), found, expected }) }
}

trait OrNotPe<T> {
    fn map_err_pe(self, name: &str, reason: &'static str) -> Result<T, PeError>;
}

impl<T> OrNotPe<T> for Option<T> {
    fn map_err_pe(self, name: &str, reason: &'static str) -> Result<T, PeError> {
        self.ok_or_else(|| PeError::NotPe { name: name.to_owned(), reason })
    }
}

/// Offset of the PE signature.
fn find_pe(bytes: &[u8]) -> Option<usize> {
    let pe = bytes.starts_with(b"MZ").then(|| u32_at(bytes, 0x3c)).flatten()? as usize;
    (bytes.get(pe..pe.checked_add(4)?)? == b"PE\0\0").then_some(pe)
}

impl Header {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let pe = find_pe(bytes)?;
        let optional = pe + 24;
        if u16_at(bytes, optional)? != OPTIONAL_MAGIC_PE32_PLUS {
            return None;
        }
        let count = usize::from(u16_at(bytes, pe + 6)?);
        let optional_bytes = Some(usize::from(u16_at(bytes, pe + 20)?)).filter(|bytes| *bytes >= LEAST_OPTIONAL_HEADER)?;
        let table = optional + optional_bytes;
        bytes.get(..table + count * SECTION_HEADER)?;
        let alignment = |at| u32_at(bytes, at).filter(|n| n.is_power_of_two() && *n <= MOST_ALIGNMENT);
        let section_alignment = alignment(optional + 32)?;
        let file_alignment = alignment(optional + 36)?;
        Some(Self { count_at: pe + 6, optional, table, count, section_alignment, file_alignment })
    }

    /// First byte after the section table that belongs to something else.
    fn room_ends(&self, bytes: &[u8]) -> usize {
        let raw = (0..self.count).filter_map(|n| u32_at(bytes, self.table + n * SECTION_HEADER + 20)).filter(|at| *at != 0);
        let headers = u32_at(bytes, self.optional + 60);
        raw.chain(headers).min().unwrap_or(0) as usize
    }

    /// First free address in memory.
    fn next_address(&self, bytes: &[u8]) -> u32 {
        let ends = (0..self.count).filter_map(|n| {
            let at = self.table + n * SECTION_HEADER;
            u32_at(bytes, at + 12)?.checked_add(u32_at(bytes, at + 8)?)
        });
        ends.max().unwrap_or(0)
    }
}

/// The file with `sections` after its own, in their order. Any signature over the old file must be gone before.
pub fn append(name: &str, file: &[u8], sections: &[Section<'_>]) -> Result<Vec<u8>, PeError> {
    let header = Header::parse(file).map_err_pe(name, "it is not a PE32+ file, or it is cut short")?;
    let room = header.room_ends(file).saturating_sub(header.table) / SECTION_HEADER;
    let room = room.saturating_sub(header.count);
    if let Some(section) = sections.get(room) {
        return Err(PeError::NoRoom { name: name.to_owned(), section: section.name.to_owned(), room });
    }
    let mut out = file.to_vec();
    let mut address = header.next_address(file);
    for (n, section) in sections.iter().enumerate() {
        let at = header.table + (header.count + n) * SECTION_HEADER;
        address = add_section(&mut out, &header, at, address, section)
            .ok_or_else(|| PeError::Large { name: name.to_owned(), section: section.name.to_owned() })?;
    }
    let count = (header.count + sections.len()) as u16;
    out[header.count_at..header.count_at + 2].copy_from_slice(&count.to_le_bytes());
    let image_size = address.checked_next_multiple_of(header.section_alignment);
    let image_size = image_size.map_err_pe(name, "its sections reach beyond 4 GiB")?;
    put(&mut out, header.optional + 56, image_size);
    put(&mut out, header.optional + 64, 0); // CheckSum: not used by firmware
    Ok(out)
}

/// Writes one section and its header; gives the address after it, or nothing when it passes 4 GiB.
fn add_section(out: &mut Vec<u8>, header: &Header, at: usize, address: u32, section: &Section<'_>) -> Option<u32> {
    let size = u32::try_from(section.bytes.len()).ok()?;
    let address = address.checked_next_multiple_of(header.section_alignment)?;
    out.resize(out.len().next_multiple_of(header.file_alignment as usize), 0);
    let raw_at = u32::try_from(out.len()).ok()?;
    let raw_size = size.checked_next_multiple_of(header.file_alignment)?;
    raw_at.checked_add(raw_size)?;
    out.extend_from_slice(section.bytes);
    out.resize(raw_at as usize + raw_size as usize, 0);
    let mut name = [0; 8];
    let length = section.name.len().min(8);
    name[..length].copy_from_slice(&section.name.as_bytes()[..length]);
    out[at..at + 8].copy_from_slice(&name);
    out[at + 8..at + SECTION_HEADER].fill(0);
    put(out, at + 8, size);
    put(out, at + 12, address);
    put(out, at + 16, raw_size);
    put(out, at + 20, raw_at);
    put(out, at + 36, DATA_READ_ONLY);
    address.checked_add(size)?.checked_next_multiple_of(header.section_alignment)
}

#[cfg(test)]
pub(crate) mod tests {
    use object::{Object as _, ObjectSection as _};
    use proptest::prelude::*;

    use super::*;

    /// A minimal PE32+ file with one section and room in its header for `room` more.
    pub(crate) fn stub(room: usize, machine: u16) -> Vec<u8> {
        let (pe, optional, size) = (0x80, 0x98, 240);
        let table = optional + size;
        let headers = (table + SECTION_HEADER * (room + 1)) as u32;
        let mut file = vec![0; headers.next_multiple_of(512) as usize];
        file[..2].copy_from_slice(b"MZ");
        put(&mut file, 0x3c, pe as u32);
        file[pe..pe + 4].copy_from_slice(b"PE\0\0");
        file[pe + 4..pe + 6].copy_from_slice(&machine.to_le_bytes());
        file[pe + 6] = 1;
        file[pe + 20..pe + 22].copy_from_slice(&(size as u16).to_le_bytes());
        file[optional..optional + 2].copy_from_slice(&OPTIONAL_MAGIC_PE32_PLUS.to_le_bytes());
        put(&mut file, optional + 32, 4096);
        put(&mut file, optional + 36, 512);
        put(&mut file, optional + 60, headers);
        put(&mut file, optional + 108, 16); // NumberOfRvaAndSizes
        let raw_at = file.len() as u32;
        file[table..table + 5].copy_from_slice(b".text");
        put(&mut file, table + 8, 3);
        put(&mut file, table + 12, 4096);
        put(&mut file, table + 16, 512);
        put(&mut file, table + 20, raw_at);
        file.resize(file.len() + 512, 0x90);
        file
    }

    proptest! {
        #[test]
        fn a_damaged_file_never_ends_the_program(at in 0usize..900, bytes in prop::collection::vec(any::<u8>(), 1..9), cut in 0usize..1600) {
            let mut file = stub(4, 0x8664);
            let end = (at + bytes.len()).min(file.len());
            file[at..end].copy_from_slice(&bytes[..end - at]);
            file.truncate(cut.max(1));
            let _ = check_architecture("stub", &file, Architecture::X86_64);
            if let Ok(out) = append("stub", &file, &[Section { name: ".linux", bytes: b"x" }]) {
                let _ = super::super::uki::read(&out);
            }
        }
    }

    #[test]
    fn appended_sections_read_back_in_order() {
        let sections = [Section { name: ".cmdline", bytes: b"quiet" }, Section { name: ".initrd", bytes: &[5; 5000] }];
        let out = append("stub", &stub(4, 0x8664), &sections).expect("appended");
        let file = object::read::pe::PeFile64::parse(out.as_slice()).expect("PE");
        let read: Vec<_> = file.sections().map(|s| (s.name().expect("name").to_owned(), s.address(), s.size())).collect();
        assert_eq!(read, [(".text".into(), 4096, 3), (".cmdline".into(), 8192, 5), (".initrd".into(), 12_288, 5000)]);
        let cmdline = file.section_by_name(".cmdline").expect("there").data().expect("read");
        assert!(cmdline.starts_with(b"quiet"));
        assert_eq!(out.len() % 512, 0);
    }

    #[test]
    fn a_full_header_is_refused_not_overwritten() {
        let sections = [Section { name: ".a", bytes: b"1" }, Section { name: ".b", bytes: b"2" }];
        let error = append("stub", &stub(1, 0x8664), &sections).expect_err("no room");
        assert_eq!(error, PeError::NoRoom { name: "stub".into(), section: ".b".into(), room: 1 });
    }

    #[test]
    fn a_cut_or_foreign_file_is_refused() {
        let whole = stub(4, 0x8664);
        for end in [0, 1, 63, 0x83, 0x9a, 300] {
            assert!(append("stub", &whole[..end], &[]).is_err(), "{end}");
        }
        check_architecture("stub", &whole, Architecture::X86_64).expect("the board's");
        let error = check_architecture("stub", &whole, Architecture::Aarch64).expect_err("another's").to_string();
        assert_eq!(error, "cannot use stub: it is for x86_64, the board is aarch64");
        assert!(check_architecture("stub", b"#!", Architecture::X86_64).is_err());
    }
}
