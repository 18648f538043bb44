//! Members of a cpio archive (newc) whose content is too large to hold: their headers alone, and where the last member lies. Everything belongs to root.

use machine_config::disk::SEED_BYTES;
use machine_config::ram_form::{Extent, SEED};

const MAGIC: &[u8; 6] = b"070701";
/// The fixed part of a header: the magic and 13 numbers of eight digits.
const FIXED: usize = 6 + 13 * 8;
/// Which of the numbers is the content's length.
const FILE_SIZE: usize = 6;
const TRAILER: &str = "TRAILER!!!";
const DIRECTORY: u32 = 0o040_755;
const FILE: u32 = 0o100_600;
const ALIGN: usize = 4;

/// The header of a folder.
pub(super) fn folder(path: &str, inode: u32) -> Vec<u8> {
    header(path, inode, DIRECTORY, 2, 0)
}

/// The header of a file with `bytes` bytes, which must follow it, and zeros up to a multiple of four.
pub(super) fn file(path: &str, inode: u32, bytes: u32) -> Vec<u8> {
    header(path, inode, FILE, 1, bytes)
}

/// What ends an archive.
pub(crate) fn trailer() -> Vec<u8> {
    header(TRAILER, 0, 0, 1, 0)
}

fn header(path: &str, inode: u32, mode: u32, links: u32, bytes: u32) -> Vec<u8> {
    let name = path.len() as u32 + 1;
    let numbers = [inode, mode, 0, 0, links, 0, bytes, 0, 0, 0, 0, name, 0];
    let digits: String = numbers.iter().map(|number| format!("{number:08X}")).collect();
    let mut header = [MAGIC, digits.as_bytes(), path.as_bytes(), b"\0"].concat();
    header.resize(header.len().next_multiple_of(ALIGN), 0);
    header
}

/// How many bytes at the end of an initramfs in the RAM form tell where SEED is: its header, SEED, the trailer.
pub(crate) fn tail_bytes() -> u64 {
    (file(SEED, 0, 0).len() + trailer().len()) as u64 + SEED_BYTES
}

/// Where SEED lies in an initramfs of `bytes` bytes, by its header, which begins [`tail_bytes`] before the end, and by what follows SEED.
pub(crate) fn seed_before_end(bytes: u64, head: &[u8], end: &[u8]) -> Result<Extent, &'static str> {
    let trailer = trailer();
    if end != trailer {
        return Err("the initramfs does not end as an archive of the RAM form does");
    }
    let expected = file(SEED, 0, 0);
    let named = head.len() == expected.len() && head[..6] == *MAGIC && head[FIXED..] == expected[FIXED..];
    let size = head.get(6 + FILE_SIZE * 8..6 + (FILE_SIZE + 1) * 8).and_then(|digits| std::str::from_utf8(digits).ok());
    let size = size.and_then(|digits| u64::from_str_radix(digits, 16).ok());
    if !named || size != Some(SEED_BYTES) {
        return Err("the last file of the initramfs is not SEED");
    }
    Ok(Extent { offset: bytes - trailer.len() as u64 - SEED_BYTES, bytes: SEED_BYTES })
}

#[cfg(test)]
mod tests {
    use cpio::newc::Reader;

    use super::*;

    #[test]
    fn headers_are_read_as_they_are_meant() {
        let mut archive = folder("skerry", 1);
        archive.extend(file("skerry/a", 2, 5));
        archive.extend(b"hello\0\0\0");
        archive.extend(trailer());
        let reader = Reader::new(archive.as_slice()).expect("a folder");
        assert_eq!((reader.entry().name(), reader.entry().mode()), ("skerry", DIRECTORY));
        let reader = Reader::new(reader.finish().expect("read")).expect("a file");
        assert_eq!((reader.entry().name(), reader.entry().mode(), reader.entry().file_size()), ("skerry/a", FILE, 5));
        let reader = Reader::new(reader.finish().expect("read")).expect("the end");
        assert!(reader.entry().is_trailer());
    }

    #[test]
    fn seed_is_found_by_its_own_header_alone() {
        let (head, end) = (file(SEED, 7, SEED_BYTES as u32), trailer());
        let bytes = 10_000 + tail_bytes();
        let found = seed_before_end(bytes, &head, &end).expect("found");
        assert_eq!(found, Extent { offset: 10_000 + head.len() as u64, bytes: SEED_BYTES });
        for (head, end) in [
            (file(SEED, 7, 5), end.clone()),
            (file("skerry/ram/sead", 7, SEED_BYTES as u32), end.clone()),
            (head[1..].to_vec(), end.clone()),
            (vec![], end.clone()),
            (vec![b'0'; head.len()], end),
            (head, vec![]),
        ] {
            seed_before_end(bytes, &head, &end).expect_err("refused");
        }
    }
}
