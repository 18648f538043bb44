//! What an ELF file needs to start: its machine, its interpreter, its shared libraries.
//!
//! Read from the program headers, as the loader does, so that a stripped file tells the same.

use object::Endianness;
use object::elf::{DT_NEEDED, DT_STRSZ, DT_STRTAB, FileHeader32, FileHeader64, PT_LOAD};
use object::read::StringTable;
use object::read::elf::{Dyn as _, FileHeader, ProgramHeader as _};
use serde::{Deserialize, Serialize};

/// How every ELF file begins.
pub const MAGIC: &[u8; 4] = b"\x7fELF";

/// The facts of one ELF file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ElfFacts {
    /// `e_machine`.
    pub machine: u16,
    /// The dynamic loader it names, as an absolute path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interpreter: Option<String>,
    /// The libraries it names (`DT_NEEDED`), in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needed: Vec<String>,
}

/// A file that begins like ELF but cannot be read as one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read it as an ELF file: {reason}")]
pub struct ElfError {
    reason: String,
}

impl From<object::read::Error> for ElfError {
    fn from(error: object::read::Error) -> Self {
        Self { reason: error.to_string() }
    }
}

fn broken(reason: &str) -> ElfError {
    ElfError { reason: reason.into() }
}

/// Reads the facts; none: not an ELF file at all.
pub fn read(bytes: &[u8]) -> Result<Option<ElfFacts>, ElfError> {
    match bytes {
        [0x7f, b'E', b'L', b'F', 2, ..] => facts::<FileHeader64<Endianness>>(bytes).map(Some),
        [0x7f, b'E', b'L', b'F', 1, ..] => facts::<FileHeader32<Endianness>>(bytes).map(Some),
        [0x7f, b'E', b'L', b'F', ..] => Err(broken("it is neither 32 nor 64 bit")),
        _ => Ok(None),
    }
}

fn facts<H: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> Result<ElfFacts, ElfError> {
    let header = H::parse(bytes)?;
    let endian = header.endian()?;
    let mut facts = ElfFacts { machine: header.e_machine(endian).0, interpreter: None, needed: Vec::new() };
    let segments = header.program_headers(endian, bytes)?;
    for segment in segments {
        if let Some(path) = segment.interpreter(endian, bytes)? {
            facts.interpreter = Some(text(path)?);
        }
        if let Some(entries) = segment.dynamic(endian, bytes)? {
            facts.needed = needed::<H>(endian, bytes, segments, entries)?;
        }
    }
    Ok(facts)
}

fn needed<H: FileHeader<Endian = Endianness>>(
    endian: Endianness,
    bytes: &[u8],
    segments: &[H::ProgramHeader],
    entries: &[H::Dyn],
) -> Result<Vec<String>, ElfError> {
    let values = |tag| entries.iter().filter(move |entry| entry.d_tag(endian) == tag).map(|entry| entry.d_val(endian).into());
    let names: Vec<u64> = values(DT_NEEDED).collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let address = values(DT_STRTAB).next().ok_or_else(|| broken("its dynamic section has no string table"))?;
    let size = values(DT_STRSZ).next().ok_or_else(|| broken("its string table has no size"))?;
    let start = file_offset::<H>(endian, segments, address).ok_or_else(|| broken("its string table is in no segment"))?;
    let strings = StringTable::new(bytes, start, start.saturating_add(size));
    let name = |offset: u64| u32::try_from(offset).ok().and_then(|offset| strings.get(offset).ok());
    names.into_iter().map(|offset| text(name(offset).ok_or_else(|| broken("a library's name is out of bounds"))?)).collect()
}

fn file_offset<H: FileHeader<Endian = Endianness>>(
    endian: Endianness,
    segments: &[H::ProgramHeader],
    address: u64,
) -> Option<u64> {
    let loads = segments.iter().filter(|segment| segment.p_type(endian) == PT_LOAD);
    loads
        .filter_map(|segment| {
            let within = address.checked_sub(segment.p_vaddr(endian).into())?;
            let (offset, length) = segment.file_range(endian);
            (within < length).then(|| offset.checked_add(within))?
        })
        .next()
}

fn text(bytes: &[u8]) -> Result<String, ElfError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| broken("a name in it is not UTF-8"))
}

#[cfg(test)]
pub(crate) mod testing {
    //! Made-up ELF files, just whole enough for a loader's questions.

    /// A 64-bit little-endian ELF file of `machine` with these needed libraries and this interpreter.
    pub(crate) fn elf(machine: u16, interpreter: Option<&str>, needed: &[&str]) -> Vec<u8> {
        let count = 2 + usize::from(interpreter.is_some());
        let data = 64 + count * 56;
        let mut strings = vec![0u8];
        let mut dynamic = Vec::new();
        for name in needed {
            dynamic.push((1u64, strings.len() as u64));
            strings.extend_from_slice(name.as_bytes());
            strings.push(0);
        }
        let dynamic_offset = (data + strings.len()).next_multiple_of(8);
        dynamic.extend([(5, data as u64), (10, strings.len() as u64), (0, 0)]);
        let interpreter_offset = dynamic_offset + dynamic.len() * 16;
        let interpreter = interpreter.map(|path| [path.as_bytes(), b"\0"].concat());
        let end = interpreter_offset + interpreter.as_ref().map_or(0, Vec::len);

        let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        file.extend([3u16, machine].iter().flat_map(|half| half.to_le_bytes()));
        file.extend(1u32.to_le_bytes());
        file.extend([0u64, 64, 0].iter().flat_map(|word| word.to_le_bytes()));
        file.extend(0u32.to_le_bytes());
        file.extend([64u16, 56, count as u16, 64, 0, 0].iter().flat_map(|half| half.to_le_bytes()));
        let mut segment = |kind: u32, offset: usize, length: usize| {
            file.extend([kind, 4].iter().flat_map(|word| word.to_le_bytes()));
            let (offset, length) = (offset as u64, length as u64);
            file.extend([offset, offset, offset, length, length, 8].iter().flat_map(|word| word.to_le_bytes()));
        };
        segment(1, 0, end);
        segment(2, dynamic_offset, dynamic.len() * 16);
        if let Some(path) = &interpreter {
            segment(3, interpreter_offset, path.len());
        }
        file.extend(strings);
        file.resize(dynamic_offset, 0);
        file.extend(dynamic.iter().flat_map(|(tag, value)| [tag.to_le_bytes(), value.to_le_bytes()].concat()));
        file.extend(interpreter.unwrap_or_default());
        file
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn damaged_files_are_errors_never_panics(changes in prop::collection::vec((0usize..400, any::<u8>()), 1..20)) {
            let mut file = testing::elf(62, Some("/lib64/ld.so.2"), &["libmnl.so.0", "libc.so.6"]);
            for (at, byte) in changes {
                let length = file.len();
                file[at % length] = byte;
            }
            let _ = read(&file);
        }
    }

    #[test]
    fn libraries_and_interpreter_are_read() {
        let file = testing::elf(62, Some("/lib64/ld.so.2"), &["libmnl.so.0", "libc.so.6"]);
        let facts = read(&file).expect("readable").expect("ELF");
        assert_eq!(facts.machine, 62);
        assert_eq!(facts.interpreter.as_deref(), Some("/lib64/ld.so.2"));
        assert_eq!(facts.needed, ["libmnl.so.0", "libc.so.6"]);
    }

    #[test]
    fn our_own_test_binary_is_elf() {
        let bytes = std::fs::read(std::env::current_exe().expect("path")).expect("read");
        assert!(read(&bytes).expect("readable").expect("ELF").needed.iter().any(|name| name.starts_with("libc.so")));
    }

    #[test]
    fn other_files_and_broken_ones() {
        assert_eq!(read(b"#!/bin/sh\n"), Ok(None));
        assert_eq!(read(b""), Ok(None));
        let whole = testing::elf(62, None, &["libc.so.6"]);
        for end in [5, 20, 63, 100, whole.len() - 40] {
            assert!(read(&whole[..end]).is_err(), "cut at {end}");
        }
    }
}
