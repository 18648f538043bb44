//! A FAT32 file system around one large file, as pieces: what an ISO boots from. The ESP of a disk is made in memory by `image::esp`; this one
//! holds a whole system and is streamed.
//!
//! Offsets and names are those of Microsoft's FAT specification. Everything in it lies one after the other.

mod read;

use machine_config::disk::SECTOR_BYTES;

use super::pieces::Pieces;
use crate::image::fat::{END_OF_CHAIN, FOLDER, ROOT, VOLUME};
pub(crate) use read::{find, used};

const LABEL: &[u8; 11] = b"SKERRY-ESP ";
const TABLES: u32 = 2;
const LEAST_RESERVED: u32 = 32;
const INFO_SECTOR: u64 = 1;
const COPY_SECTOR: u64 = 6;
/// FAT32 begins at this many clusters; some more, since not every reader counts alike.
const LEAST_CLUSTERS: u64 = 65_525 + 16;
const LARGEST_CLUSTER: u64 = 4096;
/// The data begins on a multiple of this many sectors, so that a disc with blocks of 2048 bytes reads whole clusters.
const ALIGN_SECTORS: u32 = 8;
const MEDIA: u32 = 0x0fff_fff8;
/// 1 January 1980: the earliest there is.
const DATE: u16 = 0x21;
const EFI: u32 = 3;
const BOOT: u32 = 4;
const FILE: u32 = 5;
const ARCHIVE: u8 = 0x20;

/// The file.
#[derive(Debug)]
pub(super) struct Program {
    /// Its name, such as `BOOTX64.EFI`: at most eight and three characters.
    pub(super) name: &'static str,
    /// Its content.
    pub(super) content: Pieces,
}

/// What all offsets follow from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Geometry {
    cluster: u64,
    clusters: u64,
    reserved: u32,
    table_sectors: u32,
}

impl Geometry {
    fn of(file_bytes: u64) -> Self {
        let used = |cluster: u64| u64::from(FILE - ROOT) + file_bytes.div_ceil(cluster);
        let sizes = std::iter::successors(Some(LARGEST_CLUSTER), |size| Some(size / 2)).take_while(|size| *size >= SECTOR_BYTES);
        let cluster = sizes.into_iter().find(|size| used(*size) >= LEAST_CLUSTERS).unwrap_or(SECTOR_BYTES);
        let clusters = used(cluster).max(LEAST_CLUSTERS);
        let table_sectors = ((clusters + 2) * 4).div_ceil(SECTOR_BYTES) as u32;
        let reserved = (LEAST_RESERVED + TABLES * table_sectors).next_multiple_of(ALIGN_SECTORS) - TABLES * table_sectors;
        Self { cluster, clusters, reserved, table_sectors }
    }

    fn data_offset(&self) -> u64 {
        u64::from(self.reserved + TABLES * self.table_sectors) * SECTOR_BYTES
    }

    fn bytes(&self) -> u64 {
        self.data_offset() + self.clusters * self.cluster
    }
}

/// The file system with `EFI/BOOT/NAME` in it. `before` is how many bytes of the disk precede it.
pub(super) fn plan(program: Program, volume_id: u32, before: u64) -> Pieces {
    let bytes = program.content.bytes();
    let geometry = Geometry::of(bytes);
    let mut pieces = Pieces::new();
    pieces.add(reserved_area(&geometry, volume_id, before, bytes));
    for _ in 0..TABLES {
        let end = pieces.bytes() + u64::from(geometry.table_sectors) * SECTOR_BYTES;
        pieces.add(table(bytes.div_ceil(geometry.cluster) as u32));
        pieces.pad_to(end);
    }
    let folders = [
        [entry(*LABEL, VOLUME, 0, 0), entry(*b"EFI        ", FOLDER, EFI, 0)].concat(),
        [dots(EFI, 0), entry(*b"BOOT       ", FOLDER, BOOT, 0)].concat(),
        [dots(BOOT, EFI), entry(short_name(program.name), ARCHIVE, if bytes == 0 { 0 } else { FILE }, bytes as u32)].concat(),
    ];
    for folder in folders {
        let end = pieces.bytes() + geometry.cluster;
        pieces.add(folder);
        pieces.pad_to(end);
    }
    pieces.append(program.content);
    pieces.pad_to(geometry.bytes());
    pieces
}

/// Boot sector, its information sector, and the copies of both.
fn reserved_area(geometry: &Geometry, volume_id: u32, before: u64, file_bytes: u64) -> Vec<u8> {
    let mut area = vec![0; (u64::from(geometry.reserved) * SECTOR_BYTES) as usize];
    let (boot, info) = (boot_sector(geometry, volume_id, before), info_sector(geometry, file_bytes));
    for (sector, bytes) in [(0, &boot), (INFO_SECTOR, &info), (COPY_SECTOR, &boot), (COPY_SECTOR + INFO_SECTOR, &info)] {
        let at = (sector * SECTOR_BYTES) as usize;
        area[at..at + bytes.len()].copy_from_slice(bytes);
    }
    area
}

fn boot_sector(geometry: &Geometry, volume_id: u32, before: u64) -> Vec<u8> {
    let mut sector = vec![0; SECTOR_BYTES as usize];
    let mut put = |at: usize, bytes: &[u8]| sector[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"\xeb\x58\x90SKERRY  ");
    put(11, &(SECTOR_BYTES as u16).to_le_bytes());
    put(13, &[(geometry.cluster / SECTOR_BYTES) as u8]);
    put(14, &(geometry.reserved as u16).to_le_bytes());
    put(16, &[TABLES as u8]);
    put(21, &[0xf8]); // fixed disk
    put(24, &63u16.to_le_bytes()); // geometry of disks long gone
    put(26, &255u16.to_le_bytes());
    put(28, &((before / SECTOR_BYTES) as u32).to_le_bytes());
    put(32, &((geometry.bytes() / SECTOR_BYTES) as u32).to_le_bytes());
    put(36, &geometry.table_sectors.to_le_bytes());
    put(44, &ROOT.to_le_bytes());
    put(48, &(INFO_SECTOR as u16).to_le_bytes());
    put(50, &(COPY_SECTOR as u16).to_le_bytes());
    put(64, &[0x80, 0, 0x29]); // a fixed disk's drive number; the fields that follow are there
    put(67, &volume_id.to_le_bytes());
    put(71, LABEL);
    put(82, b"FAT32   ");
    put(510, &[0x55, 0xaa]);
    sector
}

fn info_sector(geometry: &Geometry, file_bytes: u64) -> Vec<u8> {
    let used = u64::from(FILE - ROOT) + file_bytes.div_ceil(geometry.cluster);
    let mut sector = vec![0; SECTOR_BYTES as usize];
    let numbers = [
        (0, 0x4161_5252),
        (484, 0x6141_7272),
        (488, (geometry.clusters - used) as u32),
        (492, (u64::from(ROOT) + used) as u32),
        (508, 0xaa55_0000),
    ];
    for (at, number) in numbers {
        sector[at..at + 4].copy_from_slice(&u32::to_le_bytes(number));
    }
    sector
}

/// The allocation table: three folders of one cluster, then the file, cluster after cluster.
fn table(file_clusters: u32) -> Vec<u8> {
    let chain = (1..=file_clusters).map(|n| if n == file_clusters { END_OF_CHAIN } else { FILE + n });
    let entries = [MEDIA, END_OF_CHAIN, END_OF_CHAIN, END_OF_CHAIN, END_OF_CHAIN].into_iter().chain(chain);
    entries.flat_map(u32::to_le_bytes).collect()
}

fn entry(name: [u8; 11], attributes: u8, cluster: u32, bytes: u32) -> Vec<u8> {
    let mut entry = vec![0; 32];
    entry[..11].copy_from_slice(&name);
    entry[11] = attributes;
    for at in [16, 18, 24] {
        entry[at..at + 2].copy_from_slice(&DATE.to_le_bytes());
    }
    entry[20..22].copy_from_slice(&((cluster >> 16) as u16).to_le_bytes());
    entry[26..28].copy_from_slice(&(cluster as u16).to_le_bytes());
    entry[28..32].copy_from_slice(&bytes.to_le_bytes());
    entry
}

/// `.` and `..`; the root counts as cluster 0 there.
fn dots(own: u32, parent: u32) -> Vec<u8> {
    [entry(*b".          ", FOLDER, own, 0), entry(*b"..         ", FOLDER, parent, 0)].concat()
}

fn short_name(name: &str) -> [u8; 11] {
    let (stem, extension) = name.split_once('.').unwrap_or((name, ""));
    let mut short = [b' '; 11];
    short[..stem.len()].copy_from_slice(stem.as_bytes());
    short[8..8 + extension.len()].copy_from_slice(extension.as_bytes());
    short
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::process::Command;

    use super::*;
    use crate::image::esp;
    use crate::image::window::Window;
    use crate::oracle;

    fn made(bytes: usize, name: &'static str) -> (Vec<u8>, Vec<u8>) {
        let content: Vec<u8> = (0..bytes as u32).map(|n| (n / 3) as u8).collect();
        let mut pieces = Pieces::new();
        pieces.add(content.clone());
        let fat = plan(Program { name, content: pieces }, 0x1234_5678, 1 << 20);
        let mut read = Vec::new();
        fat.reader(&tempfile::tempfile().expect("temp file")).read_to_end(&mut read).expect("read");
        (read, content)
    }

    #[test]
    fn fsck_finds_no_fault_at_any_size() {
        for bytes in [0, 1, 512, 5_000_000, 33_600_000, 70_000_000] {
            let file = tempfile::NamedTempFile::new().expect("temp file");
            std::fs::write(file.path(), made(bytes, "BOOTX64.EFI").0).expect("written");
            let Some(output) = oracle::ask(Command::new("/usr/sbin/fsck.fat").arg("-nv").arg(file.path())) else { return };
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && text.contains("32 bit"), "{bytes}: {text}");
        }
    }

    #[test]
    fn the_file_reads_back_under_its_name() {
        for name in ["BOOTX64.EFI", "BOOTAA64.EFI"] {
            let (fat, content) = made(3_000_001, name);
            let file = tempfile::NamedTempFile::new().expect("temp file");
            std::fs::write(file.path(), &fat).expect("written");
            let read = esp::read(Window::new(file.as_file(), 0, fat.len() as u64)).expect("read");
            assert!(read == [(format!("EFI/BOOT/{name}"), content)]);
        }
    }

    #[test]
    fn the_data_lies_where_a_disc_reads_whole_blocks() {
        for bytes in [0, 100_000_000, 700_000_000, 3_000_000_000] {
            let geometry = Geometry::of(bytes);
            assert_eq!(geometry.data_offset() % 4096, 0);
            assert!(u64::from(geometry.table_sectors) * 128 >= geometry.clusters + 2);
        }
    }
}
