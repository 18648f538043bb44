//! What is done to one drive, from the first block to the last: clear, probe, write, read back. Ends in the digest of what the drive holds, or in the one reason
//! why it failed; then the head is cleared again, so that nobody takes the drive for a good one. Knows nothing of the other drives.

use std::io;
use std::ops::Range;
use std::sync::mpsc::sync_channel;
use std::thread;

use super::buffer::{Buffer, Pool};
use super::clear::How;
use super::feed::{Lane, Step};
use super::outcome::{Failure, Reason, guarded};
use super::pieces::HEAD_BYTES;
use super::plan::Job;
use super::probe;
use super::proof::{Comparison, Proof};
use super::source::{Piece, Reader};
use super::status::{Stage, Status};
use super::target::{Discard, Target};
use crate::image::digest::Digest;

/// A drive is asked to write no more zeros than this at once, so that it is seen to be alive.
const ZERO_STEP: u64 = 64 << 20;
/// The same for discarding, which is quick.
const FORGET_STEP: u64 = 1 << 30;
/// Pieces that wait to be hashed while the next one is read back.
const READ_AHEAD: usize = 2;

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
}

/// Does all of it. The digest is that of the image as read back; it is given also where the image itself turned out to be wrong.
pub(super) fn run(work: &Work<'_>, target: &mut dyn Target) -> (Option<Digest>, Result<(), Failure>) {
    let mut digest = None;
    let result = guarded(|| write_and_prove(work, target, &mut digest));
    if result.is_err() {
        // Best effort: a drive that fails may fail here too, and the first failure is the one to tell.
        let clear =
            work.status.during("clear the head", || target.zero(0..head_end(work), Discard::Never).and_then(|()| target.sync()));
        drop(clear);
    }
    (digest, result)
}

fn write_and_prove(work: &Work<'_>, target: &mut dyn Target, digest: &mut Option<Digest>) -> Result<(), Failure> {
    let mut drive = OneDrive { work, target };
    work.status.stage(Stage::Clearing);
    drive.clear()?;
    drive.write_probes()?;
    work.status.stage(Stage::Writing);
    let head = drive.write_image()?;
    drive.sync()?;
    for piece in head {
        drive.write(&piece)?;
    }
    drive.sync()?;
    work.status.stage(Stage::ReadingBack);
    drive.check_probes("after the image was written")?; // first: it says why the image would not be there either
    *digest = Some(drive.read_back()?);
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
}

impl OneDrive<'_, '_> {
    /// Does one thing with the drive while the watchdog looks on; says what and where when that fails.
    fn ask(&mut self, what: &'static str, at: u64, ask: impl FnOnce(&mut dyn Target) -> io::Result<()>) -> Result<(), Failure> {
        if self.work.status.is_abandoned() {
            return Err(Failure::new(Reason::Timeout, "it was given up before"));
        }
        let done = self.work.status.during(what, || ask(self.target));
        done.map_err(|error| {
            let reason = if self.target.is_gone() { Reason::Pulled } else { Reason::of(&error) };
            Failure::new(reason, explain(reason, what, at, &error))
        })
    }

    fn sync(&mut self) -> Result<(), Failure> {
        self.ask("finish writing", 0, |target| target.sync())
    }

    fn zero(&mut self, range: Range<u64>) -> Result<(), Failure> {
        let discard = self.work.discard;
        for part in steps(range, ZERO_STEP) {
            self.ask("clear", part.start, |target| target.zero(part.clone(), discard))?;
        }
        Ok(())
    }

    fn forget(&mut self, range: Range<u64>) -> Result<(), Failure> {
        let mut listens = self.work.discard == Discard::Allowed;
        for part in steps(range, FORGET_STEP) {
            if !listens {
                break;
            }
            self.ask("discard", part.start, |target| {
                listens = target.forget(part.clone());
                Ok(())
            })?;
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
        Ok(())
    }

    /// Writes all pieces but those of the head, which are returned.
    fn write_image(&mut self) -> Result<Vec<Piece>, Failure> {
        let mut head = Vec::new();
        loop {
            match self.work.lane.next() {
                Step::Piece(piece) => self.write_or_keep(piece, &mut head)?,
                Step::End => {
                    self.work.proof.check()?; // it also ends where the image cannot be read on
                    break;
                }
                Step::OnItsOwn(from) => {
                    let work = self.work;
                    let mut reader = Reader::open(&work.job.image, work.pieces, work.pool, from)?;
                    while let Some(piece) = reader.next()? {
                        self.write_or_keep(piece, &mut head)?;
                    }
                    break;
                }
            }
        }
        Ok(head)
    }

    fn write_or_keep(&mut self, piece: Piece, head: &mut Vec<Piece>) -> Result<(), Failure> {
        if piece.offset < HEAD_BYTES {
            head.push(piece);
            return Ok(());
        }
        self.write(&piece)
    }

    /// Reads back every piece and compares; hashing goes on while the next piece is read.
    fn read_back(&mut self) -> Result<Digest, Failure> {
        let work = self.work;
        thread::scope(|scope| {
            let (send, receive) = sync_channel::<Buffer>(READ_AHEAD);
            let compare = scope.spawn(move || {
                let mut comparison = Comparison::new(work.proof)?;
                for (piece, bytes) in work.pieces.iter().zip(receive) {
                    if !comparison.take(&bytes)? {
                        return Err(differs(piece));
                    }
                    work.status.compared(bytes.len() as u64);
                }
                Ok(comparison.finish())
            });
            let read = self.read_pieces(|bytes| send.send(bytes).is_ok());
            drop(send);
            let compared = compare.join().expect("comparing ends in an error, not in a panic");
            read.and(compared)
        })
    }

    fn read_pieces(&mut self, mut take: impl FnMut(Buffer) -> bool) -> Result<(), Failure> {
        let work = self.work;
        for piece in work.pieces {
            let mut bytes = work.pool.take(usize::try_from(piece.end - piece.start).expect("a piece fits a buffer"));
            self.ask("read back", piece.start, |target| target.read_at(piece.start, &mut bytes))?;
            if !take(bytes) {
                break; // a difference was found; there is no need to read on
            }
        }
        Ok(())
    }
}

/// A range in parts of this length.
fn steps(range: Range<u64>, step: u64) -> impl Iterator<Item = Range<u64>> {
    let next = move |at: &u64| Some(at + step).filter(|next| *next < range.end);
    std::iter::successors(Some(range.start).filter(|start| *start < range.end), next).map(move |at| at..range.end.min(at + step))
}

fn differs(piece: &Range<u64>) -> Failure {
    let text =
        format!("what was read back at bytes {} to {} is not what was written; throw the drive away", piece.start, piece.end);
    Failure::new(Reason::Mismatch, text)
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
        | Reason::Io => "flash it again",
    };
    format!("cannot {what}{place}: {error}; {advice}")
}
