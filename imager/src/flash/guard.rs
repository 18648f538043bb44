//! Which drives are never written to, and why. Pure: facts in, a refusal out.

use std::path::{Path, PathBuf};

use globset::GlobMatcher;

use super::facts::{Block, Facts, Kept, Kind, RegularFile, Use};
use super::outcome::Transport;
use super::target::Discard;

/// Drives larger than this are refused unless the caller says otherwise: more likely somebody's archive than a device's disk.
pub const MAX_BYTES: u64 = 2 << 40;
/// What images count sectors in; a drive with other sectors would find no partition table.
const SECTOR_BYTES: u64 = 512;
/// Where the running system has its own parts.
const SYSTEM_PLACES: [&str; 7] = ["/", "/boot", "/boot/efi", "/efi", "/usr", "/var", "/home"];

/// What the caller allows.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Larger drives are refused.
    pub max_bytes: u64,
    /// Drives that are allowed although they are not removable, and files although something is in them, behind links.
    pub fixed: Vec<PathBuf>,
    /// Files of this run that are never written to, besides the images of the plan and what lies beside these.
    pub kept: Vec<Kept>,
    /// Whether drives may drop blocks.
    pub discard: Discard,
    /// Names of ports; none: any port.
    pub ports: Vec<GlobMatcher>,
}

impl Default for Policy {
    fn default() -> Self {
        Self { max_bytes: MAX_BYTES, fixed: Vec::new(), kept: Vec::new(), discard: Discard::Allowed, ports: Vec::new() }
    }
}

/// What a drive must be fit for.
#[derive(Debug, Clone)]
pub struct ImageFacts<'a> {
    /// The image's file and what lies beside it.
    pub kept: &'a [Kept],
    /// Its length.
    pub bytes: u64,
}

/// Why a drive is not written to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing has that name.
    #[error("there is no such drive or file; `lsblk` lists drives; a file to write to is made with `truncate -s SIZE FILE`")]
    Missing,
    /// It is something else.
    #[error("it is {0}; name a whole disk, such as /dev/sdb, or a file")]
    NotADrive(&'static str),
    /// A part of a disk.
    #[error("it is a partition of {0}; name the whole disk")]
    Partition(String),
    /// An empty card reader or loop device.
    #[error("it holds no medium; put one in")]
    NoMedium,
    /// Write protected.
    #[error("it is read-only; look for a lock switch")]
    ReadOnly,
    /// The machine runs from it.
    #[error("this machine runs from it ({0})")]
    System(String),
    /// Mounted.
    #[error("{device} is mounted at {}; unmount it first", at.display())]
    Mounted {
        /// What is mounted.
        device: String,
        /// Where.
        at: PathBuf,
    },
    /// Something is built upon it.
    #[error("{device} is in use by {by}; take that apart first")]
    Held {
        /// What is in use.
        device: String,
        /// By what.
        by: String,
    },
    /// A file of this run: an image, what lies beside one, the log.
    #[error("it is {}, which this run reads or adds to; name what is to be written to", .0.display())]
    Kept(PathBuf),
    /// A file that is no empty place for an image.
    #[error("it is a file with something in it; if all that may be lost, name it with --allow-fixed {}", .0.display())]
    Occupied(PathBuf),
    /// Named twice.
    #[error("it is the same drive as {}; name each drive once", .0.display())]
    Twice(PathBuf),
    /// Not on the list.
    #[error("its port ({}) is not on the list of --port", .0.as_deref().unwrap_or("none"))]
    Port(Option<String>),
    /// Built in.
    #[error("it is not removable; if it is meant, name it with --allow-fixed {}", .0.display())]
    Fixed(PathBuf),
    /// Too large to be meant.
    #[error("it has {found} bytes, more than the {limit} allowed; if it is meant, raise --max-size")]
    TooLarge {
        /// Its size.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// Too small.
    #[error("it has {found} bytes, the image needs {needed}; take a larger one")]
    TooSmall {
        /// Its size.
        found: u64,
        /// The image's.
        needed: u64,
    },
    /// Sectors of another size.
    #[error("its sectors have {0} bytes; the image's partition table counts in {SECTOR_BYTES}, so nothing would boot from it")]
    Sectors(u64),
}

/// Why the drive must not be written to, if so. `earlier` are those that will be written to already.
pub fn refusal(facts: &Facts, image: &ImageFacts<'_>, earlier: &[&Facts], policy: &Policy) -> Option<Refusal> {
    let own = match &facts.kind {
        Kind::Missing => Some(Refusal::Missing),
        Kind::Other(what) => Some(Refusal::NotADrive(what)),
        Kind::Block(block) => of_block(facts, block, image, policy),
        Kind::File(file) => of_file(facts, file, image, policy),
    };
    own.or_else(|| earlier.iter().find(|other| is_same(facts, other)).map(|other| Refusal::Twice(other.named.clone())))
}

fn of_block(facts: &Facts, block: &Block, image: &ImageFacts<'_>, policy: &Policy) -> Option<Refusal> {
    let bytes = block.drive.bytes;
    // What must never be overridden comes first, so that nobody adds one option after another only to be refused in the end.
    let guards = [
        block.partition_of.clone().map(Refusal::Partition),
        (bytes == 0).then_some(Refusal::NoMedium),
        system_use(&block.uses).map(Refusal::System),
        block.uses.first().map(of_use),
        file_behind(block).and_then(|id| kept(id, image, policy)),
        block.read_only.then_some(Refusal::ReadOnly),
        (block.sector_bytes != SECTOR_BYTES).then_some(Refusal::Sectors(block.sector_bytes)),
        (bytes < image.bytes).then_some(Refusal::TooSmall { found: bytes, needed: image.bytes }),
        off_the_list(block.drive.port.as_deref(), policy),
        (!block.removable && !policy.fixed.contains(&facts.path)).then(|| Refusal::Fixed(facts.named.clone())),
        (bytes > policy.max_bytes).then_some(Refusal::TooLarge { found: bytes, limit: policy.max_bytes }),
    ];
    guards.into_iter().flatten().next()
}

fn of_file(facts: &Facts, file: &RegularFile, image: &ImageFacts<'_>, policy: &Policy) -> Option<Refusal> {
    let guards = [
        kept(file.id, image, policy),
        file.uses.first().map(of_use),
        off_the_list(None, policy),
        (file.holds_data && !policy.fixed.contains(&facts.path)).then(|| Refusal::Occupied(facts.named.clone())),
        (file.bytes > policy.max_bytes).then_some(Refusal::TooLarge { found: file.bytes, limit: policy.max_bytes }),
    ];
    guards.into_iter().flatten().next()
}

fn kept(id: (u64, u64), image: &ImageFacts<'_>, policy: &Policy) -> Option<Refusal> {
    let found = image.kept.iter().chain(&policy.kept).find(|kept| kept.id == id)?;
    Some(Refusal::Kept(found.path.clone()))
}

fn off_the_list(port: Option<&str>, policy: &Policy) -> Option<Refusal> {
    let listed = policy.ports.is_empty() || port.is_some_and(|port| policy.ports.iter().any(|pattern| pattern.is_match(port)));
    (!listed).then(|| Refusal::Port(port.map(str::to_owned)))
}

/// The use by the running system itself, whatever lies between: partitions, LVM, encryption.
fn system_use(uses: &[Use]) -> Option<String> {
    uses.iter().find_map(|found| match found {
        Use::Mounted { device, at } if SYSTEM_PLACES.iter().any(|place| at == Path::new(place)) => {
            Some(format!("{device} is mounted at {}", at.display()))
        }
        Use::Swap { device } => Some(format!("it swaps to {device}")),
        Use::Mounted { .. } | Use::Held { .. } => None,
    })
}

fn of_use(found: &Use) -> Refusal {
    match found {
        Use::Mounted { device, at } => Refusal::Mounted { device: device.clone(), at: at.clone() },
        Use::Swap { device } => Refusal::System(format!("it swaps to {device}")),
        Use::Held { device, by } => Refusal::Held { device: device.clone(), by: by.clone() },
    }
}

/// Whether two names lead to one drive: the same device, the same file, a loop device and its file, or two paths to one disk.
fn is_same(one: &Facts, other: &Facts) -> bool {
    match (&one.kind, &other.kind) {
        (Kind::Block(a), Kind::Block(b)) => {
            a.number == b.number || (file_behind(a).is_some() && file_behind(a) == file_behind(b)) || is_one_disk(a, b)
        }
        (Kind::File(a), Kind::File(b)) => a.id == b.id,
        (Kind::File(file), Kind::Block(block)) | (Kind::Block(block), Kind::File(file)) => file_behind(block) == Some(file.id),
        (Kind::Missing | Kind::Other(_), _) | (_, Kind::Missing | Kind::Other(_)) => false,
    }
}

/// Device and inode of the file behind a loop device.
fn file_behind(block: &Block) -> Option<(u64, u64)> {
    block.backing.as_ref()?.id
}

/// A disk that is reached in two ways has one serial number. On USB and cards that proves nothing: cheap ones share theirs.
fn is_one_disk(one: &Block, other: &Block) -> bool {
    let unique = matches!(one.drive.transport, Transport::Nvme | Transport::Sata | Transport::Scsi);
    let same = |a: &Block, b: &Block| a.drive.serial == b.drive.serial && a.drive.model == b.drive.model;
    unique && one.drive.serial.is_some() && one.drive.transport == other.drive.transport && same(one, other)
}

#[cfg(test)]
mod tests;
