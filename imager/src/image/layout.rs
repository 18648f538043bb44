//! The disk layout as a pure plan: which partition lies where. Sizes in, sectors out; no file is touched.

use machine_config::disk::{ALIGN_SECTORS, Partition, SECTOR_BYTES, SEED_BYTES};

/// Sectors of a GPT's second copy: 128 entries of 128 bytes and the header.
const BACKUP_GPT_SECTORS: u64 = 33;

/// The image ends on a multiple of this many sectors (4096 bytes), so that disks with large blocks take it whole.
const END_ALIGN_SECTORS: u64 = 8;

/// ESP and RUNTIME-A are at least this many times as large as what the first image puts there: the ESP takes the next version beside this one, and
/// neither can grow later.
const ROOM: u64 = 3;

/// What the layout depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// The ESP's files.
    pub esp_bytes: u64,
    /// The least size of the ESP, whatever it holds.
    pub esp_min_bytes: u64,
    /// Runtime image with its hash tree.
    pub runtime_bytes: u64,
    /// The least size of RUNTIME-A, whatever it holds.
    pub runtime_min_bytes: u64,
}

/// Where one partition lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Which one.
    pub partition: Partition,
    /// First sector.
    pub first_sector: u64,
    /// Length.
    pub sectors: u64,
}

impl Extent {
    /// Offset of the first byte.
    pub fn offset(&self) -> u64 {
        self.first_sector * SECTOR_BYTES
    }

    /// Length in bytes.
    pub fn bytes(&self) -> u64 {
        self.sectors * SECTOR_BYTES
    }

    /// The last sector that belongs to it.
    pub fn last_sector(&self) -> u64 {
        self.first_sector + self.sectors - 1
    }
}

/// A planned disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The partitions in the image, in order of their place.
    pub extents: [Extent; 3],
    /// Length of the whole image.
    pub sectors: u64,
}

impl Layout {
    /// Length of the whole image in bytes.
    pub fn bytes(&self) -> u64 {
        self.sectors * SECTOR_BYTES
    }

    /// The EFI system partition.
    pub fn esp(&self) -> Extent {
        self.extents[0]
    }

    /// What is particular to one device.
    pub fn seed(&self) -> Extent {
        self.extents[1]
    }

    /// Runtime image and hash tree of slot A.
    pub fn runtime(&self) -> Extent {
        self.extents[2]
    }
}

/// Plans the disk: ESP, SEED, RUNTIME-A, each on a MiB, then the backup GPT.
pub fn plan(request: &Request) -> Layout {
    let mut next = ALIGN_SECTORS;
    let mut place = |partition, bytes: u64| {
        let sectors = bytes.div_ceil(SECTOR_BYTES).max(1).next_multiple_of(ALIGN_SECTORS);
        let first_sector = next;
        next += sectors;
        Extent { partition, first_sector, sectors }
    };
    let extents = [
        place(Partition::Esp, with_room(request.esp_bytes, request.esp_min_bytes)),
        place(Partition::Seed, SEED_BYTES),
        place(Partition::RuntimeA, with_room(request.runtime_bytes, request.runtime_min_bytes)),
    ];
    Layout { extents, sectors: (next + BACKUP_GPT_SECTORS).next_multiple_of(END_ALIGN_SECTORS) }
}

/// The content with its room to grow, and never less than the board says.
fn with_room(content: u64, least: u64) -> u64 {
    content.saturating_mul(ROOM).max(least)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_layout_of_a_known_request() {
        let request = Request { esp_bytes: 1, esp_min_bytes: 128 << 20, runtime_bytes: 100_000_001, runtime_min_bytes: 0 };
        let layout = plan(&request);
        let table: Vec<_> = layout.extents.iter().map(|e| (e.partition.name(), e.first_sector, e.sectors)).collect();
        assert_eq!(table, [("ESP", 2048, 262_144), ("SEED", 264_192, 2048), ("RUNTIME-A", 266_240, 587_776)]);
        assert_eq!(layout.sectors, 854_056);
    }

    proptest! {
        #[test]
        fn partitions_are_aligned_and_never_overlap(esp in 1u64..1 << 34, runtime in 0u64..1 << 36, least in 0u64..1 << 34) {
            let layout =
                plan(&Request { esp_bytes: esp, esp_min_bytes: least, runtime_bytes: runtime, runtime_min_bytes: least });
            let mut end = ALIGN_SECTORS;
            for extent in layout.extents {
                prop_assert_eq!(extent.first_sector % ALIGN_SECTORS, 0);
                prop_assert!(extent.first_sector >= end);
                end = extent.last_sector() + 1;
            }
            prop_assert!(layout.runtime().bytes() >= least.max(3 * runtime));
            prop_assert!(layout.esp().bytes() >= least.max(3 * esp));
            prop_assert!(layout.sectors >= end + BACKUP_GPT_SECTORS);
            prop_assert!(layout.sectors < end + BACKUP_GPT_SECTORS + END_ALIGN_SECTORS);
        }
    }
}
