//! What the image's bytes hash to, piece by piece: the measure that each drive's read-back is held against.
//!
//! One SHA-256 runs over the whole image, holes as zeros. After each piece its digest so far is kept, and its state after the zeros that follow. A drive that
//! reads back the same bytes has the same state, so it takes over the state behind the hole instead of hashing the zeros again. Its digest is that of
//! the whole image, at the price of the mapped bytes. Judges nothing but equality.

use std::ops::Range;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::outcome::Failure;
use crate::image::digest::{Digest, Hasher};

static ZEROS: [u8; 1 << 16] = [0; 1 << 16];

/// Hashes zeros.
pub(super) fn update_zeros(hasher: &mut Hasher, mut bytes: u64) {
    while bytes > 0 {
        let count = bytes.min(ZEROS.len() as u64);
        hasher.update(&ZEROS[..usize::try_from(count).expect("at most the length of an array")]);
        bytes -= count;
    }
}

/// The state after a piece.
#[derive(Debug, Clone)]
struct Mark {
    /// Digest of everything up to the end of the piece.
    until: Digest,
    /// The hash, with the zeros behind the piece in it.
    beyond: Hasher,
}

#[derive(Debug, Default)]
struct Known {
    before: Option<Hasher>,
    marks: Vec<Mark>,
    digest: Option<Digest>,
    verdict: Option<Result<(), Failure>>,
}

/// The marks of one image, as the reader makes them and drives ask for them.
#[derive(Debug, Default)]
pub(super) struct Proof {
    known: Mutex<Known>,
    changed: Condvar,
}

impl Proof {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Known)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// What holds after waiting for it; the verdict's failure when the reader gave up before.
    fn wait<T>(&self, find: impl Fn(&Known) -> Option<T>) -> Result<T, Failure> {
        let mut known = self.lock();
        loop {
            if let Some(found) = find(&known) {
                return Ok(found);
            }
            if let Some(Err(failure)) = &known.verdict {
                return Err(failure.clone());
            }
            known = self.changed.wait(known).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whether the image is the right one, once it was read whole.
    pub(super) fn verdict(&self) -> Result<(), Failure> {
        self.wait(|known| known.verdict.clone()?.ok())
    }

    /// The same as far as it is known now.
    pub(super) fn check(&self) -> Result<(), Failure> {
        self.lock().verdict.clone().unwrap_or(Ok(()))
    }

    /// The image's digest once it was read whole, right or wrong; the verdict's failure when it could not be.
    pub(super) fn whole(&self) -> Result<Digest, Failure> {
        self.wait(|known| known.digest)
    }

    /// The image's digest, if it was read whole, right or wrong.
    pub(super) fn digest(&self) -> Option<Digest> {
        self.lock().digest
    }

    /// The reader's judgement of the image.
    pub(super) fn judge(&self, verdict: Result<(), Failure>) {
        self.change(|known| known.verdict = Some(verdict));
    }
}

/// The reader's side: takes the pieces in order.
#[derive(Debug)]
pub(super) struct Measure<'a> {
    proof: &'a Proof,
    pieces: &'a [Range<u64>],
    bytes: u64,
    taken: usize,
    hasher: Hasher,
}

impl<'a> Measure<'a> {
    /// Begins an image of `bytes` bytes with these pieces.
    pub(super) fn new(proof: &'a Proof, pieces: &'a [Range<u64>], bytes: u64) -> Self {
        let mut hasher = Hasher::new();
        update_zeros(&mut hasher, pieces.first().map_or(bytes, |first| first.start));
        proof.change(|known| known.before = Some(hasher.clone()));
        Self { proof, pieces, bytes, taken: 0, hasher }
    }

    /// Takes the next piece.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        let until = self.hasher.clone().finish();
        let end = self.pieces[self.taken].end;
        self.taken += 1;
        let next = self.pieces.get(self.taken).map_or(self.bytes, |piece| piece.start);
        update_zeros(&mut self.hasher, next - end);
        self.proof.change(|known| known.marks.push(Mark { until, beyond: self.hasher.clone() }));
    }

    /// The digest of the whole image.
    pub(super) fn finish(self) -> Digest {
        let digest = self.hasher.finish();
        self.proof.change(|known| known.digest = Some(digest));
        digest
    }
}

/// A drive's side: what was read back, piece by piece.
#[derive(Debug)]
pub(super) struct Comparison<'a> {
    proof: &'a Proof,
    taken: usize,
    hasher: Hasher,
}

impl<'a> Comparison<'a> {
    /// Begins.
    pub(super) fn new(proof: &'a Proof) -> Result<Self, Failure> {
        let hasher = proof.wait(|known| known.before.clone())?;
        Ok(Self { proof, taken: 0, hasher })
    }

    /// Takes the next piece as read back; false: it is not what the image has.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<bool, Failure> {
        let index = self.taken;
        self.hasher.update(bytes); // before waiting: the reader hashes at the same time
        let mark = self.proof.wait(|known| known.marks.get(index).cloned())?;
        let same = std::mem::take(&mut self.hasher).finish() == mark.until;
        self.hasher = mark.beyond;
        self.taken += 1;
        Ok(same)
    }

    /// The digest of the whole, when every piece was the same.
    pub(super) fn finish(self) -> Digest {
        self.hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::outcome::Reason;
    use super::*;

    fn image() -> (Vec<u8>, Vec<Range<u64>>) {
        let mut bytes = vec![0; 300_000];
        let pieces = vec![4096..8192, 8192..100_000, 150_000..150_001];
        for piece in &pieces {
            (piece.start..piece.end).for_each(|at| bytes[usize::try_from(at).expect("small")] = (at % 251) as u8);
        }
        (bytes, pieces)
    }

    fn slice<'a>(bytes: &'a [u8], piece: &Range<u64>) -> &'a [u8] {
        &bytes[usize::try_from(piece.start).expect("small")..usize::try_from(piece.end).expect("small")]
    }

    fn measured(proof: &Proof, bytes: &[u8], pieces: &[Range<u64>]) -> Digest {
        let mut measure = Measure::new(proof, pieces, bytes.len() as u64);
        pieces.iter().for_each(|piece| measure.take(slice(bytes, piece)));
        measure.finish()
    }

    #[test]
    fn both_digests_are_that_of_the_whole_image() {
        let (bytes, pieces) = image();
        for pieces in [pieces, vec![]] {
            let bytes = if pieces.is_empty() { vec![0; 70_000] } else { bytes.clone() };
            let proof = Proof::default();
            assert_eq!(measured(&proof, &bytes, &pieces), Digest::of(&bytes));
            let mut back = Comparison::new(&proof).expect("begun");
            for piece in &pieces {
                assert!(back.take(slice(&bytes, piece)).expect("compared"), "{piece:?}");
            }
            assert_eq!(back.finish(), Digest::of(&bytes));
        }
    }

    #[test]
    fn a_flipped_bit_is_found_in_its_piece() {
        let (bytes, pieces) = image();
        let proof = Proof::default();
        measured(&proof, &bytes, &pieces);
        for (wrong, piece) in pieces.iter().enumerate() {
            let mut read = bytes.clone();
            read[usize::try_from(piece.end - 1).expect("small")] ^= 0x80;
            let mut back = Comparison::new(&proof).expect("begun");
            let same: Vec<bool> = pieces.iter().map(|piece| back.take(slice(&read, piece)).expect("compared")).collect();
            assert_eq!(same, (0..pieces.len()).map(|index| index != wrong).collect::<Vec<_>>());
        }
    }

    #[test]
    fn who_waits_for_a_reader_that_gave_up_learns_why() {
        let proof = Proof::default();
        proof.judge(Err(Failure::new(Reason::Image, "cannot read it")));
        assert_eq!(Comparison::new(&proof).expect_err("no image").reason, Reason::Image);
        assert_eq!(proof.verdict().expect_err("no image").reason, Reason::Image);
        assert_eq!(proof.digest(), None);
    }
}
