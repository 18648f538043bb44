//! The plan of an installation: every write, in the order that survives a cut. Pure but for reading the image's partition table from RAM.
//!
//! The image is not laid down as it is: its partition table is made anew for the size of the disk, with the second copy at the disk's end.

use machine_config::disk::{Partition, SECTOR_BYTES};
use machine_config::ram_form::RamImage;
use uuid::Uuid;

use super::content::MARK;
use crate::disk::gpt::{self, ARRAY_SECTORS, Found, GptError, ReadAt};
use crate::disk::layout::{self, LayoutError, NewIds};
use crate::ram::DiskImage;

/// First byte behind the first copy of the table, and so of the plan's content.
const HEAD_BYTES: u64 = (2 + ARRAY_SECTORS) * SECTOR_BYTES;

/// Bytes of the copy at the end.
const TAIL_BYTES: u64 = (1 + ARRAY_SECTORS) * SECTOR_BYTES;

/// What is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Bytes of the image in RAM, from this position on.
    Image(u64),
    /// Zeros.
    Zero,
    /// These.
    Bytes(Vec<u8>),
}

/// One write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// For errors.
    pub what: &'static str,
    /// Where it begins on the disk.
    pub offset: u64,
    /// How long it is.
    pub bytes: u64,
    /// What is written there.
    pub source: Source,
}

/// A step of the plan: its writes are durable, and read back, before the next step begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Sector 1 says that an installation began. What was on the disk may still start, whole.
    Mark,
    /// Both copies of the old table are gone: from here on the disk starts nothing.
    Clear,
    /// Everything but the table.
    Content,
    /// The table's copy at the end: firmware that looks there starts the new system, which is whole.
    EndTable,
    /// The first copy without its header.
    Table,
    /// The header, in place of the mark: one sector, written last.
    Header,
}

impl Stage {
    /// For errors and events.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mark => "mark",
            Self::Clear => "old partition table",
            Self::Content => "content",
            Self::EndTable => "partition table at the end",
            Self::Table => "partition table",
            Self::Header => "partition table header",
        }
    }
}

/// Every write of an installation.
///
/// A cut leaves a disk whose sector 1 is the mark, or whose table is the old one, or the new one: in the first case the system in RAM starts
/// over whatever `wipe` says (once the first sector is cleared, or where it never said more than that a table follows); in the second nothing has
/// happened; in the third everything before has been read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// In this order.
    pub stages: Vec<(Stage, Vec<Piece>)>,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The image's own table.
    #[error("cannot read the partition table of the image in RAM; build the image again")]
    Image(#[source] GptError),
    /// The image's own table is torn, or says another thing than the index.
    #[error("cannot use the image in RAM: its partition table is damaged, or is not what its index says; build the image again")]
    Damaged,
    /// The disk is too small.
    #[error(transparent)]
    TooSmall(#[from] LayoutError),
}

/// Plans to lay `index`'s image, whose mapped blocks are `blocks`, with this SEED on a disk of this size.
///
/// # Errors
/// [`PlanError`]: the image is damaged, or the disk too small.
pub fn plan(index: &RamImage, blocks: &impl ReadAt, seed: Vec<u8>, disk_bytes: u64) -> Result<Plan, PlanError> {
    let image = gpt::read(&DiskImage { index, blocks }, index.image_bytes / SECTOR_BYTES).map_err(PlanError::Image)?;
    let sectors = disk_bytes / SECTOR_BYTES;
    let at = |partition| image.table.find(partition).map(|(_, entry)| entry.offset());
    let agrees = at(Partition::Seed) == Some(index.seed_offset) && at(Partition::RuntimeA) == Some(index.runtime.offset);
    if !image.whole || !agrees {
        return Err(PlanError::Damaged);
    }
    check_room(&image, sectors)?;
    let table = gpt::encode(&image.table, sectors);
    let end = (sectors - 1 - ARRAY_SECTORS) * SECTOR_BYTES;
    let mut mark = MARK.to_vec();
    mark.resize(512, 0);
    let stages = vec![
        (Stage::Mark, vec![bytes("mark", SECTOR_BYTES, mark)]),
        (
            Stage::Clear,
            vec![
                zero("old partition table", 0, SECTOR_BYTES),
                zero("old partition table", 2 * SECTOR_BYTES, ARRAY_SECTORS * SECTOR_BYTES),
                zero("old partition table at the end", end, TAIL_BYTES),
            ],
        ),
        (Stage::Content, content(index, seed)),
        (
            Stage::EndTable,
            vec![
                bytes("partition entries at the end", end, table.array.clone()),
                bytes("table header at the end", (sectors - 1) * SECTOR_BYTES, table.backup_header),
            ],
        ),
        (
            Stage::Table,
            vec![
                bytes("protective MBR", 0, layout::grown_mbr(&image.mbr, sectors)),
                bytes("partition entries", 2 * SECTOR_BYTES, table.array),
            ],
        ),
        (Stage::Header, vec![bytes("table header", SECTOR_BYTES, table.primary_header)]),
    ];
    Ok(Plan { stages })
}

/// What the first boot will want to make there.
fn check_room(image: &Found, sectors: u64) -> Result<(), LayoutError> {
    if sectors <= image.sectors {
        let mib = |sectors: u64| (sectors * SECTOR_BYTES).div_ceil(1 << 20);
        return Err(LayoutError::DiskTooSmall { needed_mib: mib(image.sectors), disk_mib: (sectors * SECTOR_BYTES) >> 20 });
    }
    let nobody = NewIds { runtime_b: Uuid::nil(), state: Uuid::nil(), data: Uuid::nil() };
    let found = Found { sectors, ..image.clone() };
    let after_state = Found { table: layout::plan_state(&found, &nobody)?.table, ..found };
    layout::plan_data(&after_state, None, &nobody).map(drop)
}

/// Everything between the two copies of the image's table, without a gap: what lies in no range is zero.
fn content(index: &RamImage, seed: Vec<u8>) -> Vec<Piece> {
    let last = index.image_bytes - TAIL_BYTES;
    let seed_piece = bytes("SEED", index.seed_offset, seed);
    let mut position = 0;
    let mut mapped = Vec::new();
    for range in &index.ranges {
        let (from, to) = (range.offset.max(HEAD_BYTES), (range.offset + range.bytes).min(last));
        if from < to {
            let source = Source::Image(position + (from - range.offset));
            mapped.push(Piece { what: "image", offset: from, bytes: to - from, source });
        }
        position += range.bytes;
    }
    mapped.push(seed_piece);
    mapped.sort_by_key(|piece| piece.offset);
    let mut pieces = Vec::new();
    let mut at = HEAD_BYTES;
    for piece in mapped {
        pieces.extend((at < piece.offset).then(|| zero("empty space", at, piece.offset - at)));
        at = piece.offset + piece.bytes;
        pieces.push(piece);
    }
    pieces.extend((at < last).then(|| zero("empty space", at, last - at)));
    pieces
}

fn zero(what: &'static str, offset: u64, bytes: u64) -> Piece {
    Piece { what, offset, bytes, source: Source::Zero }
}

fn bytes(what: &'static str, offset: u64, bytes: Vec<u8>) -> Piece {
    Piece { what, offset, bytes: bytes.len() as u64, source: Source::Bytes(bytes) }
}

#[cfg(test)]
mod tests {
    use machine_config::ram_form::Extent;

    use super::super::content::{Content, of_table};
    use super::super::facts::recognise;
    use super::*;
    use crate::disk::gpt::Table;
    use crate::disk::gpt::tests::{MemoryDisk, flashed_disk, image_table};
    use crate::ram::tests::{Bytes, pack};

    /// Sectors of the image, and of the disk it is laid on.
    const IMAGE: u64 = 18_432;
    const DISK: u64 = 1 << 20;
    const SEED: u64 = 6144 * 512;
    const RUNTIME: u64 = 8192 * 512;

    fn seed() -> Vec<u8> {
        vec![0x5e; 1 << 20]
    }

    /// An image as imager makes it: blocks of the table, some in the ESP and in RUNTIME-A, the table's copy at its end.
    fn image() -> (RamImage, Bytes) {
        let disk = flashed_disk(IMAGE, IMAGE);
        let block = |lba: u64, count: usize| {
            let mut bytes = vec![0; count * 4096];
            disk.read_at(&mut bytes, lba * 512).expect("in memory");
            bytes
        };
        let parts = [
            (0, block(0, 5)),
            (2048 * 512, vec![0xe5; 8192]),
            (RUNTIME, vec![0xaa; 16_384]),
            ((IMAGE - 40) * 512, block(IMAGE - 40, 5)),
        ];
        pack(IMAGE * 512, SEED, Extent { offset: RUNTIME, bytes: 12_288 }, &parts)
    }

    fn planned() -> (Plan, Bytes) {
        let (index, blocks) = image();
        (plan(&index, &blocks, seed(), DISK * 512).expect("room"), blocks)
    }

    /// The plan cut into writes of at most a few sectors, in order.
    fn writes(plan: &Plan, blocks: &Bytes) -> Vec<(Stage, u64, Vec<u8>)> {
        let mut writes = Vec::new();
        for (stage, pieces) in &plan.stages {
            // The content is far from the table: what has been written of it changes nothing that a firmware looks at.
            let step = if *stage == Stage::Content { 512 * 512 } else { 512 };
            for piece in pieces {
                let bytes = match &piece.source {
                    Source::Image(position) => {
                        let start = usize::try_from(*position).expect("small");
                        blocks.0[start..start + usize::try_from(piece.bytes).expect("small")].to_vec()
                    }
                    Source::Zero => vec![0; usize::try_from(piece.bytes).expect("small")],
                    Source::Bytes(bytes) => bytes.clone(),
                };
                let chunks = (piece.offset..).step_by(step).zip(bytes.chunks(step));
                writes.extend(chunks.map(|(offset, chunk)| (*stage, offset / 512, chunk.to_vec())));
            }
        }
        writes
    }

    fn read(disk: &MemoryDisk, offset: u64, bytes: usize) -> Vec<u8> {
        let mut buffer = vec![0; bytes];
        disk.read_at(&mut buffer, offset).expect("in memory");
        buffer
    }

    /// Whether what the image carries lies on the disk, and zeros where it has nothing.
    fn is_complete(disk: &MemoryDisk) -> bool {
        read(disk, 2048 * 512, 8192) == [0xe5; 8192]
            && read(disk, 2048 * 512 + 8192, 4096) == [0; 4096]
            && read(disk, SEED, 1 << 20) == seed()
            && read(disk, RUNTIME, 16_384) == [0xaa; 16_384]
            && read(disk, RUNTIME + 16_384, 65_536) == vec![0; 65_536]
    }

    /// What was on the disk before: nothing, an earlier installation that has lived, or another system.
    fn earlier() -> [(&'static str, MemoryDisk, Option<Table>); 3] {
        let mut lived = flashed_disk(20_000, DISK);
        let mut table = image_table();
        table.disk_guid = Uuid::from_u128(0x01d);
        let encoded = gpt::encode(&table, DISK);
        lived.put(1, &encoded.primary_header);
        lived.put(2, &encoded.array);
        lived.put(DISK - 1 - ARRAY_SECTORS, &encoded.array);
        lived.put(DISK - 1, &encoded.backup_header);
        for lba in [2048, 6144, 8192] {
            lived.put(lba, &vec![0x01; 1 << 20]);
        }
        let mut foreign = MemoryDisk::blank(DISK);
        foreign.put(0, &[&b"XFSB"[..], &[0; 508]].concat());
        foreign.put(4000, &vec![0xf0; 9 << 20]);
        [("nothing", MemoryDisk::blank(DISK), None), ("an installation", lived, Some(table)), ("another system", foreign, None)]
    }

    #[test]
    fn the_whole_plan_leaves_the_image_with_its_table_fitted_to_the_disk() {
        let (plan, blocks) = planned();
        for (name, mut disk, _) in earlier() {
            for (_, lba, bytes) in writes(&plan, &blocks) {
                disk.put(lba, &bytes);
            }
            let found = gpt::read(&disk, DISK).expect("a table");
            assert!(found.whole && found.table == image_table() && is_complete(&disk), "over {name}");
            assert_eq!(found.mbr[446 + 12..446 + 16], u32::try_from(DISK - 1).expect("small").to_le_bytes());
        }
    }

    #[test]
    fn a_cut_at_any_write_leaves_the_old_system_or_an_unfinished_disk_or_the_new_one_whole() {
        let (plan, blocks) = planned();
        for (name, mut disk, old) in earlier() {
            let mut began = false;
            let before = recognise(&disk, DISK * 512, &[]).expect("readable");
            for (stage, lba, bytes) in writes(&plan, &blocks) {
                let untouched = stage <= Stage::Clear;
                disk.put(lba, &bytes);
                began |= stage == Stage::Mark;
                let content = recognise(&disk, DISK * 512, &[]).expect("readable");
                let context = format!("over {name}, cut after {} at sector {lba}", stage.name());
                match gpt::read(&disk, DISK) {
                    Ok(found) if Some(&found.table) == old.as_ref() => {
                        assert!(untouched, "the old table, though overwritten: {context}")
                    }
                    Ok(found) => {
                        assert_eq!(found.table, image_table(), "{context}");
                        assert!(is_complete(&disk), "it starts and is not whole: {context}");
                    }
                    Err(_) => {}
                }
                // With the mark the system in RAM starts over; without it, and begun, the disk is whole. A first sector of another system that
                // still stands has the disk judged as before.
                let whole = content == of_table(&image_table(), &[]);
                let judged_again = content == before && untouched && name == "another system";
                let starts_over = content == Content::Unfinished || judged_again;
                assert!(!began || starts_over || (stage == Stage::Header && whole), "{content:?}: {context}");
            }
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(32))]
        /// A disk with a cache writes a stage's sectors in any order, and some of them not at all.
        #[test]
        fn a_cut_may_lose_any_writes_of_a_stage(over in 0..3_usize, stage in 0..6_usize, kept in proptest::collection::vec(proptest::bool::ANY, 100)) {
            let (plan, blocks) = planned();
            let (_, mut disk, old) = earlier()[over].clone();
            let before = recognise(&disk, DISK * 512, &[]).expect("readable");
            let cut = plan.stages[stage].0;
            let writes = writes(&plan, &blocks).into_iter().filter(|(stage, ..)| *stage <= cut);
            for ((stage, lba, bytes), kept) in writes.zip(kept.iter().cycle()) {
                if stage < cut || *kept {
                    disk.put(lba, &bytes);
                }
            }
            match gpt::read(&disk, DISK) {
                Ok(found) if Some(&found.table) == old.as_ref() => proptest::prop_assert!(cut <= Stage::Clear),
                Ok(_) => proptest::prop_assert!(is_complete(&disk), "it starts and is not whole: {}", cut.name()),
                Err(_) => {}
            }
            let content = recognise(&disk, DISK * 512, &[]).expect("readable");
            let whole = content == of_table(&image_table(), &[]);
            let starts_over = content == Content::Unfinished || (cut == Stage::Clear && content == before);
            proptest::prop_assert!(cut == Stage::Mark || starts_over || whole, "{content:?}: {}", cut.name());
        }
    }

    #[test]
    fn everything_between_the_two_copies_of_the_table_is_written_once() {
        let (plan, _) = planned();
        let (_, pieces) = plan.stages.iter().find(|(stage, _)| *stage == Stage::Content).expect("there");
        let mut at = HEAD_BYTES;
        for piece in pieces {
            assert_eq!(piece.offset, at, "{}", piece.what);
            assert!(piece.bytes > 0 && piece.offset.is_multiple_of(512) && piece.bytes.is_multiple_of(512));
            at += piece.bytes;
        }
        assert_eq!(at, IMAGE * 512 - TAIL_BYTES);
    }

    #[test]
    fn a_disk_that_is_too_small_is_refused_before_anything_is_written() {
        let (index, blocks) = image();
        for (sectors, part) in [
            (10_000, "it has 4 MiB, the image alone needs 9 MiB"),
            (IMAGE + 40 * 2048, "cannot make STATE on this disk"),
            (IMAGE + 100 * 2048, "cannot make DATA on this disk"),
        ] {
            let error = plan(&index, &blocks, seed(), sectors * 512).expect_err(part).to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn an_image_whose_table_and_index_disagree_is_refused() {
        let (index, blocks) = image();
        let elsewhere = RamImage { seed_offset: SEED + (1 << 20) + 4096, ..index.clone() };
        assert!(matches!(plan(&elsewhere, &blocks, seed(), DISK * 512), Err(PlanError::Damaged)));
        let mut torn = blocks.clone();
        torn.0[600] ^= 1;
        assert!(matches!(plan(&index, &torn, seed(), DISK * 512), Err(PlanError::Damaged)));
        let mut gone = blocks;
        gone.0.fill(0);
        assert!(matches!(plan(&index, &gone, seed(), DISK * 512), Err(PlanError::Image(_))));
    }
}
