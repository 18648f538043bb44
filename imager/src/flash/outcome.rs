//! What came of one drive: the facts that a record, a table and an exit code are made from. Decides nothing.

use std::fmt;
use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use jiff::Timestamp;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::image::digest::Digest;

/// How a drive is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// USB: a stick, a card reader, a disk in a box.
    Usb,
    /// An SD card or eMMC on its own controller.
    Mmc,
    /// NVMe.
    Nvme,
    /// SATA or PATA.
    Sata,
    /// A SCSI disk that is neither of the above.
    Scsi,
    /// A virtual machine's disk.
    Virtio,
    /// A network block device.
    Nbd,
    /// A loop device.
    Loop,
    /// A regular file.
    File,
    /// Anything else.
    Other,
}

impl Transport {
    /// Its word in records and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Usb => "usb",
            Self::Mmc => "mmc",
            Self::Nvme => "nvme",
            Self::Sata => "sata",
            Self::Scsi => "scsi",
            Self::Virtio => "virtio",
            Self::Nbd => "nbd",
            Self::Loop => "loop",
            Self::File => "file",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What is known of a drive itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Drive {
    /// Its serial number, as the drive tells it. Cheap USB sticks tell the same one each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// Its model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Its size, as it claims.
    pub bytes: u64,
    /// How it is connected.
    pub transport: Transport,
    /// The port it is plugged into: its name below `/dev/disk/by-path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
}

/// Why a drive failed. The words in records; they do not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// A guard refused it before anything was written.
    Refused,
    /// Somebody else has it open or mounted.
    Busy,
    /// It went away: unplugged, disconnected, powered off.
    Pulled,
    /// It took fewer bytes than it was given, and would not take the rest.
    ShortWrite,
    /// A block cannot be written or read.
    BadBlock,
    /// It, or the disk that a file lies on, is full.
    Full,
    /// It refuses writes: a lock switch, or it has turned read-only because it is worn out.
    WriteProtected,
    /// It does not have the capacity it claims.
    Counterfeit,
    /// What was read back is not what was written.
    Mismatch,
    /// The image is not the one its manifest, checksum or block map is for.
    WrongHash,
    /// The image cannot be read.
    Image,
    /// It did not answer in time.
    Timeout,
    /// Somebody stopped the run before the drive was proved.
    Interrupted,
    /// Any other error.
    Io,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 14] = [
        Self::Refused,
        Self::Busy,
        Self::Pulled,
        Self::ShortWrite,
        Self::BadBlock,
        Self::Full,
        Self::WriteProtected,
        Self::Counterfeit,
        Self::Mismatch,
        Self::WrongHash,
        Self::Image,
        Self::Timeout,
        Self::Interrupted,
        Self::Io,
    ];

    /// Its code in records.
    pub fn code(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Busy => "busy",
            Self::Pulled => "pulled",
            Self::ShortWrite => "short-write",
            Self::BadBlock => "bad-block",
            Self::Full => "full",
            Self::WriteProtected => "write-protected",
            Self::Counterfeit => "counterfeit",
            Self::Mismatch => "mismatch",
            Self::WrongHash => "wrong-hash",
            Self::Image => "image",
            Self::Timeout => "timeout",
            Self::Interrupted => "interrupted",
            Self::Io => "io",
        }
    }

    /// The reason that an I/O error of a drive stands for.
    pub fn of(error: &io::Error) -> Self {
        match error.kind() {
            ErrorKind::WriteZero => return Self::ShortWrite,
            ErrorKind::TimedOut => return Self::Timeout,
            _ => {}
        }
        match Errno::from_io_error(error) {
            Some(Errno::NODEV | Errno::NXIO | Errno::NOTCONN | Errno::SHUTDOWN | Errno::NOMEDIUM) => Self::Pulled,
            Some(Errno::IO | Errno::ILSEQ | Errno::NODATA | Errno::REMOTEIO) => Self::BadBlock,
            Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) => Self::Full,
            Some(Errno::ROFS | Errno::PERM | Errno::ACCESS) => Self::WriteProtected,
            Some(Errno::BUSY | Errno::TXTBSY | Errno::AGAIN) => Self::Busy,
            Some(Errno::TIMEDOUT | Errno::TIME) => Self::Timeout,
            Some(_) | None => Self::Io,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

/// Why a drive failed, for programs and for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(deny_unknown_fields)]
#[error("{text}")]
pub struct Failure {
    /// For programs.
    pub reason: Reason,
    /// For people: what happened, where, and what to do. One line.
    pub text: String,
}

impl Failure {
    /// A failure in words.
    pub fn new(reason: Reason, text: impl Into<String>) -> Self {
        Self { reason, text: text.into() }
    }
}

/// What came of one drive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The drive as the caller named it, or as it was found.
    pub device: PathBuf,
    /// What the drive tells of itself.
    pub drive: Drive,
    /// The image that was to be written.
    pub image: PathBuf,
    /// Name of the device the image was stamped for, by its manifest.
    pub device_name: Option<String>,
    /// SHA-256 of the whole image as it was read, holes as zeros. None: it was not read to its end.
    pub image_sha256: Option<Digest>,
    /// SHA-256 of the whole image with every mapped byte as read back from the drive, holes as zeros. None: nothing was read back to the end.
    pub readback_sha256: Option<Digest>,
    /// When work on this drive began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// Bytes of the image that the drive took; zeros for what is unmapped not counted.
    pub bytes_written: u64,
    /// How it ended.
    pub result: Result<(), Failure>,
}

impl Outcome {
    /// Whether the drive carries the image, proved by reading it back.
    pub fn is_good(&self) -> bool {
        self.result.is_ok()
    }
}

/// A panic is this program's fault and one drive's failure, not the end of the others.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    let broken = |_| Err(Failure::new(Reason::Io, "imager itself went wrong here; please report what stands above"));
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_own_code_which_is_also_its_json_form() {
        let mut codes: Vec<&str> = Reason::ALL.iter().map(|reason| reason.code()).collect();
        for reason in Reason::ALL {
            assert_eq!(serde_json::to_value(reason).expect("JSON"), reason.code());
        }
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Reason::ALL.len());
    }

    #[test]
    fn errors_of_a_drive_are_told_apart() {
        for (errno, expected) in [
            (Errno::IO, Reason::BadBlock),
            (Errno::NODEV, Reason::Pulled),
            (Errno::NXIO, Reason::Pulled),
            (Errno::NOSPC, Reason::Full),
            (Errno::ROFS, Reason::WriteProtected),
            (Errno::BUSY, Reason::Busy),
            (Errno::TIMEDOUT, Reason::Timeout),
            (Errno::INVAL, Reason::Io),
        ] {
            assert_eq!(Reason::of(&errno.into()), expected, "{errno}");
        }
        assert_eq!(Reason::of(&ErrorKind::WriteZero.into()), Reason::ShortWrite);
    }
}
