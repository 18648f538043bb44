//! Opens a disk image and finds its partitions. Trusts no number it reads until it has been checked against the file.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use gptman::GPTHeader;
use machine_config::disk::{Partition, SECTOR_BYTES};
use serde::Serialize;
use uuid::Uuid;

use crate::image::window::Window;

/// Disks have 128 entries; a table that claims many more is not read.
const MOST_ENTRIES: u32 = 1024;
const ENTRY_BYTES: u32 = 128;

/// Why a file is not taken for an image.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// Nothing that could be an image, and reading it might never end.
    #[error("cannot inspect {}: it is neither a file nor a disk", path.display())]
    NotAFile {
        /// The folder, pipe or device.
        path: PathBuf,
    },
    /// It cannot be opened.
    #[error("cannot open {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No partition table.
    #[error("cannot inspect {}: it is not a disk image (no partition table found)", path.display())]
    NotAnImage {
        /// The file.
        path: PathBuf,
    },
    /// The file ends too early.
    #[error("cannot inspect {}: it is cut short, {found} of {expected} bytes are there; copy it again", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Its length by its partition table.
        expected: u64,
        /// Its length.
        found: u64,
    },
    /// A copy of the partition table is damaged.
    #[error("cannot inspect {}: the {copy} partition table is damaged ({reason})", path.display())]
    DamagedTable {
        /// The file.
        path: PathBuf,
        /// `first` or `backup`.
        copy: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A partition that every image has is missing.
    #[error("cannot inspect {}: it has no partition {}; it is not a Skerry image", path.display(), partition.name())]
    NoPartition {
        /// The file.
        path: PathBuf,
        /// Which one.
        partition: Partition,
    },
}

/// One partition, as the table has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Found {
    /// Name in the table.
    pub name: String,
    /// Type GUID.
    pub type_guid: Uuid,
    /// Its own GUID.
    pub guid: Uuid,
    /// Offset of the first byte.
    pub offset: u64,
    /// Length in bytes.
    pub bytes: u64,
}

/// Opens a file or disk for reading; its length.
pub fn open(path: &Path) -> Result<(File, u64), DiskError> {
    let failed = |source| DiskError::Open { path: path.to_owned(), source };
    let kind = std::fs::metadata(path).map_err(failed)?.file_type();
    if !kind.is_file() && !kind.is_block_device() {
        return Err(DiskError::NotAFile { path: path.to_owned() });
    }
    let mut file = File::open(path).map_err(failed)?;
    let bytes = file.seek(SeekFrom::End(0)).map_err(failed)?;
    Ok((file, bytes))
}

/// An image opened for reading.
#[derive(Debug)]
pub struct Disk {
    path: PathBuf,
    file: File,
    /// The disk's GUID.
    pub guid: Uuid,
    /// Its length by its partition table; what it lies on may be longer.
    pub bytes: u64,
    /// Its partitions, in the table's order.
    pub partitions: Vec<Found>,
}

impl Disk {
    /// Opens an image; both copies of its partition table must be whole.
    pub fn open(path: &Path) -> Result<Self, DiskError> {
        let (file, found) = open(path)?;
        Self::of_file(path, file, found)
    }

    /// The same for a file of `found` bytes that is open already; `path` is what it is called in messages.
    pub fn of_file(path: &Path, mut file: File, found: u64) -> Result<Self, DiskError> {
        let header = Self::header(&mut file, path, "first", 1)?;
        let expected = (header.backup_lba.max(header.last_usable_lba)).saturating_add(1).saturating_mul(SECTOR_BYTES);
        if found < expected {
            return Err(DiskError::Truncated { path: path.to_owned(), expected, found });
        }
        let damaged = |copy, reason: String| DiskError::DamagedTable { path: path.to_owned(), copy, reason };
        if header.number_of_partition_entries > MOST_ENTRIES || header.size_of_partition_entry != ENTRY_BYTES {
            return Err(damaged("first", "it is not of the usual size".into()));
        }
        let table = header.read_partitions(&mut file, SECTOR_BYTES).map_err(|error| damaged("first", error.to_string()))?;
        let backup = Self::header(&mut file, path, "backup", header.backup_lba)?;
        if backup.partition_entry_array_crc32 != header.partition_entry_array_crc32 {
            return Err(damaged("backup", "it differs from the first".into()));
        }
        let last = header.last_usable_lba;
        let partitions = table.iter().filter(|entry| entry.is_used()).map(|entry| match entry.size() {
            Ok(sectors) if entry.ending_lba <= last => Ok(Found {
                name: entry.partition_name.to_string(),
                type_guid: Uuid::from_bytes_le(entry.partition_type_guid),
                guid: Uuid::from_bytes_le(entry.unique_partition_guid),
                offset: entry.starting_lba * SECTOR_BYTES,
                bytes: sectors * SECTOR_BYTES,
            }),
            Ok(_) | Err(_) => Err(damaged("first", format!("partition {} leaves the disk", entry.partition_name))),
        });
        let partitions = partitions.collect::<Result<_, _>>()?;
        Ok(Self { path: path.to_owned(), file, guid: Uuid::from_bytes_le(header.disk_guid), bytes: expected, partitions })
    }

    fn header(file: &mut File, path: &Path, copy: &'static str, sector: u64) -> Result<GPTHeader, DiskError> {
        let read = file.seek(SeekFrom::Start(sector.saturating_mul(SECTOR_BYTES))).map_err(gptman::Error::Io);
        match read.and_then(|_| GPTHeader::read_from(file)) {
            Ok(header) => Ok(header),
            Err(gptman::Error::InvalidSignature) if copy == "first" => Err(DiskError::NotAnImage { path: path.to_owned() }),
            Err(gptman::Error::Io(_)) if copy == "first" => Err(DiskError::NotAnImage { path: path.to_owned() }),
            Err(error) => Err(DiskError::DamagedTable { path: path.to_owned(), copy, reason: error.to_string() }),
        }
    }

    /// What it is called.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The partition of a kind.
    pub fn partition(&self, partition: Partition) -> Result<&Found, DiskError> {
        let found = self.partitions.iter().find(|found| found.type_guid == partition.type_guid());
        found.ok_or_else(|| DiskError::NoPartition { path: self.path.clone(), partition })
    }

    /// A partition's bytes, to read and seek in.
    pub fn window(&self, found: &Found) -> Window<'_> {
        Window::new(&self.file, found.offset, found.bytes)
    }

    /// The whole file.
    pub fn file(&self) -> &File {
        &self.file
    }
}
