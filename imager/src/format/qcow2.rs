//! A virtual machine's disk in QEMU's format, version 3: blocks that need not be written take no space. Offsets and names are those of QEMU's
//! `docs/interop/qcow2.txt`; all numbers are big-endian.
//!
//! Not compressed: what an image holds is compressed already.

use std::ops::Range;

use super::mapped::Mapped;
use super::pieces::Pieces;

const CLUSTER_BITS: u32 = 16;
const CLUSTER: u64 = 1 << CLUSTER_BITS;
const HEADER_BYTES: u32 = 104;
/// References are counted in 16 bits.
const REFCOUNT_ORDER: u32 = 4;
const REFCOUNTS_PER_BLOCK: u64 = CLUSTER / 2;
const ENTRIES: u64 = CLUSTER / 8;
/// "The cluster's reference count is exactly one."
const COPIED: u64 = 1 << 63;

/// Where everything lies, in clusters of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Plan {
    bytes: u64,
    /// Clusters of the disk that have data, ascending.
    data: Vec<u64>,
    /// Second-level tables that are there, by their number.
    tables: Vec<u64>,
    refcount_table: u64,
    refcount_blocks: u64,
    level_1: u64,
}

impl Plan {
    fn new(mapped: &Mapped) -> Self {
        let mut data: Vec<u64> = mapped.ranges.iter().flat_map(clusters).collect();
        data.dedup();
        let mut tables: Vec<u64> = data.iter().map(|cluster| cluster / ENTRIES).collect();
        tables.dedup();
        let level_1 = mapped.bytes.div_ceil(CLUSTER * ENTRIES).div_ceil(ENTRIES);
        let fixed = 1 + level_1 + (tables.len() + data.len()) as u64;
        let (mut refcount_table, mut refcount_blocks) = (1, 1);
        // The counts count themselves, so there may be more of them at the second look.
        while refcount_blocks * REFCOUNTS_PER_BLOCK < fixed + refcount_table + refcount_blocks {
            refcount_blocks += 1;
            refcount_table = refcount_blocks.div_ceil(ENTRIES);
        }
        Self { bytes: mapped.bytes, data, tables, refcount_table, refcount_blocks, level_1 }
    }

    fn first_refcount_block(&self) -> u64 {
        1 + self.refcount_table
    }

    fn first_level_1(&self) -> u64 {
        self.first_refcount_block() + self.refcount_blocks
    }

    fn first_table(&self) -> u64 {
        self.first_level_1() + self.level_1
    }

    fn first_data(&self) -> u64 {
        self.first_table() + self.tables.len() as u64
    }

    fn clusters(&self) -> u64 {
        self.first_data() + self.data.len() as u64
    }

    fn header(&self) -> Vec<u8> {
        let mut header = b"QFI\xfb".to_vec();
        let word = |header: &mut Vec<u8>, number: u32| header.extend(number.to_be_bytes());
        let long = |header: &mut Vec<u8>, number: u64| header.extend(number.to_be_bytes());
        word(&mut header, 3);
        long(&mut header, 0); // no backing file
        word(&mut header, 0);
        word(&mut header, CLUSTER_BITS);
        long(&mut header, self.bytes);
        word(&mut header, 0); // not encrypted
        word(&mut header, self.bytes.div_ceil(CLUSTER * ENTRIES) as u32);
        long(&mut header, self.first_level_1() * CLUSTER);
        long(&mut header, CLUSTER);
        word(&mut header, self.refcount_table as u32);
        word(&mut header, 0); // no snapshots
        long(&mut header, 0);
        (0..3).for_each(|_| long(&mut header, 0)); // no features beyond the format itself
        word(&mut header, REFCOUNT_ORDER);
        word(&mut header, HEADER_BYTES);
        header
    }

    fn refcounts(&self) -> Vec<u8> {
        (0..self.clusters()).flat_map(|_| 1u16.to_be_bytes()).collect()
    }

    /// The first-level table: for each second-level table where it lies, or nothing.
    fn level_1(&self) -> Vec<u8> {
        let last = self.tables.last().map_or(0, |last| last + 1);
        let place = |number: u64| match self.tables.binary_search(&number) {
            Ok(nth) => ((self.first_table() + nth as u64) * CLUSTER) | COPIED,
            Err(_) => 0,
        };
        (0..last).flat_map(|number| place(number).to_be_bytes()).collect()
    }

    fn level_2(&self, table: u64) -> Vec<u8> {
        let mut bytes = vec![0; CLUSTER as usize];
        let start = self.data.partition_point(|cluster| cluster / ENTRIES < table);
        for (nth, cluster) in (start..).zip(self.data[start..].iter().take_while(|cluster| **cluster / ENTRIES == table)) {
            let at = (cluster % ENTRIES * 8) as usize;
            let place = ((self.first_data() + nth as u64) * CLUSTER) | COPIED;
            bytes[at..at + 8].copy_from_slice(&place.to_be_bytes());
        }
        bytes
    }
}

/// The clusters that a range touches.
fn clusters(range: &Range<u64>) -> Range<u64> {
    range.start / CLUSTER..range.end.div_ceil(CLUSTER)
}

/// The file, as pieces.
pub(super) fn plan(mapped: &Mapped) -> Pieces {
    let plan = Plan::new(mapped);
    let blocks = (plan.first_refcount_block()..plan.first_level_1()).flat_map(|cluster| (cluster * CLUSTER).to_be_bytes());
    let mut pieces = Pieces::new();
    for (bytes, end) in [
        (plan.header(), 1),
        (blocks.collect(), plan.first_refcount_block()),
        (plan.refcounts(), plan.first_level_1()),
        (plan.level_1(), plan.first_table()),
    ] {
        pieces.add(bytes);
        pieces.pad_to(end * CLUSTER);
    }
    plan.tables.iter().for_each(|table| pieces.add(plan.level_2(*table)));
    for cluster in &plan.data {
        let start = cluster * CLUSTER;
        pieces.add_image(start..(start + CLUSTER).min(plan.bytes));
        pieces.pad(CLUSTER);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;
    use std::path::Path;
    use std::process::Command;

    use machine_config::ram_form::Extent;

    use super::*;
    use crate::oracle;

    fn mapped(bytes: u64, ranges: Vec<Range<u64>>) -> Mapped {
        Mapped { bytes, ranges, seed: 0..0, runtime: Extent { offset: 0, bytes: 0 } }
    }

    /// Writes an image with data in `ranges` and its qcow2 form; gives both paths.
    fn written(folder: &Path, bytes: u64, ranges: Vec<Range<u64>>) -> [std::path::PathBuf; 2] {
        let (raw, qcow2) = (folder.join("raw"), folder.join("qcow2"));
        let image = File::options().read(true).write(true).create(true).truncate(true).open(&raw).expect("made");
        image.set_len(bytes).expect("sized");
        for range in &ranges {
            let content: Vec<u8> = (range.start..range.end).map(|at| (at / 1000) as u8 | 1).collect();
            image.write_all_at(&content, range.start).expect("written");
        }
        let pieces = plan(&mapped(bytes, ranges));
        let mut out = File::create(&qcow2).expect("made");
        std::io::copy(&mut pieces.reader(&image), &mut out).expect("written");
        [raw, qcow2]
    }

    fn qemu_img(arguments: &[&std::ffi::OsStr]) -> Option<String> {
        let output = oracle::ask(Command::new("qemu-img").args(arguments))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}");
        Some(text)
    }

    #[test]
    fn qemu_finds_no_fault_and_the_same_bytes() {
        let folder = tempfile::tempdir().expect("temp folder");
        let (small, large) = (3 * 4096, 5 << 30);
        for (bytes, ranges) in [
            (small, vec![]),
            (small, vec![0..0, 4096..8192]),
            (1 << 20, vec![0..4096, 61_440..69_632, 1_000_000 / 4096 * 4096..1 << 20]),
            (large, vec![0..17_408, 536_866_816..536_879_104, (3 << 30)..(3 << 30) + 5_000_000, large - 4096..large]),
        ] {
            let [raw, qcow2] = written(folder.path(), bytes, ranges);
            let Some(text) = qemu_img(&["check".as_ref(), "-f".as_ref(), "qcow2".as_ref(), qcow2.as_os_str()]) else { return };
            assert!(text.contains("No errors were found"), "{text}");
            let words = ["compare", "-f", "raw", "-F", "qcow2"].map(std::ffi::OsStr::new);
            let text = qemu_img(&[&words[..], &[raw.as_os_str(), qcow2.as_os_str()]].concat()).expect("installed");
            assert!(text.contains("identical"), "{text}");
        }
    }

    #[test]
    fn the_counts_count_themselves() {
        let ranges = |clusters: u64| mapped(clusters * CLUSTER, std::iter::once(0..clusters * CLUSTER).collect());
        for clusters in [1, 32_700, 32_757, 32_758, 32_759, 32_760, 32_761, 32_762, 65_500, 65_521, 70_000] {
            let plan = Plan::new(&ranges(clusters));
            assert!(plan.refcount_blocks * REFCOUNTS_PER_BLOCK >= plan.clusters(), "{clusters}");
            assert!((plan.refcount_blocks - 1) * REFCOUNTS_PER_BLOCK < plan.clusters(), "{clusters}");
        }
    }
}
