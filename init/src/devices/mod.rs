//! The boot disk: every disk is looked at, one is chosen by what it holds. Kernel names and firmware variables decide nothing.

mod choose;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use machine_config::disk::SECTOR_BYTES;

pub use choose::{Candidate, Choice, NoBootDisk, choose};

use crate::disk::gpt::{self, Table};
use crate::sys;
use crate::verity::RuntimeSeal;

/// The disk Skerry runs from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootDisk {
    /// Kernel name, e.g. `vda`.
    pub name: String,
    /// Its length.
    pub sectors: u64,
    /// Its partitions when it was found.
    pub table: Table,
    /// Number of the runtime partition whose root hash matches the running kernel's.
    pub runtime: u32,
}

impl BootDisk {
    /// Its device file.
    pub fn path(&self) -> PathBuf {
        Path::new("/dev").join(&self.name)
    }

    /// The device file of one partition.
    pub fn partition_path(&self, number: u32) -> PathBuf {
        partition_path(&self.name, number)
    }

    /// Length of a partition as the kernel knows it; none: it does not know it.
    pub fn kernel_bytes(&self, number: u32) -> Option<u64> {
        let folder = Path::new("/sys/class/block").join(partition_name(&self.name, number));
        let sectors: u64 = fs::read_to_string(folder.join("size")).ok()?.trim().parse().ok()?;
        Some(sectors * SECTOR_BYTES)
    }
}

/// The device file of a partition of this disk.
pub(crate) fn partition_path(disk: &str, number: u32) -> PathBuf {
    Path::new("/dev").join(partition_name(disk, number))
}

/// `vda` → `vda3`, `nvme0n1` → `nvme0n1p3`: the kernel puts a `p` after a digit.
fn partition_name(disk: &str, number: u32) -> String {
    let separator = if disk.ends_with(|c: char| c.is_ascii_digit()) { "p" } else { "" };
    format!("{disk}{separator}{number}")
}

/// Looks at every disk there is. A disk that cannot be read is one without partitions.
pub fn look(sys_root: &Path, seal: &RuntimeSeal) -> Vec<Candidate> {
    let entries = fs::read_dir(sys_root.join("class/block")).into_iter().flatten().flatten();
    let mut disks: Vec<_> = entries.filter_map(|entry| candidate(&entry.path(), seal)).collect();
    disks.sort_by(|a, b| a.name.cmp(&b.name));
    disks
}

/// Real disks have a `device` in sysfs; partitions, loop, RAM and mapped devices have not.
fn candidate(folder: &Path, seal: &RuntimeSeal) -> Option<Candidate> {
    let name = folder.file_name()?.to_str()?.to_owned();
    if folder.join("partition").exists() || !folder.join("device").exists() {
        return None;
    }
    let removable = fs::read_to_string(folder.join("removable")).is_ok_and(|text| text.trim() == "1");
    let mut candidate = Candidate { name, removable, sectors: 0, table: None, runtime: None };
    if let Ok(device) = File::open(Path::new("/dev").join(&candidate.name)) {
        read_table(&mut candidate, &device, seal);
    }
    Some(candidate)
}

fn read_table(candidate: &mut Candidate, device: &File, seal: &RuntimeSeal) {
    let (Ok(bytes), Ok(SECTOR_BYTES)) = (sys::device_bytes(device), sys::sector_bytes(device)) else { return };
    candidate.sectors = bytes / SECTOR_BYTES;
    let Ok(found) = gpt::read(device, candidate.sectors) else { return };
    candidate.runtime = choose::runtime_of(&found.table, |offset| seal.matches(device, offset));
    candidate.table = Some(found.table);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_named_as_the_kernel_does() {
        for (disk, expected) in [("vda", "vda3"), ("sda", "sda3"), ("nvme0n1", "nvme0n1p3"), ("mmcblk0", "mmcblk0p3")] {
            assert_eq!(partition_name(disk, 3), expected);
        }
    }

    #[test]
    fn only_whole_real_disks_are_candidates() {
        let sys = tempfile::tempdir().expect("a temporary folder");
        let seal = RuntimeSeal { data_blocks: 1, salt: vec![], root_hash: [0; 32] };
        for (folder, files) in [("xyz9", &["device"][..]), ("xyz9p1", &["device", "partition"]), ("loop0", &[])] {
            let folder = sys.path().join("class/block").join(folder);
            fs::create_dir_all(&folder).expect("a writable folder");
            for file in files {
                fs::write(folder.join(file), "1").expect("a writable folder");
            }
        }
        let names: Vec<_> = look(sys.path(), &seal).into_iter().map(|disk| disk.name).collect();
        assert_eq!(names, ["xyz9"]);
    }
}
