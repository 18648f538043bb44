//! Looks at the file systems on a device's disk while it has no power, with the file system's own checker. Never repairs.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use gptman::{GPT, GPTPartitionEntry};
use machine_config::disk::{Partition, SECTOR_BYTES};

/// What the checker found.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Unmounted in order, nothing wrong.
    Clean,
    /// Something is wrong, in the checker's words.
    Dirty(String),
    /// There is no checker here.
    NoTool(String),
}

/// The entry of `partition` in the partition table of `disk`.
pub fn find(disk: &Path, partition: Partition) -> Result<GPTPartitionEntry> {
    let mut file = File::open(disk).with_context(|| format!("cannot open {}", disk.display()))?;
    let gpt = GPT::find_from(&mut file).with_context(|| format!("cannot read the partition table of {}", disk.display()))?;
    let wanted = partition.type_guid().to_bytes_le();
    let entry = gpt.iter().map(|(_, entry)| entry).find(|entry| entry.partition_type_guid == wanted);
    entry.cloned().with_context(|| format!("{} has no partition {}", disk.display(), partition.name()))
}

/// Checks the file systems a device has made, STATE and DATA. A missing checker is said and tolerated.
pub fn check_all(disk: &Path) -> Result<()> {
    for partition in [Partition::State, Partition::Data] {
        match check(disk, partition)? {
            Verdict::Clean => {}
            Verdict::Dirty(report) => bail!("{} was not left in order:\n{report}", partition.name()),
            Verdict::NoTool(reason) => eprintln!("     not checked: {reason}"),
        }
    }
    Ok(())
}

/// Checks the ext4 file system in `partition` of `disk`.
fn check(disk: &Path, partition: Partition) -> Result<Verdict> {
    let entry = find(disk, partition)?;
    let target = format!("{}?offset={}", disk.display(), entry.starting_lba * SECTOR_BYTES);
    let output = match Command::new("/usr/sbin/e2fsck").args(["-f", "-n", &target]).output() {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Verdict::NoTool("e2fsck is not installed".into())),
        Err(error) => return Err(error).context("cannot run e2fsck"),
    };
    let report = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let unclean = report.contains("journal recovery") || report.contains("not cleanly unmounted");
    Ok(if output.status.success() && !unclean { Verdict::Clean } else { Verdict::Dirty(report) })
}
