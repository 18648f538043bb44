//! The entries of a FAT folder: bytes in, names out. Long names count where they are whole and belong to their entry, else the short one does.

use super::{Checked, ENTRY_BYTES, FOLDER, VOLUME, number};

/// The first byte of an entry that was deleted.
const DELETED: u8 = 0xe5;
/// The attributes of a part of a long name, and the bits that say so.
const LONG_NAME: u8 = 0x0f;
const ATTRIBUTES: u8 = 0x3f;
/// The part of a long name that comes first, and is its end.
const LAST_PART: u8 = 0x40;
/// Where the characters of a part lie.
const CHARACTERS: [std::ops::Range<usize>; 3] = [1..11, 14..26, 28..32];

/// A file or folder.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    /// Its first cluster; 0 when it has none.
    pub(super) first: u32,
    pub(super) content: Content,
}

/// What it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content {
    Folder,
    /// Of so many bytes.
    File(u64),
}

/// Every file and folder in a folder with this content, but for itself and its parent.
pub(super) fn entries(folder: &[u8]) -> Checked<Vec<Entry>> {
    let mut long = LongName::default();
    let mut found = Vec::new();
    for entry in folder.chunks_exact(ENTRY_BYTES).take_while(|entry| entry[0] != 0) {
        if entry[11] & ATTRIBUTES == LONG_NAME && entry[0] != DELETED {
            long.add(entry);
            continue;
        }
        let long = std::mem::take(&mut long);
        if entry[0] == DELETED || entry[11] & VOLUME != 0 || is_itself_or_parent(entry) {
            continue;
        }
        let name = long.of(entry).unwrap_or_else(|| short(entry));
        if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
            return Err("a name in it is none");
        }
        let first = ((number(entry, 20, 2) << 16) | number(entry, 26, 2)) as u32;
        let content = if entry[11] & FOLDER == 0 { Content::File(number(entry, 28, 4)) } else { Content::Folder };
        found.push(Entry { name, first, content });
    }
    Ok(found)
}

fn is_itself_or_parent(entry: &[u8]) -> bool {
    entry.starts_with(b".          ") || entry.starts_with(b"..         ")
}

/// A long name of which parts were seen: the last one comes first.
#[derive(Default)]
struct LongName {
    units: Vec<u16>,
    /// The number of the part that was seen last; 1: it is whole.
    part: u8,
    /// Of the short name it belongs to.
    checksum: u8,
}

impl LongName {
    fn add(&mut self, entry: &[u8]) {
        let part = entry[0] & !LAST_PART;
        let goes_on = part.checked_add(1) == Some(self.part) && entry[13] == self.checksum;
        if entry[0] & LAST_PART != 0 {
            *self = Self { units: Vec::new(), part, checksum: entry[13] };
        } else if goes_on {
            self.part = part;
        } else {
            return *self = Self::default();
        }
        let units = CHARACTERS.into_iter().flat_map(|range| entry[range].chunks_exact(2));
        self.units.splice(0..0, units.map(|pair| u16::from_le_bytes([pair[0], pair[1]])));
    }

    /// The name, when it is whole and belongs to this entry.
    fn of(self, entry: &[u8]) -> Option<String> {
        let end = self.units.iter().position(|unit| *unit == 0).unwrap_or(self.units.len());
        let belongs = self.part == 1 && self.checksum == checksum(&entry[..11]);
        if belongs { String::from_utf16(&self.units[..end]).ok() } else { None }
    }
}

/// Of a short name, as each part of its long name has it.
fn checksum(name: &[u8]) -> u8 {
    name.iter().fold(0, |sum: u8, byte| sum.rotate_right(1).wrapping_add(*byte))
}

/// Eight characters and three. Bits of the entry say which of them Windows would show in lower case.
fn short(entry: &[u8]) -> String {
    let part = |bytes: &[u8], lower: u8| {
        let text: String = bytes.iter().map(|byte| if byte.is_ascii() { char::from(*byte) } else { '\u{fffd}' }).collect();
        let text = text.trim_end_matches(' ');
        if entry[12] & lower == 0 { text.to_owned() } else { text.to_ascii_lowercase() }
    };
    let (name, ending) = (part(&entry[..8], 0x08), part(&entry[8..11], 0x10));
    if ending.is_empty() { name } else { format!("{name}.{ending}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &[u8; 11], attributes: u8) -> Vec<u8> {
        let mut entry = [name.as_slice(), &[attributes], &[0; 20]].concat();
        (entry[20], entry[26], entry[28]) = (1, 7, 200);
        entry
    }

    fn part(number: u8, text: &str, checksum: u8) -> Vec<u8> {
        let mut units: Vec<u8> = text.encode_utf16().chain([0]).chain([0xffff; 13]).take(13).flat_map(u16::to_le_bytes).collect();
        let last = units.split_off(22);
        let middle = units.split_off(10);
        [&[number][..], &units, &[LONG_NAME, 0, checksum], &middle, &[0, 0], &last].concat()
    }

    fn names(entries: &[Vec<u8>]) -> Vec<String> {
        super::entries(&entries.concat()).expect("names").into_iter().map(|entry| entry.name).collect()
    }

    #[test]
    fn short_names_are_told_with_their_numbers() {
        let found = entries(&[entry(b"A       TXT", 0), entry(b"EFI        ", FOLDER)].concat()).expect("two");
        assert_eq!(found[0], Entry { name: "A.TXT".into(), first: 0x1_0007, content: Content::File(200) });
        assert_eq!(found[1], Entry { name: "EFI".into(), first: 0x1_0007, content: Content::Folder });
        let mut lower = entry(b"CMDLINE TXT", 0);
        lower[12] = 0x18;
        assert_eq!(names(&[lower]), ["cmdline.txt"]);
        assert_eq!(names(&[entry(b"\xe9       TXT", 0)]), ["\u{fffd}.TXT"]);
    }

    #[test]
    fn what_is_no_file_is_passed_over() {
        let entries = [
            entry(b".          ", FOLDER),
            entry(b"..         ", FOLDER),
            entry(b"SKERRY-ESP ", VOLUME),
            entry(b"\xe5LD     TXT", 0),
            entry(b"A          ", 0),
            vec![0; 32],
            entry(b"STALE      ", 0),
        ];
        assert_eq!(names(&entries), ["A"]);
    }

    #[test]
    fn a_long_name_counts_when_it_is_whole_and_its_entrys_own() {
        let short = entry(b"BCM271~1DTB", 0);
        let sum = checksum(&short[..11]);
        let (second, first) = (part(0x42, "-4-b.dtb", sum), part(1, "bcm2711-rpi-4", sum));
        for (entries, expected) in [
            (vec![second.clone(), part(1, "bcm2711-rpi-4", sum), short.clone()], "bcm2711-rpi-4-4-b.dtb"),
            (vec![second.clone(), short.clone()], "BCM271~1.DTB"),
            (vec![first.clone(), short.clone()], "BCM271~1.DTB"),
            (vec![second.clone(), part(1, "bcm2711-rpi-4", !sum), short.clone()], "BCM271~1.DTB"),
            (vec![part(0x41, "other", !sum), short.clone()], "BCM271~1.DTB"),
            (vec![part(0x41, "other", sum), entry(b"\xe5LD     TXT", 0), short.clone()], "BCM271~1.DTB"),
            (vec![part(0x40, "none", sum), short.clone()], "BCM271~1.DTB"),
        ] {
            assert_eq!(names(&entries), [expected], "{}", entries.len());
        }
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_refused() {
        let short = entry(b"A          ", 0);
        for name in ["a/b", "..", ""] {
            let long = part(0x41, name, checksum(&short[..11]));
            assert_eq!(entries(&[long, short.clone()].concat()), Err("a name in it is none"), "{name}");
        }
        assert!(entries(&entry(b"           ", 0)).is_err());
    }
}
