//! Reads a drive back and compares it with the image, in one of two ways that prove the same.
//!
//! *Against the image's file*, byte by byte: for a raw image, when all that was written came from the common stream. Threads take turns, so that the
//! drive reads while the last piece is compared. The drive's digest is not computed once more then: it holds the image's bytes where the image has
//! any, so its digest is the image's, which the reader computed from the very bytes that were written.
//!
//! *By their SHA-256*, piece by piece against the reader's: for a compressed image, which would have to be unpacked again; for a drive that read the image by
//! itself, whose bytes the reader did not hash; and when the image's file was written to meanwhile, so that it proves nothing.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::buffer::Buffer;
use super::drive::{Work, failed};
use super::image::Encoding;
use super::outcome::{Failure, Reason, guarded};
use super::proof::Comparison;
use super::source;
use super::status::Patience;
use super::target::Target;
use crate::image::digest::Digest;

/// Pieces that wait to be hashed while the next one is read back.
const READ_AHEAD: usize = 2;
/// Threads that read and compare by turns: while one compares, another one's request is on its way to the drive and a third one's is being served.
const READERS: usize = 3;

/// Where the bytes on a drive came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// All from the common stream, whose bytes the reader hashes.
    Stream,
    /// Some were read for this drive alone.
    OwnReading,
}

/// Reads every piece back and compares it. The digest is that of the image as the drive gave it back, holes as zeros.
pub(super) fn read_back(work: &Work<'_>, target: &dyn Target, origin: Origin) -> Result<Digest, Failure> {
    let image = &work.job.image;
    if image.encoding == Encoding::Raw && origin == Origin::Stream {
        let compared = against_file(work, target)?;
        if image.is_unchanged() {
            return compared.and_then(|()| work.proof.whole());
        }
        work.status.compare_anew();
    }
    by_digest(work, target)
}

/// The first difference by the order of pieces, if there is one; an error when that cannot be told.
fn against_file(work: &Work<'_>, target: &dyn Target) -> Result<Result<(), Failure>, Failure> {
    let next = AtomicUsize::new(0);
    let first: Mutex<Option<(usize, Found)>> = Mutex::new(None);
    let read = || {
        let mut scratch = source::scratch();
        while let Some((index, found)) = compare_next(work, target, &next, &mut scratch) {
            if let Err(found) = found {
                next.store(work.pieces.len(), Ordering::Relaxed); // there is no need to read on
                let mut first = first.lock().unwrap_or_else(PoisonError::into_inner);
                if first.as_ref().is_none_or(|(earlier, _)| index < *earlier) {
                    *first = Some((index, found));
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..READERS.min(work.pieces.len()) {
            scope.spawn(read);
        }
        read();
    });
    match first.into_inner().unwrap_or_else(PoisonError::into_inner) {
        None => Ok(Ok(())),
        Some((_, Found::Difference(failure))) => Ok(Err(failure)),
        Some((_, Found::Trouble(failure))) => Err(failure),
    }
}

/// Why a piece is not proved.
enum Found {
    /// The drive gave other bytes than the file has.
    Difference(Failure),
    /// One of the two cannot be read.
    Trouble(Failure),
}

/// Compares the piece whose turn it is; none: all have had theirs.
fn compare_next(
    work: &Work<'_>,
    target: &dyn Target,
    next: &AtomicUsize,
    scratch: &mut [u8],
) -> Option<(usize, Result<(), Found>)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    let piece = work.pieces.get(index)?;
    let compare = || {
        let bytes = read_piece(work, target, index)?;
        let same = source::has(&work.job.image, piece.start, &bytes, scratch)?;
        work.status.compared(bytes.len() as u64);
        Ok(same)
    };
    let found = match guarded(compare) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Found::Difference(differs(work, index))),
        Err(failure) => Err(Found::Trouble(failure)),
    };
    Some((index, found))
}

/// Reads back one piece after the other; hashing goes on while the next one is read.
fn by_digest(work: &Work<'_>, target: &dyn Target) -> Result<Digest, Failure> {
    thread::scope(|scope| {
        let (send, receive) = sync_channel::<Buffer>(READ_AHEAD);
        let compare = scope.spawn(move || {
            let mut comparison = Comparison::new(work.proof)?;
            for (index, bytes) in receive.iter().enumerate() {
                if !comparison.take(&bytes)? {
                    return Err(differs(work, index));
                }
                work.status.compared(bytes.len() as u64);
            }
            Ok(comparison.finish())
        });
        let read = (0..work.pieces.len()).try_for_each(|index| {
            let sent = send.send(read_piece(work, target, index)?);
            sent.map_err(|_| differs(work, index)) // a difference was found; there is no need to read on
        });
        drop(send);
        let compared = compare.join().expect("comparing ends in an error, not in a panic");
        compared.and_then(|digest| read.map(|()| digest))
    })
}

fn read_piece(work: &Work<'_>, target: &dyn Target, index: usize) -> Result<Buffer, Failure> {
    let piece = &work.pieces[index];
    work.check()?;
    let mut bytes = work.pool.take(usize::try_from(piece.end - piece.start).expect("a piece fits a buffer"));
    let read = work.status.during("read back", Patience::Once, || target.read_at(piece.start, &mut bytes));
    read.map_err(|error| failed(target, "read back", piece.start, &error))?;
    Ok(bytes)
}

fn differs(work: &Work<'_>, index: usize) -> Failure {
    let piece = &work.pieces[index];
    let text =
        format!("what was read back at bytes {} to {} is not what was written; throw the drive away", piece.start, piece.end);
    Failure::new(Reason::Mismatch, text)
}
