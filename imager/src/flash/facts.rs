//! What is known of a drive before anything is written to it: from `/sys`, `/proc` and the file system. Judges nothing; see [`super::guard`].

use std::fs;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{major, minor};

mod block;
mod drive;
mod mounts;

use super::outcome::{Drive, Transport};
use crate::sparse;
use mounts::Mounts;

/// Where the system keeps what it knows.
#[derive(Debug, Clone)]
pub struct Roots {
    /// `/sys`.
    pub sys: PathBuf,
    /// `/proc`.
    pub proc: PathBuf,
    /// `/dev`.
    pub dev: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self { sys: "/sys".into(), proc: "/proc".into(), dev: "/dev".into() }
    }
}

/// A device's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceNumber {
    /// Of the driver.
    pub major: u32,
    /// Of the device.
    pub minor: u32,
}

impl std::fmt::Display for DeviceNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

/// How a drive is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Use {
    /// A file system on it is mounted.
    Mounted {
        /// The device with the file system: the drive, a partition, something on top of it.
        device: String,
        /// Where.
        at: PathBuf,
    },
    /// Memory is swapped to it.
    Swap {
        /// The device or file.
        device: String,
    },
    /// Another device is made of it: LVM, RAID, encryption, a loop device.
    Held {
        /// The drive or its partition.
        device: String,
        /// The device made of it.
        by: String,
    },
}

/// A drive or file as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// As the caller named it.
    pub named: PathBuf,
    /// The device or file itself, behind links.
    pub path: PathBuf,
    /// What it is.
    pub kind: Kind,
}

/// What a target is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "there are a handful of them, and nearly all are block devices")]
pub enum Kind {
    /// A block device.
    Block(Block),
    /// A regular file.
    File(RegularFile),
    /// Nothing is there.
    Missing,
    /// Something that cannot be flashed.
    Other(&'static str),
}

/// A block device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Its number.
    pub number: DeviceNumber,
    /// Its name in `/sys/block`.
    pub name: String,
    /// The kernel's count of disks and media at the time this one came: no other ever has it. None: an older kernel.
    pub sequence: Option<u64>,
    /// What it tells of itself.
    pub drive: Drive,
    /// The disk that this is a partition of.
    pub partition_of: Option<String>,
    /// Made to be plugged in and out.
    pub removable: bool,
    /// The kernel refuses writes.
    pub read_only: bool,
    /// Bytes of a logical sector.
    pub sector_bytes: u64,
    /// Where its partitions lie now.
    pub partitions: Vec<Range<u64>>,
    /// How it is in use.
    pub uses: Vec<Use>,
    /// The file behind a loop device.
    pub backing: Option<Backing>,
}

/// What is behind a loop device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backing {
    /// As the kernel names it.
    pub path: PathBuf,
    /// Device and inode of the file, which may have other names; none: it is there no more, or under another root.
    pub id: Option<(u64, u64)>,
}

/// A file that a run reads or adds to, by whatever name: nothing is flashed onto it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// One of its names.
    pub path: PathBuf,
    /// Device and inode.
    pub id: (u64, u64),
}

impl Kept {
    /// The file at `path`; none: nothing is there.
    pub fn of(path: &Path) -> Option<Self> {
        let meta = fs::metadata(path).ok()?;
        Some(Self { path: path.to_owned(), id: (meta.dev(), meta.ino()) })
    }
}

/// A regular file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegularFile {
    /// Device and inode.
    pub id: (u64, u64),
    /// Its length.
    pub bytes: u64,
    /// Something is in it: it is neither empty nor one hole.
    pub holds_data: bool,
    /// How it is in use.
    pub uses: Vec<Use>,
}

impl Facts {
    /// Gathers what is known of the drive or file at `path`.
    ///
    /// # Errors
    /// When the system's own tables cannot be read, or `path` cannot be followed for another reason than that nothing is there.
    pub fn gather(path: &Path, roots: &Roots) -> io::Result<Self> {
        let facts = |path: PathBuf, kind| Self { named: path.clone(), path, kind };
        let real = match fs::canonicalize(path) {
            Ok(real) => real,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(facts(path.to_owned(), Kind::Missing)),
            Err(error) => return Err(error),
        };
        let meta = fs::metadata(&real)?;
        let file_type = meta.file_type();
        let kind = if file_type.is_block_device() {
            let number = DeviceNumber { major: major(meta.rdev()), minor: minor(meta.rdev()) };
            Kind::Block(Tables::read(roots)?.block(number)?)
        } else if file_type.is_file() {
            let id = (meta.dev(), meta.ino());
            let uses = Tables::read(roots)?.file_uses(&real, id)?;
            let holds_data = !sparse::data_ranges(&fs::File::open(&real)?, meta.len())?.is_empty();
            Kind::File(RegularFile { id, bytes: meta.len(), holds_data, uses })
        } else if file_type.is_dir() {
            Kind::Other("a folder")
        } else {
            Kind::Other("no disk: a character device, pipe or socket")
        };
        Ok(Self { named: path.to_owned(), ..facts(real, kind) })
    }

    /// What tells the disk of a device number from any other that had or will have that number: its sequence number and its serial number.
    ///
    /// # Errors
    /// When the system knows no such device, or does not tell of it.
    pub fn identity(sys: &Path, device: DeviceNumber) -> io::Result<(Option<u64>, Option<String>)> {
        let folder = fs::canonicalize(sys.join("dev/block").join(device.to_string()))?;
        Ok((block::sequence(&folder)?, drive::serial(&folder)?))
    }

    /// What is known of every whole disk there is, in the order of their ports, then of their names.
    ///
    /// # Errors
    /// When the system's own tables cannot be read.
    pub fn all(roots: &Roots) -> io::Result<Vec<Self>> {
        let tables = Tables::read(roots)?;
        let mut all = Vec::new();
        for entry in fs::read_dir(roots.sys.join("block"))? {
            let name = entry?.file_name();
            let Some(number) = block::number_of(&roots.sys.join("block").join(&name))? else { continue };
            let block = tables.block(number)?;
            let path = roots.dev.join(&name);
            all.push(Self { named: path.clone(), path, kind: Kind::Block(block) });
        }
        all.sort_by(|one, other| one.order().cmp(&other.order()));
        Ok(all)
    }

    fn order(&self) -> (bool, Option<String>, &Path) {
        let port = self.drive().and_then(|drive| drive.port);
        (port.is_none(), port, &self.path)
    }

    /// What the drive tells of itself; none for what is no drive.
    pub fn drive(&self) -> Option<Drive> {
        match &self.kind {
            Kind::Block(block) => Some(block.drive.clone()),
            Kind::File(file) => {
                Some(Drive { serial: None, model: None, bytes: file.bytes, transport: Transport::File, port: None })
            }
            Kind::Missing | Kind::Other(_) => None,
        }
    }
}

/// The system's tables, read once for all drives.
#[derive(Debug)]
struct Tables<'a> {
    roots: &'a Roots,
    mounts: Mounts,
    /// Loop devices and what is behind them.
    loops: Vec<(String, Backing)>,
}

impl<'a> Tables<'a> {
    fn read(roots: &'a Roots) -> io::Result<Self> {
        Ok(Self { roots, mounts: Mounts::read(&roots.proc)?, loops: block::loops(&roots.sys)? })
    }

    /// How a regular file is in use.
    fn file_uses(&self, path: &Path, id: (u64, u64)) -> io::Result<Vec<Use>> {
        let device = path.display().to_string();
        let held = self.loops.iter().filter(|(_, backing)| backing.id == Some(id));
        let held = held.map(|(by, _)| Use::Held { device: device.clone(), by: by.clone() });
        let swap = self.mounts.is_swap(path).then(|| Use::Swap { device: device.clone() });
        Ok(held.chain(swap).collect())
    }
}

/// The text of a small file in `/sys`, without spaces around it; none: it is not there, or empty.
fn text(path: &Path) -> io::Result<Option<String>> {
    match fs::read(path) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            let text = text.trim_matches(|c: char| c.is_whitespace() || c.is_control());
            Ok((!text.is_empty()).then(|| text.to_owned()))
        }
        // Drivers answer so for what their device does not tell, or for a device that is going away.
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_absent(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(
        Errno::from_io_error(error),
        Some(
            Errno::NOENT
                | Errno::NOTDIR
                | Errno::NODEV
                | Errno::NXIO
                | Errno::IO
                | Errno::INVAL
                | Errno::NODATA
                | Errno::OPNOTSUPP
        )
    )
}

/// A number in a small file.
fn number(path: &Path) -> io::Result<Option<u64>> {
    Ok(text(path)?.and_then(|text| text.parse().ok()))
}

/// The names in a folder that may not be there.
fn names(path: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests;
