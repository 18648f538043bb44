//! Streams through gzip and zstd. The same bytes come out whenever and wherever: no name and no time is in them, and the number of threads does not matter.

use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::parallel;

/// What an image holds is compressed already, so slow levels win nothing.
const ZSTD_LEVEL: i32 = 6;
const GZIP_LEVEL: u32 = 6;
/// Each frame holds this much, so that a reader can begin at any of them.
const FRAME_BYTES: u64 = 4 << 20;
/// Frames compressed side by side: what is in memory at once.
const FRAMES_AT_ONCE: usize = 8;

/// Compresses everything in `from` into plain zstd frames with checksums.
pub(super) fn zstd(from: &mut dyn Read, to: &mut dyn Write) -> io::Result<()> {
    loop {
        let mut parts = Vec::new();
        while parts.len() < FRAMES_AT_ONCE {
            let mut part = Vec::new();
            (&mut *from).take(FRAME_BYTES).read_to_end(&mut part)?;
            if part.is_empty() {
                break;
            }
            parts.push(part);
        }
        if parts.is_empty() {
            return Ok(());
        }
        for frame in parallel::map(&parts, |part| zstd_frame(part))? {
            to.write_all(&frame)?;
        }
    }
}

fn zstd_frame(part: &[u8]) -> io::Result<Vec<u8>> {
    let mut compressor = zstd::bulk::Compressor::new(ZSTD_LEVEL)?;
    compressor.include_checksum(true)?;
    compressor.compress(part)
}

/// Compresses everything in `from` into one gzip member.
pub(super) fn gzip(from: &mut dyn Read, to: &mut dyn Write) -> io::Result<()> {
    let mut encoder = GzEncoder::new(to, Compression::new(GZIP_LEVEL));
    io::copy(from, &mut encoder)?;
    encoder.finish().map(drop)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::oracle;

    type Compress = fn(&mut dyn Read, &mut dyn Write) -> io::Result<()>;

    fn content() -> Vec<u8> {
        let mut bytes = vec![0; 9 << 20];
        bytes[5 << 20..][..3 << 20].iter_mut().enumerate().for_each(|(n, byte)| *byte = (n * n / 7) as u8);
        bytes
    }

    #[test]
    fn the_usual_tools_read_it_and_the_bytes_repeat() {
        for (compress, tool) in [(zstd as Compress, "zstd"), (gzip, "gzip")] {
            let (mut one, mut other) = (Vec::new(), Vec::new());
            compress(&mut content().as_slice(), &mut one).expect("compressed");
            compress(&mut content().as_slice(), &mut other).expect("compressed");
            assert!(one == other && one.len() < 4 << 20, "{tool}");
            let Some(output) = oracle::ask_about(Command::new(tool).arg("-dc"), &one) else { return };
            assert!(output.status.success() && output.stdout == content(), "{tool}");
        }
    }

    #[test]
    fn gzip_tells_neither_name_nor_time() {
        let mut bytes = Vec::new();
        gzip(&mut b"x".as_slice(), &mut bytes).expect("compressed");
        assert_eq!(bytes[..8], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn nothing_becomes_nothing() {
        let mut bytes = Vec::new();
        zstd(&mut io::empty(), &mut bytes).expect("compressed");
        assert!(bytes.is_empty());
    }
}
