//! Which disk is the boot disk: the pure choice, and the sentence a person reads when there is none.
//!
//! A boot disk holds SEED and a runtime partition whose verity root hash is the one the running kernel was told. When several do
//! (the installer stick is still in, a disk was cloned) the policy is: one with STATE before one without, since that is a device
//! that has lived; then fixed before removable; then the kernel's order of names.

use std::cmp::Reverse;

use machine_config::disk::Partition;

use super::BootDisk;
use crate::disk::gpt::Table;

/// A disk that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Kernel name.
    pub name: String,
    /// The kernel calls it removable.
    pub removable: bool,
    /// Its length.
    pub sectors: u64,
    /// Its partitions; none: no GUID partition table.
    pub table: Option<Table>,
    /// Number of the runtime partition that matches.
    pub runtime: Option<u32>,
}

/// The chosen disk and those that would have done as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The boot disk.
    pub disk: BootDisk,
    /// Names of the others that match.
    pub others: Vec<String>,
}

/// No disk will do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot find the boot disk: need SEED and a runtime partition with root hash {root}…; looked at {looked_at}")]
pub struct NoBootDisk {
    /// First digits of the root hash.
    pub root: String,
    /// Each disk and what it lacks.
    pub looked_at: String,
}

/// Chooses; `root_hex` is only for the message.
pub fn choose(candidates: &[Candidate], root_hex: &str) -> Result<Choice, NoBootDisk> {
    let mut fit: Vec<(&Candidate, &Table, u32)> = candidates.iter().filter_map(fitting).collect();
    fit.sort_by_key(|(disk, table, _)| (Reverse(table.find(Partition::State).is_some()), disk.removable, disk.name.clone()));
    let others = fit.iter().skip(1).map(|(disk, ..)| disk.name.clone()).collect();
    match fit.first() {
        Some((disk, table, runtime)) => {
            let disk = BootDisk { name: disk.name.clone(), sectors: disk.sectors, table: (*table).clone(), runtime: *runtime };
            Ok(Choice { disk, others })
        }
        None => Err(NoBootDisk { root: root_hex.chars().take(12).collect(), looked_at: describe(candidates) }),
    }
}

fn fitting(disk: &Candidate) -> Option<(&Candidate, &Table, u32)> {
    let table = disk.table.as_ref()?;
    table.find(Partition::Seed)?;
    Some((disk, table, disk.runtime?))
}

fn describe(candidates: &[Candidate]) -> String {
    let lacks = |disk: &Candidate| match &disk.table {
        None => "no partition table",
        Some(table) if table.find(Partition::Seed).is_none() => "no SEED",
        Some(table) if table.find(Partition::RuntimeA).is_none() => "no RUNTIME-A",
        Some(_) => "another version's runtime",
    };
    match candidates {
        [] => "no disks at all (is the disk's driver in the board's module list?)".to_owned(),
        disks => disks.iter().map(|disk| format!("{} ({})", disk.name, lacks(disk))).collect::<Vec<_>>().join(", "),
    }
}

/// The runtime partition that carries the sealed image; `matches` looks at a byte offset.
pub(super) fn runtime_of(table: &Table, matches: impl Fn(u64) -> bool) -> Option<u32> {
    let slots = [Partition::RuntimeA, Partition::RuntimeB];
    slots.into_iter().filter_map(|slot| table.find(slot)).find(|(_, entry)| matches(entry.offset())).map(|(number, _)| number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::gpt::tests::image_table;

    fn disk(name: &str, removable: bool, state: bool) -> Candidate {
        let mut table = image_table();
        if state {
            let mut entry = table.entries[2].clone().expect("RUNTIME-A");
            entry.type_guid = Partition::State.type_guid();
            table.entries[4] = Some(entry);
        }
        Candidate { name: name.into(), removable, sectors: 100_000, table: Some(table), runtime: Some(3) }
    }

    #[test]
    fn a_disk_that_has_lived_wins_then_a_fixed_one_then_the_first() {
        let cases = [
            (vec![disk("sdb", true, false), disk("sda", false, false)], "sda"),
            (vec![disk("sda", false, false), disk("sdb", true, true)], "sdb"),
            (vec![disk("sdb", false, true), disk("sda", false, true)], "sda"),
        ];
        for (disks, expected) in cases {
            let choice = choose(&disks, "abc").expect("one fits");
            assert_eq!(choice.disk.name, expected);
            assert_eq!(choice.others.len(), 1);
        }
    }

    #[test]
    fn the_refusal_says_what_each_disk_lacks() {
        let blank = Candidate { name: "sda".into(), removable: false, sectors: 1, table: None, runtime: None };
        let old = Candidate { runtime: None, ..disk("vda", false, true) };
        let error = choose(&[blank, old], &"ab".repeat(32)).expect_err("none fits");
        let text = error.to_string();
        assert!(text.contains("sda (no partition table), vda (another version's runtime)"), "{text}");
        assert!(choose(&[], "ab").expect_err("none").looked_at.starts_with("no disks at all"));
    }

    #[test]
    fn slot_b_may_be_the_running_one() {
        let mut table = image_table();
        let mut entry = table.entries[2].clone().expect("RUNTIME-A");
        entry.type_guid = Partition::RuntimeB.type_guid();
        (entry.first, entry.last) = (20_480, 30_000);
        table.entries[3] = Some(entry);
        assert_eq!(runtime_of(&table, |offset| offset == 20_480 * 512), Some(4));
        assert_eq!(runtime_of(&table, |_| false), None);
    }
}
