//! How large each board's image is, and how much of that is payload.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use machine_config::disk::{Partition, SECTOR_BYTES};
use skerry_tests::esp::Esp;
use skerry_tests::figure::Figure;
use skerry_tests::filesystem;
use skerry_tests::images::TestImage;
use skerry_tests::lab::Lab;
use skerry_tests::uki::Uki;

/// A dm-verity block, and how many SHA-256 digests fit into one.
const BLOCK: u64 = 4096;
const DIGESTS_PER_BLOCK: u64 = BLOCK / 32;

/// An image may be this large without k3s; the stand-in weighs next to nothing.
const MOST_BYTES: f64 = 400.0 * 1024.0 * 1024.0;
/// Blocks taken over payload.
const MOST_RATIO: f64 = 1.1;

/// Sizes of the image of every board, and, under the names without a board, of the virtual PC's.
pub(crate) fn of_images(lab: &Lab) -> Result<Vec<Figure>> {
    let mut figures = vec![uki(&lab.image(TestImage::Seeded))?];
    for image in TestImage::boards() {
        let (apparent, ratio) = measure(&lab.image(image)).with_context(|| format!("cannot measure the {}", image.board()))?;
        if image == TestImage::Seeded {
            figures.push(Figure::new("image_apparent_bytes", apparent, "bytes"));
            figures.push(Figure::new("image_allocated_ratio", ratio, "ratio").at_most(MOST_RATIO));
        }
        let board = image.board();
        figures.push(Figure::new(format!("image_apparent_bytes_{board}"), apparent, "bytes").at_most(MOST_BYTES));
        figures.push(Figure::new(format!("image_allocated_ratio_{board}"), ratio, "ratio").at_most(MOST_RATIO));
    }
    Ok(figures)
}

fn uki(image: &Path) -> Result<Figure> {
    Ok(Figure::new("uki_bytes", float(Uki::read(image)?.len() as u64), "bytes").at_most(45e6))
}

/// The length of an image, and the blocks it takes over its payload. SEED is no payload: it is a reserved megabyte of which a stamp fills a few
/// kilobytes.
fn measure(image: &Path) -> Result<(f64, f64)> {
    let file = fs::metadata(image).with_context(|| format!("cannot look at {}", image.display()))?;
    let blocks = squashfs_bytes(image)?.div_ceil(BLOCK);
    let payload = Esp::read(image)?.bytes() + (blocks + verity_blocks(blocks)) * BLOCK;
    Ok((float(file.len()), float(file.blocks() * 512) / float(payload)))
}

#[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
fn float(bytes: u64) -> f64 {
    bytes as f64
}

/// Length of the squashfs image in RUNTIME-A, as its superblock has it.
fn squashfs_bytes(image: &Path) -> Result<u64> {
    let at = filesystem::find(image, Partition::RuntimeA)?.starting_lba * SECTOR_BYTES;
    let mut superblock = [0; 96];
    File::open(image)?.read_exact_at(&mut superblock, at).context("cannot read RUNTIME-A")?;
    ensure!(superblock.starts_with(b"hsqs"), "RUNTIME-A holds no squashfs image");
    let used = superblock[40..48].try_into().expect("eight bytes");
    Ok(u64::from_le_bytes(used))
}

/// Blocks of the superblock and the hash tree over `data` blocks.
fn verity_blocks(data: u64) -> u64 {
    let mut level = data;
    let mut total = 1;
    while level > 1 {
        level = level.div_ceil(DIGESTS_PER_BLOCK);
        total += level;
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_tree_is_counted_level_by_level() {
        assert_eq!(verity_blocks(1), 1);
        assert_eq!(verity_blocks(128), 2);
        assert_eq!(verity_blocks(129), 1 + 2 + 1);
        assert_eq!(verity_blocks(20000), 1 + 157 + 2 + 1);
    }
}
