//! The RAM form: a disk image inside of an initramfs, so that a system runs wholly from RAM (PXE, ISO) and can install itself.
//!
//! `imager` appends three files to the board's initramfs: the mapped blocks of the disk image one after the other ([`IMAGE`]), where they belong
//! ([`INDEX`], the JSON of [`RamImage`]), and SEED ([`SEED`]), last, so that stamping is patching a few bytes at a fixed place. `init` runs
//! the runtime image from that file and installs by writing the blocks to a disk: no byte is carried twice. Pure: no I/O.

use serde::{Deserialize, Serialize};

use crate::disk::SEED_BYTES;
use crate::types::Digest;

/// Folder of the three files, below the root of the initramfs.
pub const FOLDER: &str = "skerry/ram";

/// The index, below the root of the initramfs. A system that has this file runs from RAM.
pub const INDEX: &str = "skerry/ram/image.json";

/// The mapped blocks of the disk image, one after the other, below the root of the initramfs.
pub const IMAGE: &str = "skerry/ram/image";

/// SEED, below the root of the initramfs; the last file.
pub const SEED: &str = "skerry/ram/seed";

/// The only block size there is.
pub const BLOCK_BYTES: u64 = 4096;

/// Some bytes in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Extent {
    /// Where they begin.
    pub offset: u64,
    /// How many they are.
    pub bytes: u64,
}

impl Extent {
    /// The first byte after it; none when that is no number.
    pub fn end(self) -> Option<u64> {
        self.offset.checked_add(self.bytes)
    }
}

/// Blocks in a row that the image has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Range {
    /// Where they lie in the disk image.
    pub offset: u64,
    /// How many bytes they are.
    pub bytes: u64,
    /// SHA-256 of these bytes.
    pub sha256: Digest,
}

/// The index of a disk image inside of an initramfs. Whatever lies in no range is zero, save SEED.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RamImage {
    /// Length of the disk image.
    pub image_bytes: u64,
    /// [`BLOCK_BYTES`].
    pub block_bytes: u64,
    /// Ascending, without overlap; SEED lies in none.
    pub ranges: Vec<Range>,
    /// Where SEED lies in the disk image.
    pub seed_offset: u64,
    /// Where the content of RUNTIME-A lies in the disk image: squashfs, superblock, hash tree. It lies inside of one range.
    pub runtime: Extent,
}

/// Why an index is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RamFormError {
    /// Not what imager writes.
    #[error("cannot read the index of the image in RAM: {message}; build the image again")]
    Form {
        /// The reader's words.
        message: String,
    },
    /// Another block size.
    #[error("cannot use an image in RAM with blocks of {block_bytes} bytes: this version knows {BLOCK_BYTES}; use a newer image")]
    Blocks {
        /// As given.
        block_bytes: u64,
    },
    /// A range that lies off the blocks, beyond the end, before the one ahead of it, or over SEED.
    #[error("cannot use the image in RAM: its range of {bytes} bytes at {offset} is {wrong}; build the image again")]
    Range {
        /// Where it begins.
        offset: u64,
        /// How long it is.
        bytes: u64,
        /// What is wrong with it.
        wrong: &'static str,
    },
    /// SEED or the runtime image does not lie where it can be.
    #[error("cannot use the image in RAM: {what} is not where it can be; build the image again")]
    Place {
        /// Which.
        what: &'static str,
    },
}

impl RamImage {
    /// Reads the JSON of an index and checks it.
    ///
    /// # Errors
    /// See [`RamFormError`].
    pub fn parse(json: &[u8]) -> Result<Self, RamFormError> {
        let index: Self = serde_json::from_slice(json).map_err(|error| RamFormError::Form { message: error.to_string() })?;
        index.check()?;
        Ok(index)
    }

    /// The JSON, to the last newline.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("numbers and digests are JSON") + "\n"
    }

    /// Whether it says something that can be: see the fields.
    ///
    /// # Errors
    /// See [`RamFormError`].
    pub fn check(&self) -> Result<(), RamFormError> {
        if self.block_bytes != BLOCK_BYTES {
            return Err(RamFormError::Blocks { block_bytes: self.block_bytes });
        }
        let seed = Extent { offset: self.seed_offset, bytes: SEED_BYTES };
        let seed_fits = seed.offset.is_multiple_of(BLOCK_BYTES) && seed.end().is_some_and(|end| end <= self.image_bytes);
        if !seed_fits {
            return Err(RamFormError::Place { what: "SEED" });
        }
        let mut free_from = 0;
        for range in &self.ranges {
            let wrong = |wrong| RamFormError::Range { offset: range.offset, bytes: range.bytes, wrong };
            free_from = self.check_range(range, free_from, seed).map_err(wrong)?;
        }
        self.position(self.runtime).map(drop).ok_or(RamFormError::Place { what: "the runtime image" })
    }

    /// The first byte after the range, or what is wrong with it.
    fn check_range(&self, range: &Range, free_from: u64, seed: Extent) -> Result<u64, &'static str> {
        let extent = Extent { offset: range.offset, bytes: range.bytes };
        let end = extent.end().filter(|end| *end <= self.image_bytes).ok_or("beyond the image's end")?;
        let last_of_all = end == self.image_bytes;
        let on_blocks = range.offset.is_multiple_of(BLOCK_BYTES) && (range.bytes.is_multiple_of(BLOCK_BYTES) || last_of_all);
        match () {
            () if range.bytes == 0 => Err("empty"),
            () if !on_blocks => Err("not made of whole blocks"),
            () if range.offset < free_from => Err("not behind the one before it"),
            () if range.offset < seed.offset + seed.bytes && seed.offset < end => Err("over SEED"),
            () => Ok(end),
        }
    }

    /// Where some bytes of the disk image lie in [`IMAGE`]; none when they do not lie inside of one range.
    pub fn position(&self, wanted: Extent) -> Option<u64> {
        let mut before = 0;
        for range in &self.ranges {
            if wanted.offset >= range.offset && wanted.end()? <= range.offset + range.bytes {
                return Some(before + (wanted.offset - range.offset));
            }
            before += range.bytes;
        }
        None
    }

    /// Length of [`IMAGE`].
    pub fn mapped_bytes(&self) -> u64 {
        self.ranges.iter().map(|range| range.bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn range(offset: u64, bytes: u64) -> Range {
        Range { offset, bytes, sha256: Digest::of(b"") }
    }

    fn index() -> RamImage {
        RamImage {
            image_bytes: 8 * MIB + 512,
            block_bytes: 4096,
            ranges: vec![range(0, 8192), range(MIB, MIB), range(3 * MIB, 4 * MIB), range(8 * MIB, 512)],
            seed_offset: 2 * MIB,
            runtime: Extent { offset: 4 * MIB, bytes: 12_288 },
        }
    }

    #[test]
    fn the_index_has_this_form() {
        let index = RamImage { ranges: vec![range(3 * MIB, 4 * MIB)], ..index() };
        let json = index.to_json();
        let expected = r#"{
  "imageBytes": 8389120,
  "blockBytes": 4096,
  "ranges": [
    {
      "offset": 3145728,
      "bytes": 4194304,
      "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    }
  ],
  "seedOffset": 2097152,
  "runtime": {
    "offset": 4194304,
    "bytes": 12288
  }
}
"#;
        assert_eq!(json, expected);
        assert_eq!(RamImage::parse(json.as_bytes()), Ok(index));
    }

    #[test]
    fn bytes_are_found_behind_all_that_comes_before() {
        let index = index();
        let at = |offset, bytes| index.position(Extent { offset, bytes });
        assert_eq!(at(0, 512), Some(0));
        assert_eq!(at(MIB, MIB), Some(8192));
        assert_eq!(at(4 * MIB, 12_288), Some(8192 + MIB + MIB));
        assert_eq!(at(8 * MIB, 512), Some(8192 + 5 * MIB));
        for (offset, bytes) in [(4096, 8192), (2 * MIB, 512), (7 * MIB - 512, 1024), (8 * MIB, 1024), (u64::MAX, 2)] {
            assert_eq!(at(offset, bytes), None, "{bytes} at {offset}");
        }
        assert_eq!(index.mapped_bytes(), 8192 + 5 * MIB + 512);
    }

    #[test]
    fn an_index_that_cannot_be_is_refused() {
        let base = index();
        let ranges = |ranges: Vec<Range>| RamImage { ranges, ..base.clone() };
        let cases = [
            (RamImage { block_bytes: 512, ..base.clone() }, "blocks of 512 bytes"),
            (RamImage { seed_offset: 8 * MIB, ..base.clone() }, "SEED is not where"),
            (RamImage { seed_offset: u64::MAX - 4095, ..base.clone() }, "SEED is not where"),
            (RamImage { seed_offset: 2 * MIB + 1, ..base.clone() }, "SEED is not where"),
            (RamImage { runtime: Extent { offset: 4 * MIB, bytes: 4 * MIB }, ..base.clone() }, "the runtime image is not"),
            (ranges(vec![range(8192, 0)]), "is empty"),
            (ranges(vec![range(512, 4096)]), "not made of whole blocks"),
            (ranges(vec![range(0, 512)]), "not made of whole blocks"),
            (ranges(vec![range(8 * MIB, 4096)]), "beyond the image's end"),
            (ranges(vec![range(u64::MAX - 4095, 4096)]), "beyond the image's end"),
            (ranges(vec![range(8192, 4096), range(8192, 4096)]), "not behind the one before it"),
            (ranges(vec![range(2 * MIB - 4096, 8192)]), "over SEED"),
            (ranges(vec![range(3 * MIB - 4096, 4096)]), "over SEED"),
        ];
        for (index, part) in cases {
            let error = RamImage::parse(index.to_json().as_bytes()).expect_err(part).to_string();
            assert!(error.contains(part), "{error}");
        }
        assert!(matches!(RamImage::parse(b"{}"), Err(RamFormError::Form { .. })));
    }

    proptest! {
        #[test]
        fn no_numbers_break_the_check(numbers in prop::collection::vec(prop_oneof![Just(u64::MAX), 0..10 * MIB, any::<u64>()], 9)) {
            let ranges = vec![range(numbers[0], numbers[1]), range(numbers[2], numbers[3])];
            let runtime = Extent { offset: numbers[4], bytes: numbers[5] };
            let index = RamImage { image_bytes: numbers[6], block_bytes: 4096, ranges, seed_offset: numbers[7], runtime };
            if index.check().is_ok() {
                prop_assert!(index.mapped_bytes() <= index.image_bytes);
            }
        }
    }
}
