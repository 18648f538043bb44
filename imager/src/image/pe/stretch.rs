//! Gives a section of a PE32+ file another length, and finds where a section lies. What follows the section moves; only plain data may.

use super::{DATA_READ_ONLY, Header, OrNotPe as _, PeError, SECTION_HEADER, put, u32_at};

/// The certificate table: the fifth of the data directories, at this offset of the optional header.
const CERTIFICATES: usize = 112 + 4 * 8;

/// A file cut open where a section's content is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretched {
    /// The file up to the section's content.
    pub before: Vec<u8>,
    /// Zeros that follow the content.
    pub padding: u64,
    /// The file after the section.
    pub after: Vec<u8>,
}

/// Where a section lies in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Offset of its first byte.
    pub offset: u64,
    /// Length of its content, without padding.
    pub bytes: u64,
}

/// One line of the section table.
#[derive(Debug, Clone, Copy)]
struct Line {
    at: usize,
    size: u32,
    address: u32,
    raw_size: u32,
    raw_at: u32,
    flags: u32,
}

impl Line {
    fn read(file: &[u8], at: usize) -> Option<Self> {
        let number = |offset| u32_at(file, at + offset);
        let (size, address, raw_size, raw_at) = (number(8)?, number(12)?, number(16)?, number(20)?);
        Some(Self { at, size, address, raw_size, raw_at, flags: number(36)? })
    }
}

fn find(file: &[u8], header: &Header, section: &str) -> Option<Line> {
    let mut name = [0; 8];
    name.get_mut(..section.len())?.copy_from_slice(section.as_bytes());
    let mut places = (0..header.count).map(|n| header.table + n * SECTION_HEADER);
    places.find(|at| file.get(*at..*at + 8) == Some(&name)).and_then(|at| Line::read(file, at))
}

/// Where `section` lies, by the beginning of a file that holds its whole header.
pub fn place(name: &str, head: &[u8], section: &str) -> Result<Place, PeError> {
    let header = Header::parse(head).map_err_pe(name, "it is not a PE32+ file, or it is cut short")?;
    let line = find(head, &header, section).map_err_pe(name, "it has no section of the kernel's initramfs")?;
    if line.size > line.raw_size {
        return Err(PeError::NotPe { name: name.to_owned(), reason: "a section of it is larger than what is stored of it" });
    }
    Ok(Place { offset: line.raw_at.into(), bytes: line.size.into() })
}

/// Makes room for `bytes` bytes as the content of `section`.
pub fn stretch(name: &str, file: &[u8], section: &str, bytes: u64) -> Result<Stretched, PeError> {
    let large = || PeError::Large { name: name.to_owned(), section: section.to_owned() };
    let wrong = |reason| PeError::NotPe { name: name.to_owned(), reason };
    let header = Header::parse(file).ok_or_else(|| wrong("it is not a PE32+ file, or it is cut short"))?;
    let line = find(file, &header, section).ok_or_else(|| wrong("it has no section of the kernel's initramfs"))?;
    let (start, end) = (line.raw_at as usize, (line.raw_at as usize).saturating_add(line.raw_size as usize));
    let after = file.get(end..).ok_or_else(|| wrong("a section of it is cut short"))?.to_vec();
    if start < header.table + header.count * SECTION_HEADER {
        return Err(wrong("a section of it lies in its header"));
    }
    if u32_at(file, header.optional + CERTIFICATES + 4) != Some(0) {
        return Err(wrong("it is signed: its content cannot change"));
    }
    let others = followers(file, &header, &line).ok_or_else(|| wrong("code follows its initramfs, which cannot be moved"))?;
    let mut before = file[..start].to_vec();
    let padding = move_all(&mut before, &header, &line, &others, bytes, file.len()).ok_or_else(large)?;
    Ok(Stretched { before, padding, after })
}

/// The sections after one, in the file; none: one of them is more than data.
fn followers(file: &[u8], header: &Header, line: &Line) -> Option<Vec<Line>> {
    let lines = (0..header.count).map(|n| Line::read(file, header.table + n * SECTION_HEADER));
    let others = lines.filter(|other| other.is_none_or(|other| other.raw_at >= line.raw_at && other.at != line.at));
    others.map(|other| other.filter(|other| other.flags == DATA_READ_ONLY && other.address >= line.address)).collect()
}

/// Writes new lengths and places into the header at the beginning of `file`, which was `length` bytes long; gives the padding after the section.
/// None: something passes 4 GiB.
fn move_all(file: &mut [u8], header: &Header, line: &Line, others: &[Line], bytes: u64, length: usize) -> Option<u64> {
    let size = u32::try_from(bytes).ok()?;
    let raw_size = size.checked_next_multiple_of(header.file_alignment)?;
    let end = |size: u32| line.address.checked_add(size)?.checked_next_multiple_of(header.section_alignment);
    let in_file = i64::from(raw_size) - i64::from(line.raw_size);
    let in_memory = i64::from(end(size)?) - i64::from(end(line.size)?);
    shifted(u32::try_from(length).ok()?, in_file)?;
    put(file, line.at + 8, size);
    put(file, line.at + 16, raw_size);
    for other in others {
        put(file, other.at + 12, shifted(other.address, in_memory)?);
        put(file, other.at + 20, shifted(other.raw_at, in_file)?);
    }
    let image_size = u32_at(file, header.optional + 56)?;
    put(file, header.optional + 56, shifted(image_size, in_memory)?);
    Some(u64::from(raw_size - size))
}

fn shifted(number: u32, delta: i64) -> Option<u32> {
    u32::try_from(i64::from(number).checked_add(delta)?).ok()
}

#[cfg(test)]
mod tests {
    use object::read::pe::PeFile64;
    use object::{Object as _, ObjectSection as _};

    use super::super::tests::stub;
    use super::super::{Section, append};
    use super::*;

    fn file() -> Vec<u8> {
        let sections = [Section { name: ".cmdline", bytes: b"quiet" }, Section { name: ".initrd", bytes: &[5; 700] }];
        append("stub", &stub(4, 0x8664), &[sections[0], sections[1], Section { name: ".linux", bytes: &[6; 9000] }])
            .expect("appended")
    }

    fn stretched(bytes: u64) -> Vec<u8> {
        let parts = stretch("stub", &file(), ".initrd", bytes).expect("stretched");
        [parts.before, vec![7; bytes as usize], vec![0; parts.padding as usize], parts.after].concat()
    }

    #[test]
    fn a_stretched_file_is_what_would_have_been_made_at_once() {
        for bytes in [1, 512, 700, 5000, 300_000] {
            let content = vec![7; bytes];
            let sections = [Section { name: ".cmdline", bytes: b"quiet" }, Section { name: ".initrd", bytes: &content }];
            let linux = Section { name: ".linux", bytes: &[6; 9000] };
            let expected = append("stub", &stub(4, 0x8664), &[sections[0], sections[1], linux]).expect("appended");
            assert!(stretched(bytes as u64) == expected, "{bytes}");
            let found = place("stub", &expected[..1024], ".initrd").expect("found");
            assert_eq!(found.bytes, bytes as u64);
            assert_eq!(&expected[found.offset as usize..][..bytes], content);
        }
    }

    #[test]
    fn other_readers_agree() {
        let bytes = stretched(5000);
        let file = PeFile64::parse(bytes.as_slice()).expect("PE");
        let linux = file.section_by_name(".linux").expect("there");
        assert_eq!((linux.size(), linux.data().expect("read")[0]), (9000, 6));
    }

    #[test]
    fn what_cannot_be_moved_is_refused() {
        let mut signed = file();
        let header = Header::parse(&signed).expect("PE");
        put(&mut signed, header.optional + CERTIFICATES + 4, 8);
        let mut code = file();
        put(&mut code, header.table + 3 * SECTION_HEADER + 36, 0x6000_0020);
        let mut inside = file();
        put(&mut inside, header.table + 2 * SECTION_HEADER + 20, 8);
        for (bytes, file, section, expected) in [
            (10, inside, ".initrd", "lies in its header"),
            (10, signed, ".initrd", "signed"),
            (10, code, ".initrd", "code follows"),
            (10, file(), ".nothing", "no section"),
            (10, file(), ".muchtoolong", "no section"),
            (1 << 32, file(), ".initrd", "4 GiB"),
            ((1 << 32) - 600, file(), ".initrd", "4 GiB"),
            (10, file()[..600].to_vec(), ".initrd", "cut short"),
        ] {
            let error = stretch("it", &file, section, bytes).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_damaged_file_never_ends_the_program(at in 0usize..2000, bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 1..9), cut in 1usize..12_000) {
            let mut file = file();
            let end = (at + bytes.len()).min(file.len());
            file[at.min(end)..end].copy_from_slice(&bytes[..end - at.min(end)]);
            file.truncate(cut);
            let _ = stretch("it", &file, ".initrd", 5000);
            let _ = place("it", &file, ".initrd");
        }
    }
}
