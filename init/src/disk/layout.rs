//! The plan for the partition table: what first boot adds, where, and the writes in the order that survives a power cut.
//!
//! Two groups of writes, the first durable before the second begins: the copy at the end of the disk; then the first copy and the
//! protective MBR. Until the end copy is whole the first one is untouched; from then on firmware and init use the end copy while the
//! first is being rewritten. Within a group the disk may write in any order.

use machine_config::disk::{ALIGN_SECTORS, Partition, SECTOR_BYTES, STATE_BYTES};
use uuid::Uuid;

use super::gpt::{self, ARRAY_SECTORS, Entry, Found, Table};

/// DATA is never made smaller than this; a disk without room for it is too small.
pub const LEAST_DATA_BYTES: u64 = 128 << 20;

/// One write of the executor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// For errors and events.
    pub what: &'static str,
    /// Byte offset on the disk.
    pub offset: u64,
    /// What is written.
    pub bytes: Vec<u8>,
}

/// What becomes of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The table afterwards.
    pub table: Table,
    /// Group by group, each durable before the next; empty: the disk is as it should be.
    pub groups: Vec<Vec<Write>>,
}

/// Why a disk cannot be laid out.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LayoutError {
    /// Too small.
    #[error("cannot make {} on this disk: {needed_mib} MiB needed, {free_mib} MiB free; use a larger disk", partition.name())]
    NoRoom {
        /// Which partition.
        partition: Partition,
        /// What it needs.
        needed_mib: u64,
        /// What is there.
        free_mib: u64,
    },
    /// Smaller than what is to lie on it.
    #[error("the disk is too small: it has {disk_mib} MiB, the image alone needs {needed_mib} MiB; take a larger disk")]
    DiskTooSmall {
        /// Of the image.
        needed_mib: u64,
        /// Of the disk.
        disk_mib: u64,
    },
    /// No slot free in the table.
    #[error("cannot make {}: the partition table is full", partition.name())]
    Full {
        /// Which partition.
        partition: Partition,
    },
    /// No RUNTIME-A.
    #[error("cannot lay out a disk without RUNTIME-A: flash the image again")]
    NoRuntime,
}

/// GUIDs for new partitions: random, since they tell a fresh partition from what lay at its place before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewIds {
    /// For RUNTIME-B.
    pub runtime_b: Uuid,
    /// For STATE.
    pub state: Uuid,
    /// For DATA.
    pub data: Uuid,
}

/// First boot's part before there is a configuration: both copies of the table in place, RUNTIME-B and STATE made.
pub fn plan_state(found: &Found, ids: &NewIds) -> Result<Plan, LayoutError> {
    let mut table = found.table.clone();
    if table.find(Partition::State).is_none() {
        let slot_b = slot_b_sectors(&table)?;
        let state = sectors(STATE_BYTES);
        let needed = slot_b + state + sectors(LEAST_DATA_BYTES);
        // A disk too small for a second slot still runs; it can only be re-flashed, not upgraded in place.
        if table.find(Partition::RuntimeB).is_none() && free(&table, found.sectors) >= needed {
            append(&mut table, Partition::RuntimeB, slot_b, ids.runtime_b, found.sectors)?;
        }
        append(&mut table, Partition::State, state, ids.state, found.sectors)?;
    }
    Ok(finish(found, table))
}

/// The part that knows the configuration: DATA made, or grown when the disk or the bound grew. It is never shrunk.
pub fn plan_data(found: &Found, max_bytes: Option<u64>, ids: &NewIds) -> Result<Plan, LayoutError> {
    let mut table = found.table.clone();
    let bound = max_bytes.map_or(u64::MAX, |bytes| sectors(bytes.max(LEAST_DATA_BYTES)));
    match table.find(Partition::Data) {
        None => {
            let room = free(&table, found.sectors);
            if room < sectors(LEAST_DATA_BYTES) {
                return Err(no_room(Partition::Data, sectors(LEAST_DATA_BYTES), room));
            }
            append(&mut table, Partition::Data, room.min(bound), ids.data, found.sectors)?;
        }
        Some((number, entry)) if entry.last + 1 == table.end() => {
            let length = (entry.sectors() + free_after(entry.last + 1, found.sectors)).min(bound).max(entry.sectors());
            let index = number as usize - 1;
            if let Some(entry) = table.entries[index].as_mut() {
                entry.last = entry.first + length - 1;
            }
        }
        // Something else lies behind it: it stays as it is.
        Some(_) => {}
    }
    Ok(finish(found, table))
}

/// Slot B is as large as slot A, which has room for three times what the first image put there.
fn slot_b_sectors(table: &Table) -> Result<u64, LayoutError> {
    let (_, slot_a) = table.find(Partition::RuntimeA).ok_or(LayoutError::NoRuntime)?;
    Ok(slot_a.sectors().next_multiple_of(ALIGN_SECTORS))
}

fn sectors(bytes: u64) -> u64 {
    bytes.div_ceil(SECTOR_BYTES)
}

fn mib(sectors: u64) -> u64 {
    (sectors * SECTOR_BYTES) >> 20
}

/// Aligned sectors between `end` and the table's second copy.
fn free_after(end: u64, disk_sectors: u64) -> u64 {
    let limit = (gpt::last_usable(disk_sectors) + 1) / ALIGN_SECTORS * ALIGN_SECTORS;
    limit.saturating_sub(end.next_multiple_of(ALIGN_SECTORS))
}

fn free(table: &Table, disk_sectors: u64) -> u64 {
    free_after(table.end(), disk_sectors)
}

fn no_room(partition: Partition, needed: u64, room: u64) -> LayoutError {
    LayoutError::NoRoom { partition, needed_mib: mib(needed), free_mib: mib(room) }
}

fn append(table: &mut Table, partition: Partition, length: u64, guid: Uuid, disk_sectors: u64) -> Result<(), LayoutError> {
    let room = free(table, disk_sectors);
    if room < length {
        return Err(no_room(partition, length, room));
    }
    let first = table.end().next_multiple_of(ALIGN_SECTORS);
    let slot = table.entries.iter_mut().find(|entry| entry.is_none()).ok_or(LayoutError::Full { partition })?;
    *slot = Some(Entry {
        type_guid: partition.type_guid(),
        guid,
        first,
        last: first + length - 1,
        attributes: 0,
        name: partition.name().to_owned(),
    });
    Ok(())
}

fn finish(found: &Found, table: Table) -> Plan {
    let mbr = grown_mbr(&found.mbr, found.sectors);
    let mut groups = Vec::new();
    let mut last = Vec::new();
    if !found.whole || table != found.table {
        let encoded = gpt::encode(&table, found.sectors);
        let end = found.sectors - 1;
        let write = |what, lba: u64, bytes| Write { what, offset: lba * SECTOR_BYTES, bytes };
        groups.push(vec![
            write("partition entries at the end", end - ARRAY_SECTORS, encoded.array.clone()),
            write("table header at the end", end, encoded.backup_header),
        ]);
        last.extend([write("partition entries", 2, encoded.array), write("table header", 1, encoded.primary_header)]);
    }
    if mbr != found.mbr {
        last.push(Write { what: "protective MBR", offset: 0, bytes: mbr });
    }
    groups.extend((!last.is_empty()).then_some(last));
    Plan { table, groups }
}

/// The protective MBR with its one partition covering the whole disk; any other sector 0 is kept.
pub fn grown_mbr(mbr: &[u8], disk_sectors: u64) -> Vec<u8> {
    const SIZE: std::ops::Range<usize> = 458..462;
    let mut grown = mbr.to_vec();
    let protective = mbr.len() == 512 && mbr[510..] == [0x55, 0xaa] && mbr[450] == 0xee && mbr[SIZE] != [0xff; 4];
    if protective {
        let length = u32::try_from(disk_sectors - 1).unwrap_or(u32::MAX);
        grown[SIZE].copy_from_slice(&length.to_le_bytes());
    }
    grown
}

#[cfg(test)]
mod tests {
    use super::super::gpt::tests::{MemoryDisk, flashed_disk, image_table};
    use super::*;

    const DISK: u64 = 1 << 20;
    const IDS: NewIds = NewIds { runtime_b: Uuid::from_u128(0xb), state: Uuid::from_u128(0x5), data: Uuid::from_u128(0xd) };

    fn apply<'a>(disk: &mut MemoryDisk, writes: impl IntoIterator<Item = &'a Write>) {
        for write in writes {
            disk.put(write.offset / 512, &write.bytes);
        }
    }

    fn carry_out(disk: &mut MemoryDisk, plan: &Plan) {
        apply(disk, plan.groups.iter().flatten());
    }

    /// What a whole boot does to the table.
    fn boot(disk: &mut MemoryDisk, sectors: u64) -> Table {
        let found = gpt::read(disk, sectors).expect("a table");
        carry_out(disk, &plan_state(&found, &IDS).expect("room"));
        let found = gpt::read(disk, sectors).expect("a table");
        let plan = plan_data(&found, None, &IDS).expect("room");
        carry_out(disk, &plan);
        plan.table
    }

    /// A group cut into sectors: what a disk may have done, in some order, when the power goes.
    fn sectors_of(group: &[Write]) -> Vec<Write> {
        let cut = |write: &Write| {
            let what = write.what;
            let chunks = write.bytes.chunks(512).zip(write.offset / 512..);
            chunks.map(|(bytes, lba)| Write { what, offset: lba * 512, bytes: bytes.to_vec() }).collect::<Vec<_>>()
        };
        group.iter().flat_map(cut).collect()
    }

    /// The two plans of a first boot, each with the disk it starts from.
    fn first_boot() -> [(MemoryDisk, Plan); 2] {
        let start = flashed_disk(20_000, DISK);
        let state = plan_state(&gpt::read(&start, DISK).expect("a table"), &IDS).expect("room");
        let mut half = start.clone();
        carry_out(&mut half, &state);
        let data = plan_data(&gpt::read(&half, DISK).expect("a table"), None, &IDS).expect("room");
        [(start, state), (half, data)]
    }

    #[test]
    fn first_boot_fills_the_disk_in_order() {
        let mut disk = flashed_disk(20_000, DISK);
        let table = boot(&mut disk, DISK);
        let names: Vec<_> = table.used().map(|(_, entry)| entry.name.as_str()).collect();
        assert_eq!(names, ["ESP", "SEED", "RUNTIME-A", "RUNTIME-B", "STATE", "DATA"]);
        for pair in table.used().map(|(_, entry)| entry).collect::<Vec<_>>().windows(2) {
            assert!(pair[0].last < pair[1].first);
            assert_eq!(pair[1].first % ALIGN_SECTORS, 0);
        }
        let (_, state) = table.find(Partition::State).expect("made");
        assert_eq!(state.bytes(), STATE_BYTES);
        assert!(table.end() <= gpt::last_usable(DISK) + 1);
        assert!(table.end() + ALIGN_SECTORS > gpt::last_usable(DISK), "the rest belongs to DATA");
    }

    #[test]
    fn a_second_boot_writes_nothing() {
        let mut disk = flashed_disk(20_000, DISK);
        boot(&mut disk, DISK);
        let found = gpt::read(&disk, DISK).expect("a table");
        assert!(found.whole);
        assert!(plan_state(&found, &IDS).expect("room").groups.is_empty());
        assert!(plan_data(&found, None, &IDS).expect("room").groups.is_empty());
    }

    #[test]
    fn a_power_cut_after_any_sector_leaves_a_disk_that_boots_to_the_same_table() {
        let expected = boot(&mut flashed_disk(20_000, DISK), DISK);
        for (mut disk, plan) in first_boot() {
            for write in plan.groups.iter().flat_map(|group| sectors_of(group)) {
                apply(&mut disk, [&write]);
                assert_eq!(gpt::read(&disk, DISK).expect("one copy is whole").table.entries[..3], image_table().entries[..3]);
                let mut after_cut = disk.clone();
                assert_eq!(boot(&mut after_cut, DISK), expected, "cut after {} at {}", write.what, write.offset);
                assert!(gpt::read(&after_cut, DISK).expect("a table").whole);
            }
        }
    }

    proptest::proptest! {
        /// A disk with a cache writes a group's sectors in any order, and some of them not at all.
        #[test]
        fn a_power_cut_may_lose_any_sectors_of_a_group(second in 0..2_usize, cut in 0..2_usize, kept in proptest::collection::vec(proptest::bool::ANY, 80)) {
            let expected = boot(&mut flashed_disk(20_000, DISK), DISK);
            let (mut disk, plan) = first_boot()[second].clone();
            apply(&mut disk, plan.groups[..cut].iter().flatten());
            let sectors = sectors_of(&plan.groups[cut]);
            apply(&mut disk, sectors.iter().zip(kept).filter(|(_, kept)| *kept).map(|(sector, _)| sector));
            proptest::prop_assert_eq!(boot(&mut disk, DISK), expected);
        }
    }

    #[test]
    fn data_is_bounded_and_grows_with_the_bound_and_the_disk() {
        let mut disk = flashed_disk(20_000, DISK);
        let found = gpt::read(&disk, DISK).expect("a table");
        carry_out(&mut disk, &plan_state(&found, &IDS).expect("room"));
        let found = gpt::read(&disk, DISK).expect("a table");
        let plan = plan_data(&found, Some(200 << 20), &IDS).expect("room");
        carry_out(&mut disk, &plan);
        let size = |table: &Table| table.find(Partition::Data).expect("made").1.bytes();
        assert_eq!(size(&plan.table), 200 << 20);
        let found = gpt::read(&disk, DISK).expect("a table");
        assert_eq!(size(&plan_data(&found, Some(150 << 20), &IDS).expect("room").table), 200 << 20, "never shrunk");
        assert!(size(&plan_data(&found, None, &IDS).expect("room").table) > 300 << 20);
        disk.sectors += 64 << 11;
        let larger = gpt::read(&disk, DISK + (64 << 11)).expect("a table");
        assert!(!larger.whole);
        assert!(size(&plan_data(&larger, None, &IDS).expect("room").table) > 360 << 20);
    }

    #[test]
    fn a_disk_that_is_too_small_is_named_so() {
        let disk = flashed_disk(20_000, 30_000);
        let error = plan_state(&gpt::read(&disk, 30_000).expect("a table"), &IDS).expect_err("no room");
        assert_eq!(error.to_string(), "cannot make STATE on this disk: 64 MiB needed, 6 MiB free; use a larger disk");
    }

    #[test]
    fn a_disk_without_room_for_a_second_slot_still_boots() {
        let sectors = 20_000 + ((64 + 130) << 11);
        let mut disk = flashed_disk(20_000, sectors);
        let table = boot(&mut disk, sectors);
        assert!(table.find(Partition::RuntimeB).is_none());
        assert!(table.find(Partition::Data).is_some());
    }
}
