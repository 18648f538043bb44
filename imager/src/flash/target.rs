//! What the engine asks of a drive, so that the drive can be a device, a file, or, in tests, something that misbehaves.

use std::io;
use std::ops::Range;

use super::outcome::Failure;
use super::plan::Job;

/// Whether a drive may drop blocks to clear them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discard {
    /// Where the drive promises that they read as zeros then.
    Allowed,
    /// Never: zeros are written.
    Never,
}

/// What a drive made of being told that nobody needs a range. It is an offer, so none of these fails a drive: what it keeps means nothing to the new system,
/// and whether it still works shows when it is written to and read back.
#[derive(Debug)]
pub enum Forgotten {
    /// It took it.
    Taken,
    /// It cannot discard, and need not be asked again.
    Unable,
    /// It says that it can, and did not: it is asked no more, and whoever looks on is told why.
    Refused(io::Error),
}

/// A drive that is open for writing. One thread writes to it; several may read.
pub trait Target: Send + Sync {
    /// Writes all of `bytes`. Offsets, lengths and the memory are aligned for direct I/O; only an image's very end may be aligned to 512 bytes alone.
    ///
    /// # Errors
    /// [`io::ErrorKind::WriteZero`] when the drive took only a part.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes a range read as zeros.
    ///
    /// # Errors
    /// As for writing.
    fn zero(&mut self, range: Range<u64>, discard: Discard) -> io::Result<()>;

    /// Tells the drive that nobody needs what is in a range; what it reads as then is not defined.
    fn forget(&mut self, range: Range<u64>) -> Forgotten;

    /// Waits until everything is on the medium, and forgets what memory holds of it.
    ///
    /// # Errors
    /// When the drive could not keep something that it took before.
    fn sync(&mut self) -> io::Result<()>;

    /// Reads from the medium, not from memory.
    ///
    /// # Errors
    /// When not all of it can be read.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Whether what it took may still wait in this machine's memory, so that finishing takes the longer the more there is.
    fn is_cached(&self) -> bool {
        false
    }

    /// Whether the drive has gone away. Asked after an error, since drivers report a pulled drive as a bad block.
    fn is_gone(&self) -> bool {
        false
    }

    /// What a person should know of how this drive is written, such as that direct I/O is impossible.
    fn note(&self) -> Option<String> {
        None
    }
}

/// Opens drives.
pub trait Drives: Send + Sync {
    /// Opens the drive of a job for writing, for this program alone.
    ///
    /// # Errors
    /// When it is not, or no longer, the drive that was planned, or is in use.
    fn open(&self, job: &Job) -> Result<Box<dyn Target>, Failure>;
}
