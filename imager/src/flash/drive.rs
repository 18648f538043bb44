//! What is done to one drive, from the first block to the last: clear, probe, write, read back. Ends in the digest of what the drive holds, or in the one reason
//! why it failed; then the head is cleared again, so that nobody takes the drive for a good one. Knows nothing of the other drives.

use std::io;
use std::ops::Range;

use super::buffer::Pool;
use super::clear::How;
use super::feed::{Lane, Step};
use super::outcome::{Failure, Reason, guarded};
use super::pieces::HEAD_BYTES;
use super::plan::Job;
use super::probe;
use super::proof::Proof;
use super::readback::{self, Origin};
use super::source::{Piece, Reader};
use super::status::{News, Patience, Stage, Status};
use super::stop::{self, Stop};
use super::target::{Discard, Forgotten, Target};
use crate::image::digest::Digest;

/// A drive is asked to write no more zeros than this at once, so that it is seen to be alive.
const ZERO_STEP: u64 = 64 << 20;
/// The same for discarding, which is quick.
const FORGET_STEP: u64 = 1 << 30;
/// A drive that is written through this machine's memory is asked to finish each time it took so much: so it is seen to be alive, and no answer takes
/// as long as a whole image.
const CACHED_STEP: u64 = 64 << 20;

/// All that one drive's thread works with.
pub(super) struct Work<'a> {
    pub(super) job: &'a Job,
    pub(super) pieces: &'a [Range<u64>],
    pub(super) lane: Lane,
    pub(super) proof: &'a Proof,
    pub(super) pool: &'a Pool,
    pub(super) status: &'a Status,
    pub(super) discard: Discard,
    pub(super) nonce: [u8; 16],
    pub(super) stop: &'a Stop,
}

impl Work<'_> {
    /// An error when nothing more may be asked of the drive.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if self.status.is_abandoned() {
            return Err(Failure::new(Reason::Timeout, "it was given up before"));
        }
        self.stop.check()
    }
}

/// Does all of it. The digest is that of the image as read back; it is given also where the image itself turned out to be wrong.
pub(super) fn run(work: &Work<'_>, target: &mut dyn Target) -> (Option<Digest>, Result<(), Failure>) {
    if work.stop.check().is_err() {
        return (None, Err(stop::untouched()));
    }
    let mut digest = None;
    let result = guarded(|| write_and_prove(work, target, &mut digest));
    if result.is_err() {
        // Best effort: a drive that fails may fail here too, and the first failure is the one to tell.
        let clear = || target.zero(0..head_end(work), Discard::Never).and_then(|()| target.sync());
        drop(work.status.during("clear the head", Patience::Twice, clear));
    }
    (digest, result)
}

fn write_and_prove(work: &Work<'_>, target: &mut dyn Target, digest: &mut Option<Digest>) -> Result<(), Failure> {
    let mut drive = OneDrive { work, target, unfinished: 0, discards: work.discard == Discard::Allowed };
    work.status.stage(Stage::Clearing);
    drive.clear()?;
    drive.write_probes()?;
    work.status.stage(Stage::Writing);
    let (head, origin) = drive.write_image()?;
    drive.sync()?;
    for piece in head {
        drive.write(&piece)?;
    }
    drive.sync()?;
    work.status.stage(Stage::ReadingBack);
    drive.check_probes("after the image was written")?; // first: it says why the image would not be there either
    *digest = Some(readback::read_back(work, &*drive.target, origin)?);
    drive.clear_probes()?;
    work.proof.verdict()
}

/// The head ends where the image ends, if that is smaller.
fn head_end(work: &Work<'_>) -> u64 {
    HEAD_BYTES.min(work.job.image.bytes)
}

struct OneDrive<'a, 'w> {
    work: &'w Work<'a>,
    target: &'w mut dyn Target,
    /// What it took since it was asked to finish.
    unfinished: u64,
    /// Whether it may be offered to discard: it is allowed, and the drive took it so far.
    discards: bool,
}

impl OneDrive<'_, '_> {
    /// Does one thing with the drive while the watchdog looks on; says what and where when that fails.
    fn ask(&mut self, what: &'static str, at: u64, ask: impl FnOnce(&mut dyn Target) -> io::Result<()>) -> Result<(), Failure> {
        self.ask_patiently(what, Patience::Once, at, ask)
    }

    fn ask_patiently(
        &mut self,
        what: &'static str,
        patience: Patience,
        at: u64,
        ask: impl FnOnce(&mut dyn Target) -> io::Result<()>,
    ) -> Result<(), Failure> {
        self.work.check()?;
        let done = self.work.status.during(what, patience, || ask(self.target));
        done.map_err(|error| failed(self.target, what, at, &error))
    }

    fn sync(&mut self) -> Result<(), Failure> {
        self.unfinished = 0;
        self.ask_patiently("finish writing", Patience::Twice, 0, |target| target.sync())
    }

    /// The drive took so many more bytes.
    fn took(&mut self, bytes: u64) -> Result<(), Failure> {
        self.unfinished += bytes;
        if self.unfinished >= CACHED_STEP && self.target.is_cached() { self.sync() } else { Ok(()) }
    }

    fn zero(&mut self, range: Range<u64>) -> Result<(), Failure> {
        let discard = self.work.discard;
        for part in steps(range, ZERO_STEP) {
            self.ask("clear", part.start, |target| target.zero(part.clone(), discard))?;
            self.took(part.end - part.start)?;
        }
        Ok(())
    }

    fn forget(&mut self, range: Range<u64>) -> Result<(), Failure> {
        for part in steps(range, FORGET_STEP) {
            if !self.discards {
                break;
            }
            let mut forgotten = Forgotten::Unable;
            self.ask("discard", part.start, |target| {
                forgotten = target.forget(part.clone());
                Ok(())
            })?;
            self.discards = matches!(forgotten, Forgotten::Taken);
            if let Forgotten::Refused(error) = forgotten {
                let at = part.start;
                let text = format!("it refused to discard at byte {at} ({error}); what nobody needs there keeps its old bytes");
                self.work.status.tell(News::Note(text));
            }
        }
        Ok(())
    }

    /// The head first: from now on nothing boots from this drive until all of it is written.
    fn clear(&mut self) -> Result<(), Failure> {
        let head = 0..head_end(self.work);
        self.ask("clear", 0, |target| target.zero(head.clone(), Discard::Never))?;
        self.sync()?;
        for clear in &self.work.job.clears {
            match clear.why.how() {
                How::Forget => self.forget(clear.range.clone())?,
                How::Zero => self.zero(clear.range.clone())?,
            }
        }
        Ok(())
    }

    fn write_probes(&mut self) -> Result<(), Failure> {
        let work = self.work;
        for place in work.job.probes.iter().copied() {
            let mut bytes = work.pool.take(usize::try_from(probe::PROBE_BYTES).expect("a page"));
            bytes.copy_from_slice(&probe::pattern(work.nonce, place));
            self.ask("write a probe", place, |target| target.write_at(place, &bytes))?;
        }
        if work.job.probes.is_empty() {
            Ok(())
        } else {
            self.sync().and_then(|()| self.check_probes("right after they were written"))
        }
    }

    fn check_probes(&mut self, when: &str) -> Result<(), Failure> {
        let work = self.work;
        for place in work.job.probes.iter().copied() {
            let mut bytes = work.pool.take(usize::try_from(probe::PROBE_BYTES).expect("a page"));
            self.ask("read a probe", place, |target| target.read_at(place, &mut bytes))?;
            if bytes[..] != probe::pattern(work.nonce, place) {
                let claimed = work.job.drive.bytes;
                let text = format!(
                    "it claims {claimed} bytes, but does not keep what is written at byte {place} ({when}); throw it away"
                );
                return Err(Failure::new(Reason::Counterfeit, text));
            }
        }
        Ok(())
    }

    fn clear_probes(&mut self) -> Result<(), Failure> {
        for place in self.work.job.probes.iter().copied() {
            self.zero(probe::range(place))?;
        }
        if self.work.job.probes.is_empty() { Ok(()) } else { self.sync() }
    }

    fn write(&mut self, piece: &Piece) -> Result<(), Failure> {
        self.ask("write", piece.offset, |target| target.write_at(piece.offset, &piece.bytes))?;
        self.work.status.written(piece.bytes.len() as u64);
        self.took(piece.bytes.len() as u64)
    }

    /// Writes all pieces but those of the head, which are returned; and says where the bytes came from.
    fn write_image(&mut self) -> Result<(Vec<Piece>, Origin), Failure> {
        let mut head = Vec::new();
        let origin = loop {
            match self.work.lane.next() {
                Step::Piece(piece) => self.write_or_keep(piece, &mut head)?,
                Step::End => {
                    self.work.proof.check()?; // it also ends where the image cannot be read on
                    break Origin::Stream;
                }
                Step::OnItsOwn(from) => {
                    let work = self.work;
                    let mut reader = Reader::open(&work.job.image, work.pieces, work.pool, from)?;
                    while let Some(piece) = reader.next()? {
                        self.write_or_keep(piece, &mut head)?;
                    }
                    break Origin::OwnReading;
                }
            }
        };
        Ok((head, origin))
    }

    fn write_or_keep(&mut self, piece: Piece, head: &mut Vec<Piece>) -> Result<(), Failure> {
        if piece.offset < HEAD_BYTES {
            head.push(piece);
            return Ok(());
        }
        self.write(&piece)
    }
}

/// A range in parts of this length.
fn steps(range: Range<u64>, step: u64) -> impl Iterator<Item = Range<u64>> {
    let next = move |at: &u64| Some(at + step).filter(|next| *next < range.end);
    std::iter::successors(Some(range.start).filter(|start| *start < range.end), next).map(move |at| at..range.end.min(at + step))
}

/// Why a drive failed that was asked this.
pub(super) fn failed(target: &dyn Target, what: &str, at: u64, error: &io::Error) -> Failure {
    let reason = if target.is_gone() { Reason::Pulled } else { Reason::of(error) };
    Failure::new(reason, explain(reason, what, at, error))
}

/// What happened, in words.
fn explain(reason: Reason, what: &str, at: u64, error: &io::Error) -> String {
    let place = if at == 0 { String::new() } else { format!(" at byte {at}") };
    let advice = match reason {
        Reason::Pulled => "it was pulled or lost its connection; plug it in and flash it again",
        Reason::BadBlock => "the medium is bad; throw it away",
        Reason::ShortWrite => "it does not take what it is given; try another port, or throw it away",
        Reason::Full => "there is no more room",
        Reason::WriteProtected => "it refuses writes; look for a lock switch, or it is worn out",
        Reason::Mismatch => "less came back than was written",
        Reason::Refused
        | Reason::Busy
        | Reason::Counterfeit
        | Reason::WrongHash
        | Reason::Image
        | Reason::Timeout
        | Reason::Interrupted
        | Reason::Io => "flash it again",
    };
    format!("cannot {what}{place}: {error}; {advice}")
}
