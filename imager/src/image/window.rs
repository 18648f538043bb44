//! A part of a file, such as a partition of an image, as something to read and seek in. Nothing is written through it.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

use machine_config::ram_form::Extent;

/// A part of a file, seen as a file of its own: reading and seeking stay inside.
#[derive(Debug)]
pub struct Window<'a> {
    file: &'a File,
    offset: u64,
    bytes: u64,
    position: u64,
}

impl<'a> Window<'a> {
    /// `bytes` bytes of `file` from `offset`.
    pub fn new(file: &'a File, offset: u64, bytes: u64) -> Self {
        Self { file, offset, bytes, position: 0 }
    }

    /// The file, and where in it this part lies.
    pub(crate) fn place(&self) -> (&'a File, Extent) {
        (self.file, Extent { offset: self.offset, bytes: self.bytes })
    }
}

impl Read for Window<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.bytes.saturating_sub(self.position);
        let wanted = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let count = self.file.read_at(&mut buffer[..wanted], self.offset + self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for Window<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = seek(self.position, self.bytes, to)?;
        Ok(self.position)
    }
}

/// Where a seek leads in something `bytes` bytes long; before its beginning is an error.
pub(super) fn seek(position: u64, bytes: u64, to: SeekFrom) -> io::Result<u64> {
    let target = match to {
        SeekFrom::Start(offset) => Some(offset),
        SeekFrom::End(offset) => bytes.checked_add_signed(offset),
        SeekFrom::Current(offset) => position.checked_add_signed(offset),
    };
    target.ok_or(io::Error::from(ErrorKind::InvalidInput))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_stays_inside() {
        let file = tempfile::tempfile().expect("temp file");
        file.write_all_at(b"0123456789", 0).expect("written");
        let mut window = Window::new(&file, 3, 4);
        let mut text = String::new();
        window.read_to_string(&mut text).expect("read");
        assert_eq!(text, "3456");
        window.seek(SeekFrom::End(-1)).expect("sought");
        assert_eq!(window.read(&mut [0; 8]).expect("read"), 1);
        assert!(window.seek(SeekFrom::Current(-9)).is_err());
    }
}
