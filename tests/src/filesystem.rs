//! Looks at the partition table and the file systems on a device's disk while it has no power, with others' checkers. Never repairs.

use std::fs::File;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use gptman::{GPT, GPTPartitionEntry};
use machine_config::disk::{Partition, SECTOR_BYTES};

/// What the checker found.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Unmounted in order, nothing wrong.
    Clean,
    /// Something is wrong, in the checker's words.
    Dirty(String),
}

/// The entry of `partition` in the partition table of `disk`.
pub fn find(disk: &Path, partition: Partition) -> Result<GPTPartitionEntry> {
    let mut file = File::open(disk).with_context(|| format!("cannot open {}", disk.display()))?;
    let gpt = GPT::find_from(&mut file).with_context(|| format!("cannot read the partition table of {}", disk.display()))?;
    let wanted = partition.type_guid().to_bytes_le();
    let entry = gpt.iter().map(|(_, entry)| entry).find(|entry| entry.partition_type_guid == wanted);
    entry.cloned().with_context(|| format!("{} has no partition {}", disk.display(), partition.name()))
}

/// Has `sgdisk` check both copies of the partition table of a disk or image.
pub fn check_table(disk: &Path) -> Result<()> {
    let output = Command::new("/usr/sbin/sgdisk").arg("-v").arg(disk).output();
    let output = output.context("cannot run sgdisk; `make setup` installs it")?;
    let words = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success() && words.contains("No problems found"), "the partition table of {}: {words}", disk.display());
    Ok(())
}

/// Checks the file systems a device has made, STATE and DATA.
pub fn check_all(disk: &Path) -> Result<()> {
    for partition in [Partition::State, Partition::Data] {
        match check(disk, partition)? {
            Verdict::Clean => {
                let words = describe(disk, partition)?;
                let clean = words.lines().any(|line| line.starts_with("Filesystem state:") && line.ends_with(" clean"));
                ensure!(clean, "{} is not marked as clean: {words}", partition.name());
            }
            Verdict::Dirty(report) => bail!("{} was not left in order:\n{report}", partition.name()),
        }
    }
    Ok(())
}

/// Looks whether STATE and DATA carry file systems, whatever state a pulled plug left them in.
pub fn exist_all(disk: &Path) -> Result<()> {
    [Partition::State, Partition::Data].into_iter().try_for_each(|partition| describe(disk, partition).map(|_| ()))
}

/// What `dumpe2fs` says about the superblock of the file system in `partition`.
fn describe(disk: &Path, partition: Partition) -> Result<String> {
    let entry = find(disk, partition)?;
    let target = format!("{}?offset={}", disk.display(), entry.starting_lba * SECTOR_BYTES);
    let output = Command::new("/usr/sbin/dumpe2fs").args(["-h", &target]).output();
    let output = output.context("cannot run dumpe2fs; `make setup` installs it")?;
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    let fits = output.status.success() && words.contains("0xEF53") && !words.contains("Filesystem UUID:          <none>");
    ensure!(fits, "{} is no file system: {words}{}", partition.name(), String::from_utf8_lossy(&output.stderr));
    Ok(words)
}

/// Checks the ext4 file system in `partition` of `disk`.
fn check(disk: &Path, partition: Partition) -> Result<Verdict> {
    let entry = find(disk, partition)?;
    let target = format!("{}?offset={}", disk.display(), entry.starting_lba * SECTOR_BYTES);
    let output = Command::new("/usr/sbin/e2fsck").args(["-f", "-n", &target]).output();
    let output = output.context("cannot run e2fsck; `make setup` installs it")?;
    let report = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let unclean = report.contains("journal recovery") || report.contains("not cleanly unmounted");
    Ok(if output.status.success() && !unclean { Verdict::Clean } else { Verdict::Dirty(report) })
}
