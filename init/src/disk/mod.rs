//! The boot disk's table and file systems: planned in `layout`, carried out here.
//!
//! Nothing is ever shrunk, moved or removed, and a partition is formatted only when it does not carry its own GUID yet.

pub mod ext4;
pub mod gpt;
pub mod layout;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use machine_config::disk::Partition;
use uuid::Uuid;

use crate::devices::BootDisk;
use crate::sys::{self, PartitionOp};
use ext4::{Ext4Error, formatted};
use gpt::{Entry, GptError};
use layout::{LayoutError, NewIds, Plan, Write};

/// Why a volume of the boot disk cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The disk cannot be opened.
    #[error("cannot open {}", path.display())]
    Open {
        /// Its device file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The table cannot be read.
    #[error("cannot read the partition table of {}", path.display())]
    Table {
        /// The disk.
        path: PathBuf,
        /// Why.
        source: GptError,
    },
    /// There is no room.
    #[error("cannot lay out {}", path.display())]
    Layout {
        /// The disk.
        path: PathBuf,
        /// Why.
        source: LayoutError,
    },
    /// The table cannot be written.
    #[error("cannot write the {what} of {}", path.display())]
    Write {
        /// Which part of it.
        what: &'static str,
        /// The disk.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kernel does not take the partition.
    #[error("cannot tell the kernel of partition {number} of {}", path.display())]
    Kernel {
        /// Its number.
        number: u32,
        /// The disk.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file system cannot be made.
    #[error("cannot use or make the file system of {}", partition.name())]
    Format {
        /// Which partition.
        partition: Partition,
        /// Why.
        source: Ext4Error,
    },
    /// A partition that must be there is not.
    #[error("cannot find {} on {}", partition.name(), path.display())]
    Missing {
        /// Which partition.
        partition: Partition,
        /// The disk.
        path: PathBuf,
    },
    /// No random numbers.
    #[error("cannot draw a random GUID")]
    Random(#[source] getrandom::Error),
}

/// A volume ready to be mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its device file.
    pub path: PathBuf,
    /// The partition's length.
    pub bytes: u64,
    /// The file system's length when it is shorter: it is grown once mounted.
    pub grow_from: Option<u64>,
    /// It was made just now.
    pub fresh: bool,
}

/// STATE of the boot disk, made when it is not there. Blocks while it writes.
pub fn state_volume(disk: &BootDisk, epoch: i64) -> Result<Volume, DiskError> {
    volume(disk, Partition::State, epoch, layout::plan_state)
}

/// DATA of the boot disk, made or grown. Blocks while it writes.
pub fn data_volume(disk: &BootDisk, max_bytes: Option<u64>, epoch: i64) -> Result<Volume, DiskError> {
    volume(disk, Partition::Data, epoch, |found, ids| layout::plan_data(found, max_bytes, ids))
}

type Planner<'a> = &'a dyn Fn(&gpt::Found, &NewIds) -> Result<Plan, LayoutError>;

fn volume(
    disk: &BootDisk,
    partition: Partition,
    epoch: i64,
    planner: impl Fn(&gpt::Found, &NewIds) -> Result<Plan, LayoutError>,
) -> Result<Volume, DiskError> {
    let plan = lay_out(disk, partition, &planner)?;
    let missing = || DiskError::Missing { partition, path: disk.path() };
    let (number, entry) = plan.table.find(partition).ok_or_else(missing)?;
    ensure_formatted(disk.partition_path(number), entry, partition, epoch)
}

fn lay_out(disk: &BootDisk, partition: Partition, planner: Planner<'_>) -> Result<Plan, DiskError> {
    let path = disk.path();
    let device = open(&path)?;
    let found = gpt::read(&device, disk.sectors).map_err(|source| DiskError::Table { path: path.clone(), source })?;
    let ids = new_ids(found.table.find(partition).is_none())?;
    let plan = planner(&found, &ids).map_err(|source| DiskError::Layout { path: path.clone(), source })?;
    if !plan.groups.is_empty() {
        tracing::info!(disk = disk.name, "bringing the partition table up to date");
    }
    for group in &plan.groups {
        write_group(&device, group).map_err(|(what, source)| DiskError::Write { what, path: path.clone(), source })?;
    }
    tell_kernel(disk, &device, &plan)?;
    Ok(plan)
}

/// Durable when it returns.
fn write_group(device: &File, group: &[Write]) -> Result<(), (&'static str, io::Error)> {
    for write in group {
        tracing::debug!(what = write.what, offset = write.offset, "writing the partition table");
        device.write_all_at(&write.bytes, write.offset).map_err(|error| (write.what, error))?;
    }
    device.sync_data().map_err(|error| ("partition table", error))
}

/// The kernel read the table before it was changed, or could not read it at all.
fn tell_kernel(disk: &BootDisk, device: &File, plan: &Plan) -> Result<(), DiskError> {
    for (number, entry) in plan.table.used() {
        let op = match disk.kernel_bytes(number) {
            None => PartitionOp::Add,
            Some(bytes) if bytes != entry.bytes() => PartitionOp::Resize,
            Some(_) => continue,
        };
        sys::partition(device, op, number, entry.offset(), entry.bytes()).map_err(|source| DiskError::Kernel {
            number,
            path: disk.path(),
            source,
        })?;
    }
    Ok(())
}

fn ensure_formatted(path: PathBuf, entry: &Entry, partition: Partition, epoch: i64) -> Result<Volume, DiskError> {
    let device = open(&path)?;
    let format_error = |source| DiskError::Format { partition, source };
    let bytes = entry.bytes();
    let usable = bytes / 4096 * 4096;
    match formatted(&device, entry.guid).map_err(format_error)? {
        Some(there) => {
            let grow_from = (there.bytes < usable).then_some(there.bytes);
            Ok(Volume { path, bytes, grow_from, fresh: false })
        }
        None => {
            tracing::info!(partition = partition.name(), mib = bytes >> 20, "making the file system");
            ext4::format(&device, bytes, entry.guid, partition.name(), epoch).map_err(format_error)?;
            sys::trim_memory();
            Ok(Volume { path, bytes, grow_from: None, fresh: true })
        }
    }
}

fn open(path: &Path) -> Result<File, DiskError> {
    OpenOptions::new().read(true).write(true).open(path).map_err(|source| DiskError::Open { path: path.to_owned(), source })
}

/// GUIDs, when some are needed: early in a boot random numbers may have to be waited for.
fn new_ids(needed: bool) -> Result<NewIds, DiskError> {
    let draw = || if needed { random_guid() } else { Ok(Uuid::nil()) };
    Ok(NewIds { runtime_b: draw()?, state: draw()?, data: draw()? })
}

/// A version 4 GUID.
fn random_guid() -> Result<Uuid, DiskError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(DiskError::Random)?;
    Ok(uuid::Builder::from_random_bytes(bytes).into_uuid())
}
