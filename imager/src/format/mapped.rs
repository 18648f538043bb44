//! Which blocks of a disk image must be written for the disk to work, whatever was on it before: all that is not zero, and the zeros that mean
//! something. Those are the partition tables, the boot partition's tables, files and folders, SEED, and the runtime image with its hash tree.
//!
//! It goes by what the blocks mean, not by where the file has holes: those depend on the file system it lies on, and a hole may mean something.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use machine_config::disk::{Partition, SECTOR_BYTES, SEED_BYTES};
use machine_config::ram_form::Extent;

use super::fat;
use crate::bmap::BLOCK_BYTES;
use crate::image::verity;
use crate::inspect::disk::{Disk, Found};
use crate::sparse;

/// Sectors of the first partition table with the boot sector before it, and of the second with none.
const TABLE_SECTORS: u64 = 34;
const READ_BYTES: u64 = 1 << 20;
/// Where a squashfs superblock has the length of the image, and its magic.
const SQUASHFS_BYTES_USED: usize = 40;
const SQUASHFS_MAGIC: &[u8] = b"hsqs";
const VERITY_MAGIC: &[u8] = b"verity\0\0";

/// Why an image cannot be mapped.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// It cannot be read.
    #[error("cannot read the image at byte {offset}")]
    Read {
        /// Where.
        offset: u64,
        /// Why.
        source: io::Error,
    },
    /// A partition is not what an image has there.
    #[error("cannot map partition {partition}: {reason}; build the image again")]
    Partition {
        /// Its name.
        partition: &'static str,
        /// What is wrong.
        reason: &'static str,
    },
}

/// What must be written, and the two places that matter by themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapped {
    /// Length of the image.
    pub bytes: u64,
    /// Whole blocks, ascending, without overlap; SEED is one of them, by itself.
    pub ranges: Vec<Range<u64>>,
    /// SEED.
    pub seed: Range<u64>,
    /// The content of RUNTIME-A: squashfs, verity superblock, hash tree; it lies in one range.
    pub runtime: Extent,
}

/// Maps an image: all that means something, and all that is not zero.
pub fn of(disk: &Disk) -> Result<Mapped, MapError> {
    let Meaning { mut ranges, seed, runtime } = meaning(disk)?;
    let content = runtime.offset..runtime.offset + runtime.bytes;
    for range in sparse::without(0..disk.bytes, &content) {
        ranges.extend(not_zero(disk.file(), range)?);
    }
    Ok(Mapped { bytes: disk.bytes, ranges: blocks(ranges, &seed, disk.bytes), seed, runtime })
}

/// Maps what an image was written to, whatever else is on it: what the image's own tables say that means something, and nothing of the rest, zero or
/// not. All that is read to find out is in the map itself, so whoever compares the mapped blocks has compared the map.
pub fn by_tables(disk: &Disk) -> Result<Mapped, MapError> {
    let Meaning { ranges, seed, runtime } = meaning(disk)?;
    Ok(Mapped { bytes: disk.bytes, ranges: blocks(ranges, &seed, disk.bytes), seed, runtime })
}

/// Whole blocks, ascending, with SEED by itself.
fn blocks(ranges: Vec<Range<u64>>, seed: &Range<u64>, bytes: u64) -> Vec<Range<u64>> {
    let whole = sparse::whole_blocks(ranges, BLOCK_BYTES, bytes);
    let mut ranges: Vec<_> = whole.into_iter().flat_map(|range| sparse::without(range, seed)).chain([seed.clone()]).collect();
    ranges.sort_by_key(|range| range.start);
    ranges
}

/// What a disk's tables say that means something.
struct Meaning {
    /// In no order.
    ranges: Vec<Range<u64>>,
    seed: Range<u64>,
    runtime: Extent,
}

fn meaning(disk: &Disk) -> Result<Meaning, MapError> {
    let find = |partition: Partition| {
        let missing = MapError::Partition { partition: partition.name(), reason: "it is not there" };
        disk.partition(partition).map_err(|_| missing)
    };
    let (esp, seed, runtime) = (find(Partition::Esp)?, find(Partition::Seed)?, find(Partition::RuntimeA)?);
    if seed.bytes != SEED_BYTES {
        return Err(MapError::Partition { partition: "SEED", reason: "it is not of the size it has" });
    }
    let (file, bytes) = (disk.file(), disk.bytes);
    let runtime = runtime_content(file, runtime)?;
    let seed = seed.offset..seed.offset + seed.bytes;
    let content = runtime.offset..runtime.offset + runtime.bytes;
    let tables = TABLE_SECTORS * SECTOR_BYTES;
    let mut ranges = vec![0..tables, content, bytes.saturating_sub(tables - SECTOR_BYTES)..bytes];
    let damaged = |reason| MapError::Partition { partition: Partition::Esp.name(), reason };
    ranges.extend(fat::used(file, Extent { offset: esp.offset, bytes: esp.bytes }).map_err(damaged)?);
    Ok(Meaning { ranges, seed, runtime })
}

fn read(file: &File, offset: u64, buffer: &mut [u8]) -> Result<(), MapError> {
    file.read_exact_at(buffer, offset).map_err(|source| MapError::Read { offset, source })
}

/// The blocks of a range that are not all zeros.
fn not_zero(file: &File, range: Range<u64>) -> Result<Vec<Range<u64>>, MapError> {
    let mut found = Vec::new();
    let mut buffer = vec![0; READ_BYTES as usize];
    let holes = |source: rustix::io::Errno| MapError::Read { offset: range.start, source: source.into() };
    for data in sparse::data_ranges(file, range.end).map_err(holes)? {
        let mut at = data.start.max(range.start) / BLOCK_BYTES * BLOCK_BYTES;
        while at < data.end {
            let count = READ_BYTES.min(data.end - at) as usize;
            read(file, at, &mut buffer[..count])?;
            let blocks = buffer[..count].chunks(BLOCK_BYTES as usize).zip((at..).step_by(BLOCK_BYTES as usize));
            let blocks = blocks.filter(|(block, _)| block.iter().any(|byte| *byte != 0));
            found.extend(blocks.map(|(block, at)| at..at + block.len() as u64));
            at += count as u64;
        }
    }
    Ok(found)
}

/// What RUNTIME-A holds, by its squashfs and verity superblocks. Nothing is trusted for it: a wrong answer makes an image that does not boot.
fn runtime_content(file: &File, found: &Found) -> Result<Extent, MapError> {
    let wrong = |reason| Err(MapError::Partition { partition: Partition::RuntimeA.name(), reason });
    let mut superblock = [0; 96];
    read(file, found.offset, &mut superblock)?;
    if !superblock.starts_with(SQUASHFS_MAGIC) {
        return wrong("it holds no squashfs image");
    }
    let used = superblock[SQUASHFS_BYTES_USED..SQUASHFS_BYTES_USED + 8].try_into().map(u64::from_le_bytes);
    let blocks = used.expect("eight bytes").div_ceil(verity::BLOCK_BYTES);
    let bytes = blocks.checked_add(1).and_then(|blocks| blocks.checked_mul(verity::BLOCK_BYTES));
    if bytes.is_none_or(|bytes| bytes > found.bytes) {
        return wrong("its squashfs image is longer than it is");
    }
    let mut magic = [0; VERITY_MAGIC.len()];
    read(file, found.offset + blocks * verity::BLOCK_BYTES, &mut magic)?;
    let total = blocks * verity::BLOCK_BYTES + verity::tree_bytes(blocks);
    match magic == VERITY_MAGIC && total <= found.bytes {
        true => Ok(Extent { offset: found.offset, bytes: total }),
        false => wrong("no whole hash tree follows its squashfs image"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::tests::build_sample;
    use crate::image::esp::{self, EspFile};

    /// What a disk holds that was full of other bytes, once the mapped blocks are written.
    fn onto_a_used_disk(image: &[u8], mapped: &Mapped) -> Vec<u8> {
        let mut used = vec![0xee; image.len()];
        for range in &mapped.ranges {
            let range = range.start as usize..range.end as usize;
            used[range.clone()].copy_from_slice(&image[range]);
        }
        used
    }

    #[test]
    fn zeros_inside_of_a_file_that_firmware_reads_are_no_free_space() {
        let folder = tempfile::tempdir().expect("temp folder");
        let path = build_sample(folder.path(), None);
        let esp_at = Disk::open(&path).expect("opened").partition(Partition::Esp).expect("there").clone();
        let gaps = [4 << 10, 64 << 10, 512 << 10].map(|zeros| [vec![7; 5000], vec![0; zeros]].concat()).concat();
        let gaps = [gaps, vec![7; 5000], vec![0; 1 << 20]].concat();
        let zeros = vec![0; 100_000];
        let files = [("EFI/GAPS.BIN", &gaps), ("EFI/ZEROS.BIN", &zeros)];
        let content = esp::build(esp_at.bytes, 1, &files.map(|(path, bytes)| EspFile { path, bytes })).expect("built");
        let file = File::options().write(true).open(&path).expect("opened");
        file.write_all_at(&content, esp_at.offset).expect("written");
        let image = std::fs::read(&path).expect("read");
        let mapped = of(&Disk::open(&path).expect("opened")).expect("mapped");
        let written = folder.path().join("used");
        std::fs::write(&written, onto_a_used_disk(&image, &mapped)).expect("written");
        let used = Disk::open(&written).expect("its tables are whole");
        let read = esp::read(used.window(&esp_at)).expect("a file system");
        assert!(read == files.map(|(path, bytes)| (path.to_owned(), bytes.clone())), "every file is what it was");
        let free: u64 = esp_at.bytes - read.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>();
        let mapped: u64 = mapped.ranges.iter().map(|range| range.end - range.start).sum();
        assert!(mapped < image.len() as u64 - free / 2, "free space is left out");
    }

    #[test]
    fn what_is_mapped_onto_a_used_disk_is_the_image() {
        let folder = tempfile::tempdir().expect("temp folder");
        let path = build_sample(folder.path(), None);
        let disk = Disk::open(&path).expect("opened");
        let mapped = of(&disk).expect("mapped");
        let image = std::fs::read(&path).expect("read");
        let used = onto_a_used_disk(&image, &mapped);
        let nothing_else = Mapped { ranges: by_tables(&disk).expect("mapped").ranges, ..mapped.clone() };
        assert_eq!(nothing_else, mapped, "a built image has nothing but zeros where its tables have nothing");
        let written = folder.path().join("used");
        std::fs::write(&written, &used).expect("written");
        crate::inspect::inspect(&written, crate::inspect::Depth::EveryFile).expect("whole");
        assert_eq!(by_tables(&Disk::open(&written).expect("opened")).expect("mapped"), mapped, "old bytes make no difference");
        assert!(used[mapped.seed.start as usize..mapped.seed.end as usize].iter().all(|byte| *byte == 0), "an old SEED is gone");
        assert!(mapped.ranges.contains(&mapped.seed));
        let runtime = mapped.runtime.offset..mapped.runtime.offset + mapped.runtime.bytes;
        assert!(mapped.ranges.iter().any(|range| range.start <= runtime.start && runtime.end <= range.end));
        let mut outside = image;
        for range in &mapped.ranges {
            outside[range.start as usize..range.end as usize].fill(0);
        }
        assert!(outside == vec![0; outside.len()], "every byte that is not zero is mapped");
    }

    #[test]
    fn what_is_no_runtime_image_is_told() {
        let folder = tempfile::tempdir().expect("temp folder");
        let path = build_sample(folder.path(), None);
        let disk = Disk::open(&path).expect("opened");
        let runtime = disk.partition(Partition::RuntimeA).expect("there").clone();
        let esp = disk.partition(Partition::Esp).expect("there").clone();
        for (offset, bytes, expected) in [
            (esp.offset + 36, [0xff; 4], "damaged"),
            (esp.offset + 508, [0; 4], "damaged"),
            (runtime.offset + 44, [0xff; 4], "longer than it is"),
            (runtime.offset + 40, [0, 0x10, 0, 0], "no whole hash tree"),
            (runtime.offset, [0; 4], "no squashfs"),
        ] {
            let file = File::options().write(true).open(&path).expect("opened");
            let mut before = [0; 4];
            disk.file().read_exact_at(&mut before, offset).expect("read");
            file.write_all_at(&bytes, offset).expect("written");
            let error = of(&disk).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
            file.write_all_at(&before, offset).expect("mended");
        }
    }
}
