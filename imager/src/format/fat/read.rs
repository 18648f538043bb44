//! Finds the one program in a FAT32 file system of the form that is written here, and what of such a file system means something. A program that
//! does not lie in one piece is refused: whoever changes bytes in it must know where they are.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use machine_config::ram_form::Extent;

use super::short_name;
use crate::image::fat::{Checked, ENTRY_BYTES, FOLDER, Fat, LEAST_END, ROOT, number};

/// The entry of a cluster that nothing has.
const FREE: u32 = 0;

/// Where `EFI/BOOT/NAME` lies, for the first of `names` that is there; the error says what is wrong.
pub(crate) fn find(file: &File, fat: Extent, names: &[&str]) -> Checked<Extent> {
    let fat = Fat::open(file, fat)?;
    let (efi, _) = entry(&fat, fat.root, b"EFI        ", FOLDER)?.ok_or("it has no folder EFI")?;
    let (boot, _) = entry(&fat, efi, b"BOOT       ", FOLDER)?.ok_or("it has no folder EFI/BOOT")?;
    for name in names {
        if let Some((first, bytes)) = entry(&fat, boot, &short_name(name), 0)? {
            return in_one_piece(&fat, first, bytes);
        }
    }
    Err("there is no program in its folder EFI/BOOT")
}

/// What of a file system means something, in places of the file: its tables with the boot sector, and every cluster that the table does not call
/// free, whatever is in it.
pub(crate) fn used(file: &File, fat: Extent) -> Checked<Vec<Range<u64>>> {
    let start = fat.offset;
    let fat = Fat::open(file, fat)?;
    let mut used: Vec<Range<u64>> = std::iter::once(start..start + fat.data_at).collect();
    let mut next = u64::from(ROOT);
    while next < fat.clusters + u64::from(ROOT) {
        let entries = fat.entries(next, fat.clusters + u64::from(ROOT) - next)?;
        for (cluster, _) in (next..).zip(&entries).filter(|(_, entry)| **entry != FREE) {
            let place = start + fat.data_at + (cluster - u64::from(ROOT)) * fat.cluster;
            match used.last_mut().filter(|last| last.end == place) {
                Some(last) => last.end += fat.cluster,
                None => used.push(place..place + fat.cluster),
            }
        }
        next += entries.len() as u64;
    }
    Ok(used)
}

/// First cluster and length of an entry in the first cluster of a folder, with these attributes.
fn entry(fat: &Fat<'_>, folder: u32, name: &[u8; 11], attribute: u8) -> Checked<Option<(u32, u64)>> {
    let place = fat.place(folder).ok_or("a folder of it is nowhere")?;
    let mut entries = vec![0; fat.cluster as usize];
    fat.file.read_exact_at(&mut entries, place).map_err(|_| "it is cut short")?;
    let mut entries = entries.chunks(ENTRY_BYTES);
    let found = entries.find(|entry| entry.starts_with(name) && entry[11] & FOLDER == attribute);
    Ok(found.map(|entry| (((number(entry, 20, 2) << 16) | number(entry, 26, 2)) as u32, number(entry, 28, 4))))
}

/// Where a file lies whose clusters follow one another.
fn in_one_piece(fat: &Fat<'_>, first: u32, bytes: u64) -> Checked<Extent> {
    let count = bytes.div_ceil(fat.cluster);
    let offset = fat.place(first).filter(|_| count > 0).ok_or("the program it boots is nowhere")?;
    let last = u64::from(first) + count - 1;
    u32::try_from(last).ok().and_then(|last| fat.place(last)).ok_or("the program it boots is cut short")?;
    let mut next = u64::from(first);
    while next <= last {
        for entry in fat.entries(next, last - next + 1)? {
            let right = if next == last { entry >= LEAST_END } else { u64::from(entry) == next + 1 };
            if !right {
                return Err("the program it boots does not lie in one piece");
            }
            next += 1;
        }
    }
    Ok(Extent { offset, bytes })
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::super::super::pieces::Pieces;
    use super::super::{Program, plan};
    use super::*;

    const NAMES: [&str; 2] = ["BOOTX64.EFI", "BOOTAA64.EFI"];
    /// Where a file system with a small file in it has its parts.
    const TABLE: usize = 38 * 512;
    const ROOT_FOLDER: usize = 1064 * 512;

    fn made() -> Vec<u8> {
        let mut content = Pieces::new();
        content.add(vec![7; 3000]);
        let pieces = plan(Program { name: "BOOTAA64.EFI", content }, 1, 0);
        let mut bytes = Vec::new();
        pieces.reader(&tempfile::tempfile().expect("temp file")).read_to_end(&mut bytes).expect("read");
        bytes
    }

    fn found(bytes: &[u8], names: &[&str]) -> Checked<Extent> {
        let mut file = tempfile::tempfile().expect("temp file");
        std::io::Write::write_all(&mut file, bytes).expect("written");
        find(&file, Extent { offset: 0, bytes: bytes.len() as u64 }, names)
    }

    #[test]
    fn the_program_is_found_where_it_is() {
        let bytes = made();
        let place = found(&bytes, &NAMES).expect("found");
        assert_eq!(place, Extent { offset: ROOT_FOLDER as u64 + 3 * 512, bytes: 3000 });
        assert_eq!(bytes[place.offset as usize..][..3000], [7; 3000]);
    }

    #[test]
    fn what_the_table_does_not_call_free_is_used() {
        let mut bytes = made();
        // The tables, the folders and the file are one stretch; a cluster behind it and the last one there is are others.
        bytes[TABLE + 4 * 20..][..4].copy_from_slice(&[0xf7, 0xff, 0xff, 0x0f]);
        let last = (bytes.len() - ROOT_FOLDER) / 512 + 1;
        bytes[TABLE + 4 * last..][..4].copy_from_slice(&[0xff; 4]);
        // The upper bits of an entry say nothing.
        bytes[TABLE + 4 * 30 + 3] = 0xf0;
        let mut file = tempfile::tempfile().expect("temp file");
        std::io::Write::write_all(&mut file, &[vec![0xee; 4096], bytes.clone()].concat()).expect("written");
        let fat = Extent { offset: 4096, bytes: bytes.len() as u64 };
        let cluster = |number: usize| (4096 + ROOT_FOLDER + (number - 2) * 512) as u64;
        let ends = 4096 + bytes.len() as u64;
        assert_eq!(used(&file, fat), Ok(vec![4096..cluster(11), cluster(20)..cluster(21), ends - 512..ends]));
        assert!(used(&file, Extent { offset: 0, ..fat }).is_err());
    }

    #[test]
    fn what_leads_nowhere_is_refused() {
        for (at, change, expected) in [
            (510, &b"\0"[..], "damaged"),
            (11, b"\0\x10", "damaged"),
            (13, b"\x03", "damaged"),
            (16, b"\0", "damaged"),
            (32, b"\xff\xff\xff\xff", "damaged"),
            (36, b"\xff\xff\xff\xff", "damaged"),
            (44, b"\0", "nowhere"),
            (44, b"\xff\xff\xff\xff", "nowhere"),
            (ROOT_FOLDER + 32, b"EFJ", "no folder EFI"),
            (ROOT_FOLDER + 32 + 11, b"\x20", "no folder EFI"),
            (ROOT_FOLDER + 32 + 26, b"\0", "nowhere"),
            (ROOT_FOLDER + 512 + 64, b"\xe5", "no folder EFI/BOOT"),
            (ROOT_FOLDER + 1024 + 64, b"\xe5", "no program"),
            (ROOT_FOLDER + 1024 + 64 + 26, b"\xff\xff", "not lie in one piece"),
            (ROOT_FOLDER + 1024 + 64 + 20, b"\xff\xff", "nowhere"),
            (ROOT_FOLDER + 1024 + 64 + 28, b"\xff\xff\xff\xff", "cut short"),
            (ROOT_FOLDER + 1024 + 64 + 28, b"\0\0\0\0", "nowhere"),
            (TABLE + 4 * 6, b"\x09", "not lie in one piece"),
            (TABLE + 4 * 6, b"\xff\xff\xff\x0f", "not lie in one piece"),
        ] {
            let mut bytes = made();
            bytes[at..at + change.len()].copy_from_slice(change);
            let error = found(&bytes, &NAMES).expect_err(expected);
            assert!(error.contains(expected), "{change:?} at {at}: {error}");
        }
        assert!(found(&made(), &["OTHER.EFI"]).is_err_and(|error| error.contains("no program")));
        assert!(found(&made()[..400], &NAMES).is_err());
    }
}
