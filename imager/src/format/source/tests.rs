//! From one made-up image to every form, and back.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use ::cpio::newc::Reader;
use machine_config::disk::SEED_BYTES;
use machine_config::ram_form::{self, RamImage};

use super::*;
use crate::build::tests::build_sample;
use crate::inspect::{self, Depth};
use crate::seed_place::{self, SeedPlaceError};

fn source(folder: &Path, seed: Option<Vec<u8>>) -> (PathBuf, Source) {
    let path = build_sample(folder, seed);
    let inspection = inspect::inspect(&path, Depth::Overview).expect("inspected");
    let source = Source::open(&path, &inspection).expect("opened");
    (path, source)
}

fn made(source: &Source, format: Format) -> Vec<u8> {
    let mut bytes = Vec::new();
    source.plan(format).expect("planned").reader(source.file()).read_to_end(&mut bytes).expect("read");
    bytes
}

/// The UKI that a disk boots.
fn plain_uki(source: &Source) -> Vec<u8> {
    let esp = source.disk.partition(Partition::Esp).expect("there");
    let files = esp::read(source.disk.window(esp)).expect("read");
    files.into_iter().find(|(path, _)| path == UKI_PATH).expect("there").1
}

fn in_file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().expect("temp file");
    file.write_all(bytes).expect("written");
    file
}

/// The initramfs out of a netboot archive.
fn of_archive(archive: &[u8]) -> Vec<u8> {
    let mut archive = tar::Archive::new(archive);
    let mut entries = archive.entries().expect("an archive").map(|entry| entry.expect("a member"));
    let mut entry = entries.find(|entry| entry.path().expect("a name") == Path::new(pxe::INITRAMFS)).expect("there");
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes).expect("read");
    bytes
}

/// The files behind the board's own initramfs.
fn files_of(initramfs: &[u8], own: usize) -> Vec<(String, Vec<u8>)> {
    let mut rest = &initramfs[own.next_multiple_of(4)..];
    let mut files = Vec::new();
    loop {
        let mut reader = Reader::new(rest).expect("a member");
        if reader.entry().is_trailer() {
            return files;
        }
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).expect("read");
        files.push((reader.entry().name().to_owned(), bytes));
        rest = reader.finish().expect("read");
    }
}

#[test]
fn init_finds_the_whole_disk_in_the_ram_form() {
    let folder = tempfile::tempdir().expect("temp folder");
    let (path, source) = source(folder.path(), Some(vec![5; SEED_BYTES as usize]));
    let own = crate::image::uki::read(&plain_uki(&source)).expect("a UKI");
    let uki = crate::image::uki::read(&made(&source, Format::Uki)).expect("a UKI");
    assert_eq!((&uki.command_line, &uki.uname), (&own.command_line, &own.uname));
    assert!(uki.initramfs.starts_with(&own.initramfs));
    let files = files_of(&uki.initramfs, own.initramfs.len());
    let names: Vec<_> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["skerry", ram_form::FOLDER, ram_form::INDEX, ram_form::IMAGE, ram_form::SEED]);
    let index = RamImage::parse(&files[2].1).expect("an index that can be");
    let (mut disk, mut rest) = (vec![0; index.image_bytes as usize], files[3].1.as_slice());
    for range in &index.ranges {
        let (bytes, after) = rest.split_at(range.bytes as usize);
        assert_eq!(machine_config::Digest::of(bytes), range.sha256);
        disk[range.offset as usize..][..bytes.len()].copy_from_slice(bytes);
        rest = after;
    }
    disk[index.seed_offset as usize..][..SEED_BYTES as usize].copy_from_slice(&files[4].1);
    assert!(disk == std::fs::read(&path).expect("read"));
    let position = index.position(index.runtime).expect("in one range") as usize;
    assert!(files[3].1[position..].starts_with(b"hsqs"));
}

/// A form, and how to come from it to the file that is stamped.
type Form = (Format, fn(Vec<u8>) -> Vec<u8>);

#[test]
fn seed_is_found_in_every_form_and_nothing_else_changes_when_it_does() {
    let folder = tempfile::tempdir().expect("temp folder");
    let same = |bytes| bytes;
    let forms: [Form; 4] =
        [(Format::Raw, same), (Format::Uki, same), (Format::Iso, same), (Format::Pxe, |bytes| of_archive(&bytes))];
    let (_, blank) = source(folder.path(), None);
    let before: Vec<_> = forms.iter().map(|(format, unpack)| unpack(made(&blank, *format))).collect();
    let seed: Vec<u8> = (0..SEED_BYTES as u32).map(|n| (n % 251) as u8).collect();
    let (_, stamped) = source(folder.path(), Some(seed.clone()));
    for ((format, unpack), mut bytes) in forms.iter().zip(before) {
        let place = seed_place::find(&in_file(&bytes)).expect("found");
        assert_eq!(place.bytes, SEED_BYTES, "{format}");
        bytes[place.offset as usize..][..seed.len()].copy_from_slice(&seed);
        assert!(bytes == unpack(made(&stamped, *format)), "{format}");
    }
}

#[test]
fn what_has_no_place_for_seed_is_told_apart() {
    let folder = tempfile::tempdir().expect("temp folder");
    let (path, source) = source(folder.path(), None);
    let (raw, iso, uki) = (std::fs::read(&path).expect("read"), made(&source, Format::Iso), made(&source, Format::Uki));
    let mut broken_fat = iso.clone();
    broken_fat[1 << 20..][..512].fill(0);
    let mut broken_table = raw.clone();
    let backup = broken_table.len() - 512;
    [512 + 16, backup + 16].into_iter().for_each(|at| broken_table[at] ^= 1);
    for (bytes, expected) in [
        (Vec::new(), "neither a raw image"),
        (b"MZ".repeat(10), "neither a raw image"),
        (vec![7; 9000], "neither a raw image"),
        (made(&source, Format::Qcow2), "neither a raw image"),
        (made(&source, Format::Pxe), "neither a raw image"),
        (plain_uki(&source), "only images in the RAM form"),
        (b"MZ".repeat(3000), "it is not a PE32+ file"),
        (uki[..uki.len() / 3].to_vec(), "cut short"),
        (broken_fat, "FAT file system is damaged"),
        (broken_table, "the partition table is damaged"),
        (iso[..iso.len() / 2].to_vec(), "partition ESP leaves the image"),
    ] {
        let error = seed_place::find(&in_file(&bytes)).expect_err(expected);
        assert!(error.to_string().contains(expected), "{expected}: {error}");
        assert!(!matches!(error, SeedPlaceError::Read { .. }), "{error}");
    }
}

#[test]
fn a_disc_whose_program_lies_in_pieces_is_refused() {
    let folder = tempfile::tempdir().expect("temp folder");
    let (_, source) = source(folder.path(), None);
    let file = in_file(&made(&source, Format::Iso));
    let fat = 1 << 20;
    let mut sector = [0; 512];
    file.read_exact_at(&mut sector, fat).expect("read");
    let reserved = u64::from(u16::from_le_bytes([sector[14], sector[15]]));
    let table_sectors = u64::from(u32::from_le_bytes([sector[36], sector[37], sector[38], sector[39]]));
    for table in 0..2 {
        let table = fat + (reserved + table * table_sectors) * 512;
        // The tenth cluster leads to the twelfth.
        file.write_all_at(&12u32.to_le_bytes(), table + 10 * 4).expect("written");
    }
    let error = seed_place::find(&file).expect_err("refused").to_string();
    assert!(error.contains("does not lie in one piece"), "{error}");
}

#[test]
fn a_board_without_a_uki_has_no_ram_form() {
    let error = SourceError::NoUki { format: Format::Iso, board: "rpi5".into() }.to_string();
    assert!(error.contains("iso") && error.contains("rpi5") && error.contains("qcow2 work"), "{error}");
    assert!(matches!(UkiParts::read(vec![0; 100]), Err(RamError::Section { section: ".cmdline" })));
}

/// The parts of a form that are read to find SEED: each is small, and a byte in it is changed more often than one in a random place.
fn structure(format: Format, bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let end = bytes.len() - (SEED_BYTES as usize + 1000)..bytes.len();
    match format {
        Format::Iso => vec![512..1024, 1024..1280, (1 << 20)..(1 << 20) + 512, (1 << 20) + 19_456..(1 << 20) + 21_000],
        Format::Uki | Format::Raw | Format::RawZst | Format::RawGz | Format::Qcow2 | Format::Pxe => vec![0..1024, end],
    }
}

#[test]
fn a_damaged_image_is_refused_or_its_seed_lies_inside() {
    let folder = tempfile::tempdir().expect("temp folder");
    let (_, source) = source(folder.path(), None);
    for format in [Format::Iso, Format::Uki, Format::Raw] {
        let bytes = made(&source, format);
        let file = in_file(&bytes);
        for range in structure(format, &bytes) {
            for at in range.clone().step_by(range.len() / 31 + 1) {
                for value in [0, 1, 0x7f, 0xff] {
                    file.write_all_at(&[value], at as u64).expect("changed");
                    if let Ok(place) = seed_place::find(&file) {
                        assert!(place.end().is_some_and(|end| end <= bytes.len() as u64), "{format}: {value} at {at}");
                    }
                }
                file.write_all_at(&bytes[at..=at], at as u64).expect("mended");
            }
        }
    }
}
