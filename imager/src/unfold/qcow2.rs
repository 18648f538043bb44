//! A virtual machine's disk, as far as imager writes it: version 3, no compression, no encryption, nothing behind it. Offsets are those of QEMU's
//! `docs/interop/qcow2.txt`; all numbers are big-endian, and none is believed.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::error::UnfoldError;
use super::raw::Raw;

/// How the file begins.
pub(super) const MAGIC: &[u8] = b"QFI\xfb";
const HEADER_BYTES: usize = 104;
const VERSION: u32 = 3;
/// The smallest and largest clusters that the format knows.
const CLUSTER_BITS: std::ops::RangeInclusive<u32> = 9..=21;
/// 32 TiB in clusters of the usual size.
const MOST_TABLES: u32 = 1 << 16;
/// Where a table or a cluster lies, without the flags around it.
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
const COMPRESSED: u64 = 1 << 62;
const ZERO: u64 = 1;

/// What the header says.
struct Header {
    bytes: u64,
    cluster: u64,
    tables: u32,
    tables_at: u64,
}

impl Header {
    fn parse(head: &[u8; HEADER_BYTES]) -> Result<Self, &'static str> {
        let word = |at: usize| u32::from_be_bytes(head[at..at + 4].try_into().expect("four bytes"));
        let long = |at: usize| u64::from_be_bytes(head[at..at + 8].try_into().expect("eight bytes"));
        let (backing, bits, encrypted, features) = (long(8), word(20), word(32), long(72));
        match () {
            () if word(4) != VERSION => Err("it is a qcow2 image of another version than 3"),
            () if backing != 0 => Err("it is a qcow2 image with another one behind it; `qemu-img convert` makes one of both"),
            () if encrypted != 0 || features != 0 => Err("it is a qcow2 image with features that imager does not write"),
            () if !CLUSTER_BITS.contains(&bits) || word(36) > MOST_TABLES => Err("its qcow2 header is damaged; copy it again"),
            () => Ok(Self { bytes: long(24), cluster: 1 << bits, tables: word(36), tables_at: long(40) }),
        }
    }
}

/// The raw image in the file.
pub(super) fn unfold(path: &Path, file: &File) -> Result<File, UnfoldError> {
    let unreadable = |source| UnfoldError::Read { path: path.to_owned(), source };
    let refused = |reason| UnfoldError::Qcow2 { path: path.to_owned(), reason };
    let mut head = [0; HEADER_BYTES];
    file.read_exact_at(&mut head, 0).map_err(unreadable)?;
    let header = Header::parse(&head).map_err(refused)?;
    let raw = Raw::new()?;
    let mut cluster = vec![0; header.cluster as usize];
    let per_table = header.cluster / 8;
    let tables = numbers(file, header.tables_at, u64::from(header.tables)).map_err(unreadable)?;
    for (table, first) in tables.into_iter().zip((0..).step_by(per_table as usize)).filter(|(table, _)| table & OFFSET != 0) {
        for (entry, number) in numbers(file, table & OFFSET, per_table).map_err(unreadable)?.into_iter().zip(first..) {
            let at = number * header.cluster;
            if entry & COMPRESSED != 0 {
                return Err(refused("it is a compressed qcow2 image; `qemu-img convert` makes a plain one of it"));
            }
            if at < header.bytes && entry & OFFSET != 0 && entry & ZERO == 0 {
                file.read_exact_at(&mut cluster, entry & OFFSET).map_err(unreadable)?;
                raw.put(at, &cluster).map_err(UnfoldError::Scratch)?;
            }
        }
    }
    raw.finish(header.bytes)
}

fn numbers(file: &File, at: u64, count: u64) -> io::Result<Vec<u64>> {
    let mut bytes = vec![0; count as usize * 8];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes.chunks_exact(8).map(|number| u64::from_be_bytes(number.try_into().expect("eight bytes"))).collect())
}
