//! A small disk with a place for SEED, as the imager lays it out.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use gptman::{GPT, GPTPartitionEntry};
use machine_config::disk::{Partition, SECTOR_BYTES, SEED_BYTES};

/// Bytes of the disk.
pub const BYTES: u64 = 4 << 20;
/// The first sector of SEED.
const SEED_AT: u64 = 2048;

/// Writes one.
pub fn write(path: &Path) {
    let mut file = File::options().read(true).write(true).create_new(true).open(path).expect("a new file");
    let noise: Vec<u8> = (0..BYTES).map(|at| ((at * 2_654_435_761) >> 13) as u8).collect();
    file.write_all_at(&noise, 0).expect("written");
    let mut gpt = GPT::new_from(&mut file, SECTOR_BYTES, [7; 16]).expect("a table");
    gpt[1] = GPTPartitionEntry {
        partition_type_guid: Partition::Seed.type_guid().to_bytes_le(),
        unique_partition_guid: [8; 16],
        starting_lba: SEED_AT,
        ending_lba: SEED_AT + SEED_BYTES / SECTOR_BYTES - 1,
        attribute_bits: 0,
        partition_name: "SEED".into(),
    };
    gpt.write_into(&mut file).expect("written");
    GPT::write_protective_mbr_into(&mut file, SECTOR_BYTES).expect("written");
    file.write_all_at(&vec![0; SEED_BYTES as usize], SEED_AT * SECTOR_BYTES).expect("written");
}
