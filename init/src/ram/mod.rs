//! The RAM form: a system whose disk image lies in its own RAM disk. It searches no disk and needs none.
//!
//! [`RamForm::find`] says whether this system is one; the runtime image is opened through a loop device (`loop_device`), and nothing here
//! writes to a disk: that is `install`'s.

mod loop_device;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use machine_config::ram_form::{self, RamFormError, RamImage};

pub use loop_device::LoopError;

use crate::disk::gpt::ReadAt;
use crate::verity::RuntimeSeal;

/// Why a system that has the files of a RAM form cannot run from them.
#[derive(Debug, thiserror::Error)]
pub enum RamError {
    /// A file cannot be read.
    #[error("cannot read {}: boot the medium again, or make it anew", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The index says what cannot be.
    #[error(transparent)]
    Index(#[from] RamFormError),
    /// The image is shorter or longer than its index says.
    #[error("cannot use {}: it has {found} bytes, its index says {expected}; build the image again", path.display())]
    Size {
        /// Which file.
        path: PathBuf,
        /// As found.
        found: u64,
        /// As the index says.
        expected: u64,
    },
    /// Another runtime image than the one the kernel was told of.
    #[error(
        "cannot run the image in RAM: it is not the one this kernel was built with (root hash {root}…); build the image again"
    )]
    OtherRuntime {
        /// First digits of the expected root hash.
        root: String,
    },
    /// No loop device.
    #[error(transparent)]
    Loop(#[from] LoopError),
}

/// The disk image in RAM and its index, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RamForm {
    /// What lies where.
    pub index: RamImage,
    root: PathBuf,
}

impl RamForm {
    /// The RAM form below this root; none when this system runs from a disk.
    pub fn find(root: &Path) -> Result<Option<Self>, RamError> {
        let path = root.join(ram_form::INDEX);
        let json = match std::fs::read(&path) {
            Ok(json) => json,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(RamError::Read { path, source }),
        };
        let form = Self { index: RamImage::parse(&json)?, root: root.to_owned() };
        let (path, expected) = (form.image_path(), form.index.mapped_bytes());
        let found = std::fs::metadata(&path).map_err(|source| RamError::Read { path: path.clone(), source })?.len();
        if found == expected { Ok(Some(form)) } else { Err(RamError::Size { path, found, expected }) }
    }

    /// The mapped blocks, one after the other.
    pub fn image_path(&self) -> PathBuf {
        self.root.join(ram_form::IMAGE)
    }

    /// SEED.
    pub fn seed_path(&self) -> PathBuf {
        self.root.join(ram_form::SEED)
    }

    /// Whether the runtime image in RAM is the one the kernel was told of. One block is read.
    pub fn check_seal(&self, seal: &RuntimeSeal) -> Result<(), RamError> {
        let image = self.open()?;
        let matches = seal.matches(&image, self.runtime_position());
        if matches { Ok(()) } else { Err(RamError::OtherRuntime { root: seal.root_hex()[..12].to_owned() }) }
    }

    /// Makes the runtime image a block device; returns its device file.
    pub fn attach_runtime(&self) -> Result<PathBuf, RamError> {
        Ok(loop_device::attach(&self.open()?, self.runtime_position(), self.index.runtime.bytes)?)
    }

    /// The mapped blocks, opened.
    pub fn open(&self) -> Result<File, RamError> {
        let path = self.image_path();
        File::open(&path).map_err(|source| RamError::Read { path, source })
    }

    fn runtime_position(&self) -> u64 {
        self.index.position(self.index.runtime).expect("the index was checked when it was read")
    }
}

/// The disk image as it would lie on a disk: mapped blocks from RAM, zeros elsewhere.
#[derive(Debug)]
pub struct DiskImage<'a, R> {
    /// What lies where.
    pub index: &'a RamImage,
    /// The mapped blocks.
    pub blocks: R,
}

impl<R: ReadAt> ReadAt for DiskImage<'_, R> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= self.index.image_bytes);
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.fill(0);
        let mut position = 0;
        for range in &self.index.ranges {
            let (from, to) = (range.offset.max(offset), (range.offset + range.bytes).min(end));
            if from < to {
                let place = |at: u64| usize::try_from(at - offset).expect("inside of the buffer");
                self.blocks.read_at(&mut buffer[place(from)..place(to)], position + (from - range.offset))?;
            }
            position += range.bytes;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use machine_config::Digest;
    use machine_config::ram_form::{Extent, Range};
    use sha2::{Digest as _, Sha256};

    use super::*;

    impl RamForm {
        /// Of a system in RAM whose files nobody opens.
        pub(crate) fn of(index: RamImage, root: &Path) -> Self {
            Self { index, root: root.to_owned() }
        }
    }

    /// Blocks in memory.
    #[derive(Debug, Clone)]
    pub(crate) struct Bytes(pub(crate) Vec<u8>);

    impl ReadAt for Bytes {
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
            let start = usize::try_from(offset).expect("small");
            let from = self.0.get(start..start + buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            buffer.copy_from_slice(from);
            Ok(())
        }
    }

    /// The index of these parts of an image, each at an offset, and the blocks one after the other.
    pub(crate) fn pack(image_bytes: u64, seed_offset: u64, runtime: Extent, parts: &[(u64, Vec<u8>)]) -> (RamImage, Bytes) {
        let range =
            |(offset, bytes): &(u64, Vec<u8>)| Range { offset: *offset, bytes: bytes.len() as u64, sha256: Digest::of(bytes) };
        let ranges = parts.iter().map(range).collect();
        let index = RamImage { image_bytes, block_bytes: ram_form::BLOCK_BYTES, ranges, seed_offset, runtime };
        index.check().expect("well formed");
        (index, Bytes(parts.iter().flat_map(|(_, bytes)| bytes.clone()).collect()))
    }

    const RUNTIME: Extent = Extent { offset: 2 << 20, bytes: 8192 };

    fn form(folder: &Path, seal: &RuntimeSeal) -> RamForm {
        assert_eq!(seal.data_blocks, 0, "the top hash block is the second");
        let blocks = [vec![1; 4096], vec![7; 4096]].concat();
        let (index, bytes) = pack(4 << 20, 1 << 20, RUNTIME, &[(0, vec![9; 4096]), (RUNTIME.offset, blocks)]);
        std::fs::create_dir_all(folder.join(ram_form::FOLDER)).expect("writable");
        std::fs::write(folder.join(ram_form::INDEX), index.to_json()).expect("writable");
        std::fs::write(folder.join(ram_form::IMAGE), bytes.0).expect("writable");
        RamForm::find(folder).expect("whole").expect("there")
    }

    fn seal(fill: u8) -> RuntimeSeal {
        let root_hash = Sha256::digest([&[1, 2][..], &[fill; 4096]].concat()).into();
        RuntimeSeal { data_blocks: 0, salt: vec![1, 2], root_hash }
    }

    #[test]
    fn a_system_on_a_disk_has_no_ram_form() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        assert_eq!(RamForm::find(folder.path()).expect("no error"), None);
    }

    #[test]
    fn the_image_in_ram_must_be_the_kernels_own() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let form = form(folder.path(), &seal(7));
        form.check_seal(&seal(7)).expect("its own");
        assert!(matches!(form.check_seal(&seal(8)), Err(RamError::OtherRuntime { .. })));
    }

    #[test]
    fn an_image_that_was_cut_short_is_named() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        form(folder.path(), &seal(7));
        std::fs::write(folder.path().join(ram_form::IMAGE), [0; 100]).expect("writable");
        let error = RamForm::find(folder.path()).expect_err("too short").to_string();
        assert!(error.contains("it has 100 bytes, its index says 12288"), "{error}");
        std::fs::write(folder.path().join(ram_form::INDEX), "{}").expect("writable");
        assert!(matches!(RamForm::find(folder.path()), Err(RamError::Index(_))));
    }

    #[test]
    fn the_disk_image_is_read_as_a_disk_would_be() {
        let parts = [(4096, vec![1; 4096]), (12_288, vec![2; 4096])];
        let runtime = Extent { offset: 4096, bytes: 4096 };
        let (index, blocks) = pack(3 << 20, 1 << 20, runtime, &parts);
        let image = DiskImage { index: &index, blocks };
        let mut buffer = vec![0xff; 16_384];
        image.read_at(&mut buffer, 2048).expect("inside");
        let expected = [vec![0; 2048], vec![1; 4096], vec![0; 4096], vec![2; 4096], vec![0; 2048]].concat();
        assert!(buffer == expected);
        assert!(image.read_at(&mut buffer, (3 << 20) - 1).is_err(), "past its end");
    }
}
