//! One block device from `/sys`: its size, its partitions, and everything that is built upon it.

use std::fs;
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Backing, Block, DeviceNumber, Tables, Use, drive, names, number, text};

/// What `/sys` counts sizes in, whatever the sectors of the drive are.
const SYS_SECTOR_BYTES: u64 = 512;
/// Devices upon devices upon devices: more than this is a loop.
const MOST_LAYERS: usize = 8;
/// What the kernel puts behind the name of a backing file that was removed.
const REMOVED: &str = " (deleted)";

/// The number of the device that a folder in `/sys` describes.
pub(super) fn number_of(folder: &Path) -> io::Result<Option<DeviceNumber>> {
    let text = text(&folder.join("dev"))?;
    let number = text.as_deref().and_then(|text| text.split_once(':'));
    Ok(number.and_then(|(major, minor)| Some(DeviceNumber { major: major.parse().ok()?, minor: minor.parse().ok()? })))
}

/// All loop devices in use and what is behind them.
pub(super) fn loops(sys: &Path) -> io::Result<Vec<(String, Backing)>> {
    let mut loops = Vec::new();
    for name in names(&sys.join("block"))? {
        if let Some(backing) = backing(&sys.join("block").join(&name))? {
            loops.push((name, backing));
        }
    }
    Ok(loops)
}

fn backing(folder: &Path) -> io::Result<Option<Backing>> {
    let text = text(&folder.join("loop/backing_file"))?;
    Ok(text.map(|text| {
        let path = PathBuf::from(text.strip_suffix(REMOVED).unwrap_or(&text));
        let id = fs::metadata(&path).ok().map(|meta| (meta.dev(), meta.ino()));
        Backing { path, id }
    }))
}

impl Tables<'_> {
    /// Everything about the device of a number.
    pub(super) fn block(&self, device: DeviceNumber) -> io::Result<Block> {
        let folder = fs::canonicalize(self.roots.sys.join("dev/block").join(device.to_string()))?;
        let name = name_of(&folder);
        let is_partition = folder.join("partition").exists();
        let disk = match folder.parent() {
            Some(parent) if is_partition => parent.to_owned(),
            Some(_) | None => folder.clone(),
        };
        let removable = drive::is_removable(&disk)?;
        Ok(Block {
            number: device,
            partition_of: is_partition.then(|| name_of(&disk)),
            drive: drive::read(&disk, bytes(&folder)?, self.port(&name)?)?,
            sequence: sequence(&disk)?,
            removable,
            read_only: number(&folder.join("ro"))? == Some(1),
            sector_bytes: number(&disk.join("queue/logical_block_size"))?.unwrap_or(SYS_SECTOR_BYTES),
            partitions: partitions(&folder)?,
            uses: self.uses(&folder, 0)?,
            backing: backing(&folder)?,
            name,
        })
    }

    /// How the device in this folder of `/sys`, its partitions, and everything upon them are in use.
    fn uses(&self, folder: &Path, layer: usize) -> io::Result<Vec<Use>> {
        let mut uses = self.direct_uses(folder)?;
        for holder in names(&folder.join("holders"))? {
            uses.push(Use::Held { device: name_of(folder), by: holder.clone() });
            let upon = fs::canonicalize(folder.join("holders").join(&holder));
            if let (Ok(upon), true) = (upon, layer < MOST_LAYERS) {
                uses.extend(self.uses(&upon, layer + 1)?);
            }
        }
        for partition in partition_folders(folder)? {
            uses.extend(self.uses(&partition, layer + 1)?);
        }
        Ok(uses)
    }

    /// How the very device in this folder is in use.
    fn direct_uses(&self, folder: &Path) -> io::Result<Vec<Use>> {
        let Some(device) = number_of(folder)? else { return Ok(Vec::new()) };
        let name = name_of(folder);
        let path = self.roots.dev.join(&name);
        let mut uses: Vec<Use> = Vec::new();
        for at in self.mounts.of(device, &path) {
            uses.push(Use::Mounted { device: name.clone(), at: at.to_owned() });
        }
        if self.mounts.is_swap(&path) {
            uses.push(Use::Swap { device: name.clone() });
        }
        for (by, _) in self.loops.iter().filter(|(_, backing)| backing.path == path) {
            uses.push(Use::Held { device: name.clone(), by: by.clone() });
        }
        for pool in names(&self.roots.sys.join("fs/btrfs"))? {
            if names(&self.roots.sys.join("fs/btrfs").join(&pool).join("devices"))?.contains(&name) {
                uses.push(Use::Held { device: name.clone(), by: format!("the mounted btrfs {pool}") });
            }
        }
        Ok(uses)
    }

    /// The name of the port that a disk is plugged into.
    fn port(&self, disk: &str) -> io::Result<Option<String>> {
        let folder = self.roots.dev.join("disk/by-path");
        let leads_here = |name: &String| {
            let link = fs::read_link(folder.join(name));
            link.is_ok_and(|to| to.file_name().is_some_and(|file| file.to_str() == Some(disk)))
        };
        // Older names stand beside newer ones (`usbv2-`); the shortest is the plain one.
        Ok(names(&folder)?.into_iter().filter(leads_here).min_by_key(|name| (name.len(), name.clone())))
    }
}

fn name_of(folder: &Path) -> String {
    // In `/sys` a slash in a device's name is an exclamation mark.
    folder.file_name().unwrap_or_default().to_string_lossy().replace('!', "/")
}

/// The kernel's number for this very disk or medium.
pub(super) fn sequence(disk: &Path) -> io::Result<Option<u64>> {
    number(&disk.join("diskseq"))
}

fn bytes(folder: &Path) -> io::Result<u64> {
    Ok(number(&folder.join("size"))?.unwrap_or(0).saturating_mul(SYS_SECTOR_BYTES))
}

fn partition_folders(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let inside = names(folder)?.into_iter().map(|name| folder.join(name));
    Ok(inside.filter(|inside| inside.join("partition").exists()).collect())
}

fn partitions(folder: &Path) -> io::Result<Vec<Range<u64>>> {
    let mut partitions = Vec::new();
    for partition in partition_folders(folder)? {
        let start = number(&partition.join("start"))?.unwrap_or(0).saturating_mul(SYS_SECTOR_BYTES);
        partitions.push(start..start.saturating_add(bytes(&partition)?));
    }
    partitions.sort_by_key(|range| range.start);
    Ok(partitions)
}
