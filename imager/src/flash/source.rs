//! Reads an image piece by piece, from its beginning or from any piece on. What lies between the pieces must be zeros, or the map is not the image's.

use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::buffer::{BUFFER_BYTES, Buffer, Pool};
use super::image::{Encoding, Image, Of};
use super::outcome::{Failure, Reason};
use crate::image::digest::{Digest, Hasher};

/// Bytes of the image and where they belong. Shared by all drives.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    /// Offset in the image.
    pub(super) offset: u64,
    /// What belongs there.
    pub(super) bytes: Arc<Buffer>,
}

/// Where bytes come from.
enum Bytes<'a> {
    /// From anywhere in a file.
    Raw,
    /// One after the other.
    Packed(Box<dyn Read + Send + 'a>),
}

/// Reads pieces in order.
pub(super) struct Reader<'a> {
    image: &'a Image,
    pieces: &'a [Range<u64>],
    pool: Pool,
    bytes: Bytes<'a>,
    next: usize,
    /// What lies before is read or was passed over.
    at: u64,
}

impl<'a> Reader<'a> {
    /// Begins at the piece of number `from`.
    pub(super) fn open(image: &'a Image, pieces: &'a [Range<u64>], pool: &Pool, from: usize) -> Result<Self, Failure> {
        let bytes = match image.encoding {
            Encoding::Raw => Bytes::Raw,
            Encoding::Zstd | Encoding::Gzip => Bytes::Packed(image.unpack().map_err(|error| unreadable(image, 0, &error))?),
        };
        let mut reader = Self { image, pieces, pool: pool.clone(), bytes, next: 0, at: 0 };
        match reader.bytes {
            Bytes::Raw => reader.pass_over(from),
            Bytes::Packed(_) => while reader.next < from && reader.next()?.is_some() {},
        }
        Ok(reader)
    }

    fn pass_over(&mut self, pieces: usize) {
        self.next = pieces;
        self.at = pieces.checked_sub(1).and_then(|last| self.pieces.get(last)).map_or(0, |last| last.end);
    }

    /// The next piece. After the last one, the rest of the image was looked at too.
    pub(super) fn next(&mut self) -> Result<Option<Piece>, Failure> {
        let Some(piece) = self.pieces.get(self.next).cloned() else {
            self.check_zeros(self.image.bytes)?;
            return Ok(None);
        };
        self.check_zeros(piece.start)?;
        let length = usize::try_from(piece.end - piece.start).expect("a piece fits a buffer");
        let mut buffer = self.pool.take(length);
        self.fill(piece.start, &mut buffer)?;
        self.next += 1;
        self.at = piece.end;
        Ok(Some(Piece { offset: piece.start, bytes: Arc::new(buffer) }))
    }

    fn fill(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), Failure> {
        let filled = match &mut self.bytes {
            Bytes::Raw => self.image.file().read_exact_at(buffer, offset),
            Bytes::Packed(stream) => stream.read_exact(buffer),
        };
        filled.map_err(|error| unreadable(self.image, offset, &error))
    }

    /// Looks at what lies between the last piece and `end`.
    fn check_zeros(&mut self, end: u64) -> Result<(), Failure> {
        let gap = self.at..end;
        let parts: Vec<Range<u64>> = match self.bytes {
            Bytes::Raw => self.image.stray.iter().filter(|stray| gap.contains(&stray.start)).cloned().collect(),
            Bytes::Packed(_) => vec![gap],
        };
        let mut buffer = self.pool.take(BUFFER_BYTES);
        for part in parts {
            let mut at = part.start;
            while at < part.end {
                let length = usize::try_from(part.end - at).unwrap_or(BUFFER_BYTES).min(BUFFER_BYTES);
                self.fill(at, &mut buffer[..length])?;
                if let Some(place) = buffer[..length].iter().position(|byte| *byte != 0) {
                    return Err(unmapped(self.image, at + place as u64));
                }
                at += length as u64;
            }
        }
        self.at = end;
        Ok(())
    }

    /// After the last piece: nothing may follow what the block map describes.
    pub(super) fn check_end(&mut self) -> Result<(), Failure> {
        let more = match &mut self.bytes {
            Bytes::Raw => 0,
            Bytes::Packed(stream) => stream.read(&mut [0]).map_err(|error| unreadable(self.image, self.image.bytes, &error))?,
        };
        match more {
            0 => Ok(()),
            _ => {
                let (path, bytes) = (self.image.path.display(), self.image.bytes);
                let text = format!("{path} holds more than the {bytes} bytes of its block map; use the map that belongs to it");
                Err(Failure::new(Reason::WrongHash, text))
            }
        }
    }
}

/// Bytes compared at once: they stay in a core's own cache between being read and being compared.
const COMPARED_BYTES: usize = 256 << 10;

/// Room for [`has`] to read to.
pub(super) fn scratch() -> Vec<u8> {
    vec![0; COMPARED_BYTES]
}

/// Whether a raw image's file has these bytes at this place. `scratch` is what [`scratch`] made.
pub(super) fn has(image: &Image, offset: u64, bytes: &[u8], scratch: &mut [u8]) -> Result<bool, Failure> {
    let mut at = offset;
    for part in bytes.chunks(COMPARED_BYTES) {
        let found = &mut scratch[..part.len()];
        image.file().read_exact_at(found, at).map_err(|error| unreadable(image, at, &error))?;
        if found != part {
            return Ok(false);
        }
        at += part.len() as u64;
    }
    Ok(true)
}

fn unreadable(image: &Image, offset: u64, error: &io::Error) -> Failure {
    Failure::new(Reason::Image, format!("cannot read {} at byte {offset}: {error}; copy the image again", image.path.display()))
}

fn unmapped(image: &Image, offset: u64) -> Failure {
    let path = image.path.display();
    let text = format!("{path} has data at byte {offset}, where its block map has none; use the map that belongs to it");
    Failure::new(Reason::WrongHash, text)
}

/// Compares what was read with what the image's claims say.
#[derive(Debug)]
pub(super) struct Claims<'a> {
    image: &'a Image,
    range: usize,
    hasher: Hasher,
}

impl<'a> Claims<'a> {
    pub(super) fn new(image: &'a Image) -> Self {
        Self { image, range: 0, hasher: Hasher::new() }
    }

    /// Takes the next piece: each part of it belongs to a range, or lies between two and must be zeros.
    pub(super) fn take(&mut self, piece: &Piece) -> Result<(), Failure> {
        let mut at = piece.offset;
        let end = piece.offset + piece.bytes.len() as u64;
        while at < end {
            let part = match self.image.mapped.get(self.range) {
                Some(range) if at < range.start => at..end.min(range.start),
                Some(range) => at..end.min(range.end),
                None => at..end,
            };
            let of_piece = |place: u64| usize::try_from(place - piece.offset).expect("a piece fits a buffer");
            self.take_part(at, &piece.bytes[of_piece(part.start)..of_piece(part.end)])?;
            at = part.end;
        }
        Ok(())
    }

    fn take_part(&mut self, at: u64, bytes: &[u8]) -> Result<(), Failure> {
        let image = self.image;
        let Some(range) = image.mapped.get(self.range).filter(|range| range.contains(&at)) else {
            let place = bytes.iter().position(|byte| *byte != 0);
            return place.map_or(Ok(()), |place| Err(unmapped(image, at + place as u64)));
        };
        let expected = image.range_sums.get(self.range);
        if expected.is_some() {
            self.hasher.update(bytes);
        }
        if range.end > at + bytes.len() as u64 {
            return Ok(());
        }
        self.range += 1;
        let found = std::mem::take(&mut self.hasher).finish();
        match expected {
            Some(expected) if found != *expected => {
                Err(self.wrong(&format!("bytes {} to {} have", range.start, range.end), found, expected, "its block map"))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Judges the whole, whose content hashes to `content`.
    pub(super) fn finish(self, content: Digest) -> Result<(), Failure> {
        for claim in &self.image.claims {
            let found = match claim.of {
                Of::Content => content,
                Of::File => self.file_digest()?,
            };
            if found != claim.sha256 {
                return Err(self.wrong("it has", found, &claim.sha256, &claim.by.display().to_string()));
            }
        }
        Ok(())
    }

    fn file_digest(&self) -> Result<Digest, Failure> {
        let mut hasher = Hasher::new();
        let copied = self.image.whole_file().and_then(|mut file| io::copy(&mut file, &mut hasher));
        copied.map_err(|error| unreadable(self.image, 0, &error))?;
        Ok(hasher.finish())
    }

    fn wrong(&self, what: &str, found: Digest, expected: &Digest, by: &str) -> Failure {
        let path = self.image.path.display();
        let text = format!("{path} is not the image it should be: {what} SHA-256 {found}, {by} says {expected}; copy it again");
        Failure::new(Reason::WrongHash, text)
    }
}
