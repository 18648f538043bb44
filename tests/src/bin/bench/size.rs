//! How large an image is, and how much of that is payload.

use std::fs;
use std::os::unix::fs::MetadataExt;

use anyhow::{Context, Result};
use skerry_tests::figure::Figure;
use skerry_tests::images::TestImage;
use skerry_tests::lab::Lab;
use skerry_tests::uki::{Uki, loader_bytes};

/// A dm-verity block, and how many SHA-256 digests fit into one.
const BLOCK: u64 = 4096;
const DIGESTS_PER_BLOCK: u64 = BLOCK / 32;

/// Sizes of the image with a configuration.
pub(crate) fn of_image(lab: &Lab) -> Result<Vec<Figure>> {
    let image = lab.image(TestImage::Seeded);
    let file = fs::metadata(&image).with_context(|| format!("cannot look at {}", image.display()))?;
    let uki = Uki::read(&image)?;
    let blocks = runtime_blocks(&uki.command_line()?).context("the command line names no runtime image")?;
    let runtime = (blocks + verity_blocks(blocks)) * BLOCK;
    // SEED is left out: it is a reserved megabyte of which a stamp fills a few kilobytes.
    let payload = uki.len() as u64 + loader_bytes(&image)? + runtime;
    #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
    let float = |bytes: u64| bytes as f64;
    Ok(vec![
        Figure::new("image_apparent_bytes", float(file.len()), "bytes"),
        Figure::new("image_allocated_ratio", float(file.blocks() * 512) / float(payload), "ratio").at_most(1.1),
        Figure::new("uki_bytes", float(uki.len() as u64), "bytes").at_most(45e6),
    ])
}

/// Data blocks of the runtime image, from `skerry.runtime=<data blocks>:<salt>:<root hash>`.
fn runtime_blocks(command_line: &str) -> Option<u64> {
    let value = command_line.split_whitespace().find_map(|word| word.strip_prefix("skerry.runtime="))?;
    value.split(':').next()?.parse().ok()
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
    fn the_payload_is_counted_from_the_command_line() {
        assert_eq!(runtime_blocks("quiet skerry.runtime=20000:ab:cd panic=10"), Some(20000));
        assert_eq!(runtime_blocks("quiet"), None);
        assert_eq!(verity_blocks(1), 1);
        assert_eq!(verity_blocks(128), 2);
        assert_eq!(verity_blocks(129), 1 + 2 + 1);
        assert_eq!(verity_blocks(20000), 1 + 157 + 2 + 1);
    }
}
