//! The dm-verity hash tree of a runtime image: format 1, SHA-256, 4096-byte blocks, as `veritysetup` reads it.
//!
//! Built and re-computed by the same code; it trusts nothing it finds on a disk.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::digest::Digest;
use crate::parallel;

/// Bytes in a data block and in a hash block.
pub const BLOCK_BYTES: u64 = 4096;

const BLOCK: usize = BLOCK_BYTES as usize;
const HASH: usize = 32;
/// Blocks a thread reads at once.
const READ_BLOCKS: u64 = 256;

/// A hash tree and what a kernel needs to trust it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verity {
    /// Number of data blocks.
    pub data_blocks: u64,
    /// Salt, hashed before each block.
    pub salt: Digest,
    /// The root hash.
    pub root: Digest,
    /// Superblock, then the levels of the tree, the top one first.
    pub tree: Vec<u8>,
}

impl Verity {
    /// The kernel command line's word: `skerry.runtime=<data blocks>:<salt>:<root hash>`.
    pub fn command_line_word(&self) -> String {
        format!("{COMMAND_LINE_KEY}{}:{}:{}", self.data_blocks, self.salt.hex(), self.root.hex())
    }

    /// Data and tree together.
    pub fn total_bytes(&self) -> u64 {
        self.data_blocks * BLOCK_BYTES + self.tree.len() as u64
    }
}

/// How the command line's word begins.
pub const COMMAND_LINE_KEY: &str = "skerry.runtime=";

/// What the command line says of a runtime image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// Number of data blocks.
    pub data_blocks: u64,
    /// Salt.
    pub salt: Digest,
    /// Root hash.
    pub root: Digest,
}

/// Finds and parses the word on a command line.
pub fn parse_command_line(command_line: &str) -> Option<Expected> {
    let word = command_line.split_whitespace().find_map(|word| word.strip_prefix(COMMAND_LINE_KEY))?;
    let mut fields = word.split(':');
    let data_blocks = fields.next()?.parse().ok()?;
    let mut digest = || <[u8; 32]>::try_from(hex::decode(fields.next()?).ok()?).ok().map(Digest::from);
    let expected = Expected { data_blocks, salt: digest()?, root: digest()? };
    fields.next().is_none().then_some(expected)
}

/// Why a tree cannot be computed.
#[derive(Debug, thiserror::Error)]
pub enum VerityError {
    /// The image does not end on a block.
    #[error("cannot make a hash tree over {bytes} bytes: not a multiple of {BLOCK_BYTES}, or nothing at all")]
    Length {
        /// Its length.
        bytes: u64,
    },
    /// The image cannot be read.
    #[error("cannot read the runtime image at byte {offset}")]
    Read {
        /// Where.
        offset: u64,
        /// Why.
        source: std::io::Error,
    },
}

/// Computes the tree over `bytes` bytes of `file` from `offset`, on all cores.
pub fn build(file: &File, offset: u64, bytes: u64, salt: Digest, uuid: Uuid) -> Result<Verity, VerityError> {
    if bytes == 0 || !bytes.is_multiple_of(BLOCK_BYTES) {
        return Err(VerityError::Length { bytes });
    }
    let data_blocks = bytes / BLOCK_BYTES;
    let mut hashes = hash_data(file, offset, data_blocks, &salt)?;
    let mut levels = Vec::new();
    while hashes.len() > HASH {
        hashes.resize(hashes.len().next_multiple_of(BLOCK), 0);
        let above = hashes.chunks(BLOCK).flat_map(|block| hash_block(&salt, block)).collect();
        levels.push(std::mem::replace(&mut hashes, above));
    }
    let mut root = [0; HASH];
    root.copy_from_slice(&hashes);
    let mut tree = superblock(data_blocks, &salt, uuid);
    levels.iter().rev().for_each(|level| tree.extend_from_slice(level));
    Ok(Verity { data_blocks, salt, root: root.into(), tree })
}

/// Superblock and hash tree over so many data blocks, in bytes.
pub fn tree_bytes(data_blocks: u64) -> u64 {
    let above = |blocks: &u64| (*blocks > 1).then(|| blocks.div_ceil(BLOCK_BYTES / HASH as u64));
    let levels = std::iter::successors(above(&data_blocks), above);
    (1 + levels.sum::<u64>()) * BLOCK_BYTES
}

fn hash_block(salt: &Digest, block: &[u8]) -> [u8; HASH] {
    Sha256::new_with_prefix(salt.as_bytes()).chain_update(block).finalize().into()
}

/// The hashes of all data blocks, one after the other.
fn hash_data(file: &File, offset: u64, blocks: u64, salt: &Digest) -> Result<Vec<u8>, VerityError> {
    let starts: Vec<u64> = (0..blocks).step_by(READ_BLOCKS as usize).collect();
    let hashes = parallel::map(&starts, |start| hash_run(file, offset, *start..(start + READ_BLOCKS).min(blocks), salt))?;
    Ok(hashes.concat())
}

fn hash_run(file: &File, offset: u64, run: Range<u64>, salt: &Digest) -> Result<Vec<u8>, VerityError> {
    let mut data = vec![0; ((run.end - run.start) * BLOCK_BYTES) as usize];
    let at = offset + run.start * BLOCK_BYTES;
    file.read_exact_at(&mut data, at).map_err(|source| VerityError::Read { offset: at, source })?;
    Ok(data.chunks(BLOCK).flat_map(|block| hash_block(salt, block)).collect())
}

/// The superblock, padded to a hash block. Layout: `man veritysetup`, on-disk format 1, all numbers little-endian.
fn superblock(data_blocks: u64, salt: &Digest, uuid: Uuid) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(BLOCK);
    bytes.extend_from_slice(b"verity\0\0");
    bytes.extend_from_slice(&1u32.to_le_bytes()); // version of this layout
    bytes.extend_from_slice(&1u32.to_le_bytes()); // hash type: salt before data
    bytes.extend_from_slice(uuid.as_bytes());
    let mut algorithm = [0; 32];
    algorithm[..6].copy_from_slice(b"sha256");
    bytes.extend_from_slice(&algorithm);
    bytes.extend_from_slice(&(BLOCK as u32).to_le_bytes()); // data block
    bytes.extend_from_slice(&(BLOCK as u32).to_le_bytes()); // hash block
    bytes.extend_from_slice(&data_blocks.to_le_bytes());
    bytes.extend_from_slice(&(HASH as u16).to_le_bytes()); // length of the salt
    bytes.extend_from_slice(&[0; 6]);
    bytes.extend_from_slice(salt.as_bytes());
    bytes.resize(BLOCK, 0);
    bytes
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::Command;

    use super::*;
    use crate::oracle;

    fn image(blocks: usize) -> File {
        let mut file = tempfile::tempfile().expect("temp file");
        for n in 0..blocks {
            file.write_all(&[n as u8; BLOCK]).expect("written");
        }
        file
    }

    fn tree(blocks: usize) -> Verity {
        build(&image(blocks), 0, (blocks * BLOCK) as u64, Digest::of(b"salt"), Digest::of(b"x").guid("verity")).expect("built")
    }

    #[test]
    fn veritysetup_accepts_the_tree() {
        for blocks in [1usize, 2, 128, 129, 16_385] {
            let verity = tree(blocks);
            assert_eq!(verity.tree.len() as u64, tree_bytes(blocks as u64), "{blocks} blocks");
            let mut whole = tempfile::NamedTempFile::new().expect("temp file");
            std::io::copy(&mut std::io::Read::by_ref(&mut { rewound(image(blocks)) }), &mut whole).expect("copied");
            whole.write_all(&verity.tree).expect("written");
            let offset = format!("--hash-offset={}", blocks * BLOCK);
            let mut command = Command::new("/usr/sbin/veritysetup");
            command.arg("verify").args([whole.path(), whole.path()]).arg(verity.root.hex()).arg(offset);
            let Some(output) = oracle::ask(&mut command) else { return };
            assert!(output.status.success(), "{blocks} blocks: {}", String::from_utf8_lossy(&output.stderr));
        }
    }

    fn rewound(mut file: File) -> File {
        std::io::Seek::rewind(&mut file).expect("rewound");
        file
    }

    #[test]
    fn a_changed_byte_changes_the_root() {
        let file = image(300);
        let root = |file: &File| build(file, 0, 300 * BLOCK_BYTES, Digest::of(b"salt"), Uuid::nil()).expect("built").root;
        let before = root(&file);
        file.write_all_at(&[0xff], 299 * BLOCK_BYTES + 17).expect("written");
        assert_ne!(before, root(&file));
    }

    #[test]
    fn the_command_line_word_reads_back() {
        let verity = tree(5);
        let line = format!("quiet {} panic=10", verity.command_line_word());
        let expected = parse_command_line(&line).expect("parsed");
        assert_eq!((expected.data_blocks, expected.salt, expected.root), (5, verity.salt, verity.root));
        for broken in ["", "skerry.runtime=5", "skerry.runtime=5:00:00", "skerry.runtime=x:y:z"] {
            assert_eq!(parse_command_line(broken), None, "{broken}");
        }
    }

    #[test]
    fn an_image_that_does_not_end_on_a_block_is_refused() {
        for bytes in [0, 1, BLOCK_BYTES + 512] {
            let result = build(&image(2), 0, bytes, Digest::of(b"salt"), Uuid::nil());
            assert!(matches!(result, Err(VerityError::Length { .. })), "{bytes}");
        }
    }
}
