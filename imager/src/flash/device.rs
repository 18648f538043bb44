//! Real drives: block devices and regular files, through direct I/O. Decides nothing; the plan says what is written where.
//!
//! Ranges are cleared with `fallocate`, which the kernel carries out on block devices too: punching a hole there is a discard that is only done where the drive
//! guarantees zeros, and zeroing a range writes zeros, by the drive itself where it can. What means nothing is discarded
//! without that guarantee.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Advice, FallocateFlags, FlockOperation, Mode, OFlags, SeekFrom, major, minor};
use rustix::io::Errno;

use super::buffer::{BUFFER_BYTES, Buffer, Pool};
use super::facts::{DeviceNumber, Facts, Kind};
use super::outcome::{Failure, Reason, Transport};
use super::plan::Job;
use super::target::{Discard, Drives, Forgotten, Target};
use crate::sys;

/// How long another program may hold the lock: the device manager looks at a drive that was just plugged in.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
/// How long the kernel may take to take a pulled drive away after the first error: it reports the error before it has noticed.
const FAREWELL: Duration = Duration::from_secs(1);
/// Between two looks, where the kernel offers nothing to wait on.
const PAUSE: Duration = Duration::from_millis(50);

/// The machine's own drives and files.
#[derive(Debug, Clone)]
pub struct RealDrives {
    /// `/sys`, to see whether a drive is still there.
    pub sys: PathBuf,
}

impl Default for RealDrives {
    fn default() -> Self {
        Self { sys: "/sys".into() }
    }
}

impl Drives for RealDrives {
    fn open(&self, job: &Job) -> Result<Box<dyn Target>, Failure> {
        let (file, direct) = open(job).map_err(|error| cannot_open(job, &error))?;
        let folder = match &job.facts.kind {
            Kind::Block(block) => Some(self.sys.join("dev/block").join(block.number.to_string())),
            Kind::File(_) | Kind::Missing | Kind::Other(_) => None,
        };
        let cached = folder.as_ref().is_some_and(|folder| is_cached_loop(folder));
        let gone = folder.map(|folder| folder.join("size"));
        check_same(&file, job, &self.sys)?;
        lock(&file).map_err(|error| cannot_open(job, &error))?;
        if gone.is_none() && file.metadata().is_ok_and(|meta| meta.len() < job.image.bytes) {
            file.set_len(job.image.bytes).map_err(|error| cannot_open(job, &error))?;
        }
        let farewell = match job.drive.transport {
            Transport::Loop | Transport::Nbd | Transport::File => Duration::ZERO, // these are not unplugged
            Transport::Usb
            | Transport::Mmc
            | Transport::Nvme
            | Transport::Sata
            | Transport::Scsi
            | Transport::Virtio
            | Transport::Other => FAREWELL,
        };
        Ok(Box::new(Device { file, direct, cached, size_file: gone, farewell, pool: Pool::default(), zeros: None }))
    }
}

/// Whether the device in this folder of `/sys` is a loop device that reads and writes its file through the page cache.
fn is_cached_loop(folder: &Path) -> bool {
    std::fs::read_to_string(folder.join("loop/dio")).is_ok_and(|direct| direct.trim() == "0")
}

fn cannot_open(job: &Job, error: &io::Error) -> Failure {
    let device = job.facts.named.display();
    match Reason::of(error) {
        Reason::Busy => Failure::new(Reason::Busy, format!("cannot open {device}: another program uses it")),
        reason => Failure::new(reason, format!("cannot open {device}: {error}")),
    }
}

/// Opens the drive for this program alone and past the page cache; past the page cache not where the file system refuses that.
fn open(job: &Job) -> io::Result<(File, bool)> {
    let mut flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    if matches!(job.facts.kind, Kind::Block(_)) {
        flags |= OFlags::EXCL; // on a block device: fails while anything of it is mounted or otherwise claimed
    }
    match rustix::fs::open(&job.facts.path, flags | OFlags::DIRECT, Mode::empty()) {
        Ok(file) => Ok((file.into(), true)),
        Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok((rustix::fs::open(&job.facts.path, flags, Mode::empty())?.into(), false)),
        Err(other) => Err(other.into()),
    }
}

/// Between plan and act another drive may have taken the name.
fn check_same(file: &File, job: &Job, sys: &Path) -> Result<(), Failure> {
    let device = job.facts.named.display();
    let failed = |error: &io::Error| Failure::new(Reason::of(error), format!("cannot look at {device}: {error}"));
    let meta = file.metadata().map_err(|error| failed(&error))?;
    let same = match &job.facts.kind {
        Kind::Block(block) => {
            let number = DeviceNumber { major: major(meta.rdev()), minor: minor(meta.rdev()) };
            let bytes = rustix::fs::seek(file, SeekFrom::End(0)).map_err(|error| failed(&error.into()))?;
            // Another stick of the same kind may have come under the same number while somebody thought about the plan.
            let identity = Facts::identity(sys, number).map_err(|error| failed(&error))?;
            let same_disk = identity == (block.sequence, block.drive.serial.clone());
            meta.file_type().is_block_device() && number == block.number && bytes == block.drive.bytes && same_disk
        }
        Kind::File(planned) => {
            meta.is_file() && (meta.dev(), meta.ino(), meta.len()) == (planned.id.0, planned.id.1, planned.bytes)
        }
        Kind::Missing | Kind::Other(_) => false,
    };
    match same {
        true => Ok(()),
        false => {
            Err(Failure::new(Reason::Refused, format!("{device} is another drive than a moment ago; look again and start again")))
        }
    }
}

/// Takes the lock that keeps the device manager from looking at, or mounting, what is half written. There is nothing to wait on but time.
fn lock(file: &File) -> io::Result<()> {
    let began = Instant::now();
    loop {
        match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(Errno::WOULDBLOCK) if began.elapsed() < LOCK_PATIENCE => std::thread::sleep(PAUSE),
            Err(Errno::NOLCK | Errno::NOSYS | Errno::OPNOTSUPP) => return Ok(()), // a file system without locks
            Err(error) => return Err(error.into()),
        }
    }
}

/// One open drive.
struct Device {
    file: File,
    direct: bool,
    /// A loop device that goes through the page cache of the file behind it.
    cached: bool,
    /// Where the kernel says how large the drive is; none for files.
    size_file: Option<PathBuf>,
    /// How long after an error it may still seem to be there.
    farewell: Duration,
    pool: Pool,
    zeros: Option<Buffer>,
}

impl Device {
    fn fallocate(&self, flags: FallocateFlags, range: &Range<u64>) -> Result<(), Errno> {
        rustix::fs::fallocate(&self.file, flags | FallocateFlags::KEEP_SIZE, range.start, range.end - range.start)
    }

    fn write_zeros(&mut self, range: Range<u64>) -> io::Result<()> {
        let zeros = self.zeros.take().unwrap_or_else(|| self.pool.zeros(BUFFER_BYTES));
        let mut at = range.start;
        let mut result = Ok(());
        while at < range.end && result.is_ok() {
            let length = usize::try_from(range.end - at).unwrap_or(BUFFER_BYTES).min(BUFFER_BYTES);
            result = self.write_at(at, &zeros[..length]);
            at += length as u64;
        }
        self.zeros = Some(zeros);
        result
    }
}

/// What a kernel or file system answers that does not know a way to clear.
fn is_unknown(error: Errno) -> bool {
    matches!(error, Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL)
}

impl Target for Device {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let count = loop {
            match rustix::io::pwrite(&self.file, bytes, offset) {
                Err(Errno::INTR) => {}
                other => break other?,
            }
        };
        if count == bytes.len() {
            return Ok(());
        }
        // A drive takes all it is given. The rest is offered once more, only to learn why it was not taken.
        if count > 0 {
            rustix::io::pwrite(&self.file, &bytes[count..], offset + count as u64)?;
        }
        let text = format!("the drive took {count} of {} bytes at byte {offset}", bytes.len());
        Err(io::Error::new(ErrorKind::WriteZero, text))
    }

    fn zero(&mut self, range: Range<u64>, discard: Discard) -> io::Result<()> {
        let ways = match discard {
            Discard::Allowed => &[FallocateFlags::PUNCH_HOLE, FallocateFlags::ZERO_RANGE][..],
            Discard::Never => &[FallocateFlags::ZERO_RANGE][..],
        };
        for way in ways {
            match self.fallocate(*way, &range) {
                Ok(()) => return Ok(()),
                Err(error) if is_unknown(error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.write_zeros(range)
    }

    fn forget(&mut self, range: Range<u64>) -> Forgotten {
        let done = match self.size_file {
            Some(_) => sys::discard(&self.file, range),
            None => self.fallocate(FallocateFlags::PUNCH_HOLE, &range).map_err(io::Error::from),
        };
        match done {
            Ok(()) => Forgotten::Taken,
            Err(error) if Errno::from_io_error(&error).is_some_and(is_unknown) => Forgotten::Unable,
            Err(error) => Forgotten::Refused(error),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        rustix::fs::fsync(&self.file)?;
        if !self.direct {
            rustix::fs::fadvise(&self.file, 0, None, Advice::DontNeed)?;
        }
        Ok(())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut done = 0;
        while done < buffer.len() {
            match rustix::io::pread(&self.file, &mut buffer[done..], offset + done as u64) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => done += count,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn is_cached(&self) -> bool {
        self.cached || !self.direct
    }

    fn is_gone(&self) -> bool {
        let Some(file) = &self.size_file else { return false };
        let began = Instant::now();
        loop {
            let there = std::fs::read_to_string(file).is_ok_and(|sectors| sectors.trim() != "0");
            if !there || began.elapsed() >= self.farewell {
                return !there;
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn note(&self) -> Option<String> {
        let note = match (self.direct, self.cached) {
            (false, _) => {
                "it cannot be written past the page cache (no direct I/O there); it is read back after the cache is dropped"
            }
            (true, true) => {
                "it is a loop device without direct I/O: what is read back may come from the page cache; attach it with `losetup --direct-io=on`"
            }
            (true, false) => return None,
        };
        Some(note.into())
    }
}

#[cfg(test)]
mod tests;
