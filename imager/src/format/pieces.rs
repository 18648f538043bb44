//! A file as a list of its pieces, each made in memory or taken from the disk image: planned whole, read once, never held whole in memory.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// One piece.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    /// Made in memory.
    Bytes(Arc<[u8]>),
    /// So many zeros.
    Zeros(u64),
    /// From the disk image: from where to where.
    Image(Range<u64>),
}

impl Piece {
    fn bytes(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Zeros(bytes) => *bytes,
            Self::Image(range) => range.end - range.start,
        }
    }
}

/// Pieces that follow each other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Pieces {
    list: Vec<Piece>,
    bytes: u64,
}

impl Pieces {
    /// None yet.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Length of all pieces.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn push(&mut self, piece: Piece) {
        let bytes = piece.bytes();
        if bytes > 0 {
            self.bytes += bytes;
            self.list.push(piece);
        }
    }

    /// Adds bytes.
    pub(super) fn add(&mut self, bytes: impl Into<Arc<[u8]>>) {
        self.push(Piece::Bytes(bytes.into()));
    }

    /// Adds zeros.
    pub(super) fn add_zeros(&mut self, bytes: u64) {
        self.push(Piece::Zeros(bytes));
    }

    /// Adds a part of the disk image.
    pub(super) fn add_image(&mut self, range: Range<u64>) {
        self.push(Piece::Image(range));
    }

    /// Adds zeros until the length is a multiple of `unit`.
    pub(super) fn pad(&mut self, unit: u64) {
        self.add_zeros(self.bytes.next_multiple_of(unit) - self.bytes);
    }

    /// Adds zeros until the length is `bytes`, which it must not have passed.
    pub(super) fn pad_to(&mut self, bytes: u64) {
        debug_assert!(self.bytes <= bytes, "{} bytes are more than {bytes}", self.bytes);
        self.add_zeros(bytes.saturating_sub(self.bytes));
    }

    /// Adds all pieces of another list.
    pub(super) fn append(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.list.extend(other.list);
    }

    /// Reads the pieces one after the other; `image` is the disk image.
    pub(super) fn reader<'a>(&'a self, image: &'a File) -> Reader<'a> {
        Reader { list: &self.list, image, done: 0 }
    }
}

/// What reads [`Pieces`].
#[derive(Debug)]
pub(super) struct Reader<'a> {
    list: &'a [Piece],
    image: &'a File,
    /// Bytes read of the first piece.
    done: u64,
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(piece) = self.list.first() else { return Ok(0) };
        let left = piece.bytes() - self.done;
        let count = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let buffer = &mut buffer[..count];
        match piece {
            Piece::Bytes(bytes) => buffer.copy_from_slice(&bytes[self.done as usize..][..count]),
            Piece::Zeros(_) => buffer.fill(0),
            Piece::Image(range) => self.image.read_exact_at(buffer, range.start + self.done)?,
        }
        self.done += count as u64;
        if self.done == piece.bytes() {
            (self.list, self.done) = (&self.list[1..], 0);
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_read_in_their_order_and_to_their_length() {
        let image = tempfile::tempfile().expect("temp file");
        image.write_all_at(b"0123456789", 0).expect("written");
        let mut pieces = Pieces::new();
        pieces.add(b"ab".as_slice());
        pieces.add_image(3..6);
        pieces.add_image(3..3);
        pieces.pad(4);
        let mut other = Pieces::new();
        other.add(b"end".as_slice());
        pieces.append(other);
        pieces.pad_to(12);
        let mut read = Vec::new();
        pieces.reader(&image).read_to_end(&mut read).expect("read");
        assert_eq!(read, b"ab345\0\0\0end\0");
        assert_eq!(pieces.bytes(), 12);
    }

    #[test]
    fn an_image_that_became_shorter_is_an_error_not_zeros() {
        let image = tempfile::tempfile().expect("temp file");
        let mut pieces = Pieces::new();
        pieces.add_image(0..1);
        assert!(pieces.reader(&image).read_to_end(&mut Vec::new()).is_err());
    }
}
