//! Carries an installation's plan out: writes, makes durable, reads back. It decides nothing.
//!
//! Reading back asks the disk itself, past the kernel's copy; what differs ends the installation before the disk can start.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use machine_config::ram_form::RamImage;
use sha2::{Digest, Sha256};

use super::facts::{self, DiskFacts};
use super::plan::{Piece, Plan, Source, Stage};
use crate::disk::gpt::ReadAt;
use crate::sys;

/// Bytes moved at a time.
const CHUNK_BYTES: usize = 4 << 20;

/// Where the plan goes: a disk, or memory in tests.
pub(super) trait Target: ReadAt {
    /// Writes these bytes.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes this range zero.
    fn zero(&self, offset: u64, bytes: u64) -> io::Result<()>;
    /// Makes all writes durable, and the next read come from the disk itself.
    fn settle(&self) -> io::Result<()>;
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes read or written so far.
    pub done: u64,
    /// Of so many.
    pub total: u64,
}

impl Progress {
    /// 0 to 100.
    pub fn percent(self) -> u64 {
        self.done.saturating_mul(100).checked_div(self.total).unwrap_or(100)
    }
}

/// Why an installation ended.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The image in RAM is not what its index says.
    #[error("the image in RAM is damaged at {offset}: nothing was written; start the medium again, or make it anew")]
    Image {
        /// Where in the disk image the range begins.
        offset: u64,
    },
    /// The image in RAM cannot be read.
    #[error("cannot read the image in RAM")]
    ReadImage(#[source] io::Error),
    /// The disk does not open for us alone.
    #[error("cannot open {} for this system alone", path.display())]
    Open {
        /// Its device file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not the disk that was chosen.
    #[error("cannot install on {}: it is another disk than the one that was chosen, or something wrote to it since; nothing was written: restart the machine", path.display())]
    Changed {
        /// Its device file.
        path: PathBuf,
    },
    /// A write failed.
    #[error("cannot write the {what} at byte {offset}; the disk may be failing: replace it")]
    Write {
        /// What.
        what: &'static str,
        /// Where the piece begins.
        offset: u64,
        /// Why.
        source: io::Error,
    },
    /// The disk does not make it durable.
    #[error("cannot make the {what} durable; the disk may be failing: replace it")]
    Settle {
        /// Which step.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Reading back failed.
    #[error("cannot read the {what} back at byte {offset}; the disk may be failing: replace it")]
    ReadBack {
        /// What.
        what: &'static str,
        /// Where the piece begins.
        offset: u64,
        /// Why.
        source: io::Error,
    },
    /// The disk gives other bytes than it was given.
    #[error("the disk gives back other bytes than were written ({what} at byte {offset}): replace it")]
    Differs {
        /// What.
        what: &'static str,
        /// Where the chunk begins.
        offset: u64,
    },
}

/// Carries the plan out on this disk, once it has shown that it still is the one that was judged.
///
/// # Errors
/// [`WriteError`]. The disk then starts nothing new.
pub fn install(
    index: &RamImage,
    blocks: &File,
    plan: &Plan,
    disk: &DiskFacts,
    report: impl FnMut(Progress),
) -> Result<(), WriteError> {
    let path = Path::new("/dev").join(&disk.name);
    let open_failed = |source| WriteError::Open { path: path.clone(), source };
    let device = OpenOptions::new().read(true).write(true).custom_flags(libc::O_EXCL).open(&path).map_err(open_failed)?;
    if !facts::is_same(disk, &device).map_err(open_failed)? {
        return Err(WriteError::Changed { path });
    }
    let mut run = Run { blocks, report, progress: Progress { done: 0, total: total(index, plan) } };
    run.check_image(index)?;
    run.carry_out(plan, &Device(device))
}

fn total(index: &RamImage, plan: &Plan) -> u64 {
    let planned: u64 = plan.stages.iter().flat_map(|(_, pieces)| pieces).map(|piece| piece.bytes).sum();
    index.mapped_bytes() + 2 * planned
}

struct Run<R, F> {
    blocks: R,
    report: F,
    progress: Progress,
}

impl<R: ReadAt, F: FnMut(Progress)> Run<R, F> {
    fn advance(&mut self, bytes: usize) {
        self.progress.done += bytes as u64;
        (self.report)(self.progress);
    }

    /// Whether each range has the hash the index says: before the first write.
    fn check_image(&mut self, index: &RamImage) -> Result<(), WriteError> {
        let mut position = 0;
        for range in &index.ranges {
            let mut hash = Sha256::new();
            for (at, length) in chunks(range.bytes) {
                let bytes = self.read_image(position + at, length)?;
                hash.update(&bytes);
                self.advance(length);
            }
            if hex::encode(hash.finalize()) != range.sha256.as_str() {
                return Err(WriteError::Image { offset: range.offset });
            }
            position += range.bytes;
        }
        Ok(())
    }

    fn carry_out(&mut self, plan: &Plan, target: &impl Target) -> Result<(), WriteError> {
        for (stage, pieces) in &plan.stages {
            for piece in pieces {
                self.write(piece, target)?;
            }
            self.settle(*stage, target)?;
            for piece in pieces {
                self.read_back(piece, target)?;
            }
        }
        Ok(())
    }

    fn settle(&self, stage: Stage, target: &impl Target) -> Result<(), WriteError> {
        target.settle().map_err(|source| WriteError::Settle { what: stage.name(), source })
    }

    fn write(&mut self, piece: &Piece, target: &impl Target) -> Result<(), WriteError> {
        let failed = |source| WriteError::Write { what: piece.what, offset: piece.offset, source };
        if piece.source == Source::Zero && target.zero(piece.offset, piece.bytes).is_ok() {
            self.advance(usize::try_from(piece.bytes).expect("a disk image fits into memory"));
            return Ok(());
        }
        for (at, length) in chunks(piece.bytes) {
            target.write_at(&self.source(piece, at, length)?, piece.offset + at).map_err(failed)?;
            self.advance(length);
        }
        Ok(())
    }

    fn read_back(&mut self, piece: &Piece, target: &impl Target) -> Result<(), WriteError> {
        let mut found = vec![0; CHUNK_BYTES.min(usize::try_from(piece.bytes).unwrap_or(CHUNK_BYTES))];
        for (at, length) in chunks(piece.bytes) {
            let (offset, found) = (piece.offset + at, &mut found[..length]);
            target.read_at(found, offset).map_err(|source| WriteError::ReadBack { what: piece.what, offset, source })?;
            if self.source(piece, at, length)? != *found {
                return Err(WriteError::Differs { what: piece.what, offset });
            }
            self.advance(length);
        }
        Ok(())
    }

    /// The bytes of a piece from `at` on.
    fn source(&self, piece: &Piece, at: u64, length: usize) -> Result<Vec<u8>, WriteError> {
        match &piece.source {
            Source::Image(position) => self.read_image(position + at, length),
            Source::Zero => Ok(vec![0; length]),
            Source::Bytes(bytes) => {
                let start = usize::try_from(at).expect("inside of the bytes");
                Ok(bytes[start..start + length].to_vec())
            }
        }
    }

    fn read_image(&self, position: u64, length: usize) -> Result<Vec<u8>, WriteError> {
        let mut bytes = vec![0; length];
        self.blocks.read_at(&mut bytes, position).map_err(WriteError::ReadImage)?;
        Ok(bytes)
    }
}

/// Offsets and lengths of the chunks of so many bytes.
fn chunks(bytes: u64) -> impl Iterator<Item = (u64, usize)> {
    (0..bytes).step_by(CHUNK_BYTES).map(move |at| (at, usize::try_from(bytes - at).unwrap_or(usize::MAX).min(CHUNK_BYTES)))
}

/// A disk.
struct Device(File);

impl ReadAt for Device {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }
}

impl Target for Device {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn zero(&self, offset: u64, bytes: u64) -> io::Result<()> {
        sys::zero_out(&self.0, offset, bytes)
    }

    fn settle(&self) -> io::Result<()> {
        self.0.sync_all()?;
        sys::drop_cache(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use machine_config::ram_form::Extent;

    use super::*;
    use crate::ram::tests::{Bytes, pack};

    const MIB: u64 = 1 << 20;

    /// A disk in memory that can misbehave.
    struct Disk {
        bytes: RefCell<Vec<u8>>,
        can_zero: bool,
        settled: Cell<u32>,
        lies_at: Option<u64>,
        writes_until: Cell<u32>,
    }

    impl Disk {
        fn new(bytes: u64) -> Self {
            let bytes = RefCell::new(vec![0xff; usize::try_from(bytes).expect("small")]);
            Self { bytes, can_zero: true, settled: Cell::new(0), lies_at: None, writes_until: Cell::new(u32::MAX) }
        }
    }

    impl ReadAt for Disk {
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
            Bytes(self.bytes.borrow().clone()).read_at(buffer, offset)?;
            if let Some(at) = self.lies_at.filter(|at| (offset..offset + buffer.len() as u64).contains(at)) {
                buffer[usize::try_from(at - offset).expect("small")] ^= 1;
            }
            Ok(())
        }
    }

    impl Target for Disk {
        fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
            let left = self.writes_until.get().checked_sub(1).ok_or(io::ErrorKind::StorageFull)?;
            self.writes_until.set(left);
            let start = usize::try_from(offset).expect("small");
            self.bytes.borrow_mut()[start..start + bytes.len()].copy_from_slice(bytes);
            Ok(())
        }

        fn zero(&self, offset: u64, bytes: u64) -> io::Result<()> {
            if !self.can_zero {
                return Err(io::ErrorKind::Unsupported.into());
            }
            self.write_at(&vec![0; usize::try_from(bytes).expect("small")], offset)
        }

        fn settle(&self) -> io::Result<()> {
            self.settled.set(self.settled.get() + 1);
            Ok(())
        }
    }

    fn image() -> (RamImage, Bytes) {
        let runtime = Extent { offset: 6 * MIB, bytes: 4096 };
        pack(16 * MIB, MIB, runtime, &[(0, vec![1; 4096]), (6 * MIB, vec![2; 5 << 20])])
    }

    fn sample() -> Plan {
        let piece = |what, offset, bytes, source| Piece { what, offset, bytes, source };
        let content = vec![piece("image", 6 * MIB, 5 * MIB, Source::Image(4096)), piece("empty space", 0, 6 * MIB, Source::Zero)];
        let header = vec![piece("table header", 512, 512, Source::Bytes(vec![3; 512]))];
        Plan { stages: vec![(Stage::Content, content), (Stage::Header, header)] }
    }

    fn run(plan: &Plan, disk: &Disk) -> (Result<(), WriteError>, Vec<Progress>) {
        let (index, blocks) = image();
        let mut seen = Vec::new();
        let progress = Progress { done: 0, total: total(&index, plan) };
        let mut run = Run { blocks, report: |progress| seen.push(progress), progress };
        let outcome = run.check_image(&index).and_then(|()| run.carry_out(plan, disk));
        (outcome, seen)
    }

    #[test]
    fn every_piece_arrives_with_or_without_help_for_zeros() {
        for can_zero in [true, false] {
            let disk = Disk { can_zero, ..Disk::new(16 * MIB) };
            let (outcome, seen) = run(&sample(), &disk);
            outcome.expect("a good disk");
            let bytes = disk.bytes.borrow();
            assert!(
                bytes[..512] == [0; 512] && bytes[512..1024] == [3; 512] && bytes[1024..6 << 20].iter().all(|byte| *byte == 0)
            );
            assert!(bytes[6 << 20..11 << 20].iter().all(|byte| *byte == 2) && bytes[11 << 20] == 0xff, "and nothing else");
            assert_eq!(disk.settled.get(), 2, "once for each stage");
            let last = seen.last().expect("it reports");
            assert!(last.percent() == 100 && last.done == last.total && seen.is_sorted_by_key(|progress| progress.done));
        }
    }

    #[test]
    fn a_disk_that_gives_back_other_bytes_never_gets_its_header() {
        for at in [6 * MIB + 4_500_000, 100] {
            let disk = Disk { lies_at: Some(at), ..Disk::new(16 * MIB) };
            let (outcome, _) = run(&sample(), &disk);
            assert!(matches!(outcome, Err(WriteError::Differs { .. })), "{outcome:?}");
            assert!(disk.bytes.borrow()[512..1024] != [3; 512]);
        }
    }

    #[test]
    fn a_write_that_fails_names_its_place() {
        let disk = Disk { writes_until: Cell::new(1), ..Disk::new(16 * MIB) };
        let (outcome, _) = run(&sample(), &disk);
        let error = outcome.expect_err("no room").to_string();
        assert_eq!(error, "cannot write the image at byte 6291456; the disk may be failing: replace it");
    }

    #[test]
    fn an_image_that_was_damaged_in_ram_is_not_written() {
        let (index, mut blocks) = image();
        blocks.0[5000] ^= 1;
        let mut run = Run { blocks, report: |_| {}, progress: Progress { done: 0, total: 1 } };
        assert!(matches!(run.check_image(&index), Err(WriteError::Image { offset }) if offset == 6 * MIB));
    }
}
