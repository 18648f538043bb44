//! The sealed runtime image: what the kernel's command line says of it, and the dm-verity device made from that.
//!
//! Nothing the disk says of itself is trusted: size, salt and root hash come from the command line, which lies in the UKI.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::disk::gpt::ReadAt;
use crate::sys;

/// Bytes in a data block and in a hash block.
pub const BLOCK_BYTES: u64 = 4096;

/// Parameter on the kernel's command line.
const PARAMETER: &str = "skerry.runtime=";

/// What the command line says of the runtime image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeSeal {
    /// Data blocks of 4096 bytes.
    pub data_blocks: u64,
    /// Salt, as given.
    pub salt: Vec<u8>,
    /// Root hash.
    pub root_hash: [u8; 32],
}

/// Why there is no usable seal, or the image cannot be opened with it.
#[derive(Debug, thiserror::Error)]
pub enum VerityError {
    /// The parameter is missing.
    #[error("cannot find skerry.runtime= on the kernel's command line: boot the UKI that imager made")]
    NoParameter,
    /// The parameter is malformed.
    #[error("cannot understand skerry.runtime={value}: expected BLOCKS:SALT:ROOTHASH")]
    BadParameter {
        /// What it says.
        value: String,
    },
    /// Device-mapper refused.
    #[error("cannot {step} the verity device")]
    Mapper {
        /// Which step.
        step: &'static str,
        /// Why.
        source: io::Error,
    },
}

impl RuntimeSeal {
    /// Reads the parameter from the whole command line; the last one wins, as with the kernel's own.
    pub fn from_command_line(line: &str) -> Result<Self, VerityError> {
        let value =
            line.split_whitespace().rev().find_map(|word| word.strip_prefix(PARAMETER)).ok_or(VerityError::NoParameter)?;
        Self::parse(value).ok_or_else(|| VerityError::BadParameter { value: value.to_owned() })
    }

    fn parse(value: &str) -> Option<Self> {
        let mut parts = value.split(':');
        let (blocks, salt, root, end) = (parts.next()?, parts.next()?, parts.next()?, parts.next());
        let data_blocks = blocks.parse().ok().filter(|blocks| (1..=u64::from(u32::MAX)).contains(blocks))?;
        let salt = hex::decode(salt).ok().filter(|salt| salt.len() <= 256)?;
        let root_hash = hex::decode(root).ok()?.try_into().ok()?;
        end.is_none().then_some(Self { data_blocks, salt, root_hash })
    }

    /// First block of the hash tree: behind the data and the superblock.
    fn hash_start(&self) -> u64 {
        self.data_blocks + 1
    }

    /// Whether this partition carries the image: its top hash block hashes to the root. One block is read; every other block is
    /// checked by the kernel when it is used.
    pub fn matches(&self, device: &impl ReadAt, partition_offset: u64) -> bool {
        let mut block = vec![0; BLOCK_BYTES as usize];
        if device.read_at(&mut block, partition_offset + self.hash_start() * BLOCK_BYTES).is_err() {
            return false;
        }
        // Format 1: the salt comes before the block.
        Sha256::new().chain_update(&self.salt).chain_update(&block).finalize()[..] == self.root_hash
    }

    /// The root hash, hex.
    pub fn root_hex(&self) -> String {
        hex::encode(self.root_hash)
    }

    /// The device-mapper parameters over this partition.
    fn table(&self, device: &Path) -> String {
        let salt = if self.salt.is_empty() { "-".to_owned() } else { hex::encode(&self.salt) };
        let (path, blocks, start) = (device.display(), self.data_blocks, self.hash_start());
        format!("1 {path} {path} {BLOCK_BYTES} {BLOCK_BYTES} {blocks} {start} sha256 {} {salt}", self.root_hex())
    }
}

/// The device's name in device-mapper.
const NAME: &str = "skerry-runtime";

const CONTROL: &str = "/dev/mapper/control";
/// `struct dm_ioctl` with its padding, linux/dm-ioctl.h.
const HEADER_BYTES: usize = 312;
/// `struct dm_target_spec`.
const TARGET_BYTES: usize = 40;
const READ_ONLY: u32 = 1;

/// `_IOWR(0xfd, number, struct dm_ioctl)`.
const fn request(number: u32) -> libc::Ioctl {
    (0xc000_0000_u32 | ((HEADER_BYTES as u32) << 16) | (0xfd << 8) | number) as libc::Ioctl
}

const DEV_CREATE: libc::Ioctl = request(3);
const DEV_REMOVE: libc::Ioctl = request(4);
const DEV_SUSPEND: libc::Ioctl = request(6);
const TABLE_LOAD: libc::Ioctl = request(9);

/// Makes the verity device over a partition; returns its device file.
pub fn open(seal: &RuntimeSeal, partition: &Path) -> Result<PathBuf, VerityError> {
    let control = control()?;
    let mut create = command(0, &[]);
    send(&control, "create", DEV_CREATE, &mut create)?;
    let device = u64::from_ne_bytes(create[40..48].try_into().expect("eight bytes"));
    let target = target(seal.data_blocks * (BLOCK_BYTES / 512), &seal.table(partition));
    send(&control, "load the table of", TABLE_LOAD, &mut command(READ_ONLY, &target))?;
    send(&control, "resume", DEV_SUSPEND, &mut command(0, &[]))?;
    // Device-mapper names its nodes dm-MINOR; the minor's low 8 and high 12 bits lie apart (huge_encode_dev).
    let minor = (device & 0xff) | ((device >> 12) & 0xfff00);
    Ok(PathBuf::from(format!("/dev/dm-{minor}")))
}

/// Takes the device away again; fails while it is in use.
pub fn close() -> Result<(), VerityError> {
    send(&control()?, "remove", DEV_REMOVE, &mut command(0, &[]))
}

fn control() -> Result<File, VerityError> {
    let opened = OpenOptions::new().read(true).write(true).open(CONTROL);
    opened.map_err(|source| VerityError::Mapper { step: "reach device-mapper for", source })
}

fn send(control: &File, step: &'static str, request: libc::Ioctl, buffer: &mut [u8]) -> Result<(), VerityError> {
    sys::device_mapper(control, request, buffer).map_err(|source| VerityError::Mapper { step, source })
}

/// A `struct dm_ioctl` for our device, followed by `payload` (one target, or nothing).
fn command(flags: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_BYTES + payload.len()];
    let total = u32::try_from(bytes.len()).expect("a few hundred bytes");
    let targets = u32::from(!payload.is_empty());
    for (at, value) in [(0, 4), (12, total), (16, HEADER_BYTES as u32), (20, targets), (28, flags)] {
        bytes[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    }
    bytes[48..48 + NAME.len()].copy_from_slice(NAME.as_bytes());
    bytes[HEADER_BYTES..].copy_from_slice(payload);
    bytes
}

/// A `struct dm_target_spec` and its parameters, padded to eight bytes.
fn target(sectors: u64, parameters: &str) -> Vec<u8> {
    let length = (TARGET_BYTES + parameters.len() + 1).next_multiple_of(8);
    let mut bytes = vec![0; length];
    bytes[8..16].copy_from_slice(&sectors.to_ne_bytes());
    bytes[20..24].copy_from_slice(&u32::try_from(length).expect("a few hundred bytes").to_ne_bytes());
    bytes[24..30].copy_from_slice(b"verity");
    bytes[TARGET_BYTES..TARGET_BYTES + parameters.len()].copy_from_slice(parameters.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::gpt::tests::MemoryDisk;

    fn line(value: &str) -> String {
        format!("console=ttyS0 quiet skerry.runtime={value}\n")
    }

    #[test]
    fn the_seal_is_read_from_the_command_line() {
        let seal = RuntimeSeal::from_command_line(&line(&format!("100:0011:{}", "ab".repeat(32)))).expect("well-formed");
        assert_eq!((seal.data_blocks, seal.salt.as_slice()), (100, &[0, 0x11][..]));
        assert_eq!(
            seal.table(Path::new("/dev/vda3")),
            format!("1 /dev/vda3 /dev/vda3 4096 4096 100 101 sha256 {} 0011", "ab".repeat(32))
        );
    }

    #[test]
    fn a_malformed_seal_is_refused() {
        let root = "ab".repeat(32);
        for value in
            ["", "100", &format!("0::{root}"), &format!("x::{root}"), "100::ab", &format!("1:zz:{root}"), &format!("1::{root}:1")]
        {
            assert!(matches!(RuntimeSeal::from_command_line(&line(value)), Err(VerityError::BadParameter { .. })), "{value}");
        }
        assert!(matches!(RuntimeSeal::from_command_line("quiet"), Err(VerityError::NoParameter)));
    }

    #[test]
    fn only_the_image_of_the_seal_matches() {
        let mut disk = MemoryDisk::blank(16 * 8);
        disk.put(11 * 8, &[7; 4096]);
        let root_hash = Sha256::digest([&[1, 2][..], &[7; 4096]].concat()).into();
        let seal = RuntimeSeal { data_blocks: 8, salt: vec![1, 2], root_hash };
        assert!(seal.matches(&disk, 2 * 4096));
        disk.put(11 * 8, &[8; 512]);
        assert!(!seal.matches(&disk, 2 * 4096));
        assert!(!seal.matches(&disk, 100 * 4096), "the partition is cut off");
    }

    #[test]
    fn the_ioctl_bytes_have_the_kernels_layout() {
        let target = target(800, "1 2");
        assert_eq!(target.len(), 48);
        let bytes = command(READ_ONLY, &target);
        assert_eq!(bytes.len(), HEADER_BYTES + 48);
        assert_eq!(u32::from_ne_bytes(bytes[12..16].try_into().expect("four")), 360);
        assert_eq!(&bytes[48..62], b"skerry-runtime");
        assert_eq!(&bytes[HEADER_BYTES + 24..HEADER_BYTES + 30], b"verity");
        assert_eq!(DEV_CREATE as u32, 0xc138_fd03);
    }
}
