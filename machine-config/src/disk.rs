//! What is where on a Skerry disk: partition names, type GUIDs and fixed sizes. `imager` writes it, `init` finds it.

use uuid::{Uuid, uuid};

/// Bytes in a logical block of every image this project writes.
pub const SECTOR_BYTES: u64 = 512;

/// Partitions start on multiples of this many sectors (1 MiB).
pub const ALIGN_SECTORS: u64 = 2048;

/// The partitions of a Skerry disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Partition {
    /// Boot loader and one UKI per slot, FAT32.
    Esp,
    /// Two checksummed copies of what is particular to this device.
    Seed,
    /// Runtime image of slot A with its dm-verity tree.
    RuntimeA,
    /// Runtime image of slot B; made on first boot where the disk has room, filled by the first upgrade.
    RuntimeB,
    /// Identity, accepted configuration, generation, clock floor; ext4.
    State,
    /// `/var`; ext4.
    Data,
}

impl Partition {
    /// All partitions, in the order in which they lie on the disk.
    pub const ALL: [Self; 6] = [Self::Esp, Self::Seed, Self::RuntimeA, Self::RuntimeB, Self::State, Self::Data];

    /// The name in the GPT.
    pub fn name(self) -> &'static str {
        match self {
            Self::Esp => "ESP",
            Self::Seed => "SEED",
            Self::RuntimeA => "RUNTIME-A",
            Self::RuntimeB => "RUNTIME-B",
            Self::State => "STATE",
            Self::Data => "DATA",
        }
    }

    /// The partition type GUID. The ESP's is UEFI's; the others are Skerry's own, so that no other system claims them.
    pub fn type_guid(self) -> Uuid {
        match self {
            Self::Esp => uuid!("c12a7328-f81f-11d2-ba4b-00a0c93ec93b"),
            Self::Seed => uuid!("5ce44159-0001-4b1e-9d63-6c7e5e00a501"),
            Self::RuntimeA => uuid!("5ce44159-0002-4b1e-9d63-6c7e5e00a501"),
            Self::RuntimeB => uuid!("5ce44159-0003-4b1e-9d63-6c7e5e00a501"),
            Self::State => uuid!("5ce44159-0004-4b1e-9d63-6c7e5e00a501"),
            Self::Data => uuid!("5ce44159-0005-4b1e-9d63-6c7e5e00a501"),
        }
    }

    /// The partition whose type this is.
    pub fn from_type_guid(guid: Uuid) -> Option<Self> {
        Self::ALL.into_iter().find(|partition| partition.type_guid() == guid)
    }
}

/// Size of SEED: two copies of half of it each.
pub const SEED_BYTES: u64 = 1 << 20;

/// Size of STATE, made on first boot.
pub const STATE_BYTES: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_guids_name_exactly_one_partition() {
        for partition in Partition::ALL {
            assert_eq!(Partition::from_type_guid(partition.type_guid()), Some(partition));
        }
        assert_eq!(Partition::from_type_guid(Uuid::nil()), None);
    }
}
