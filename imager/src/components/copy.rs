//! Copying between a reader and a writer that fail for different reasons: a broken download is not a full disk.

use std::io::{self, ErrorKind, Read, Write};

/// Bytes copied at once.
const PIECE: usize = 64 << 10;

/// Which side of a copy failed.
#[derive(Debug)]
pub(super) enum CopyError {
    /// Reading.
    Read(io::Error),
    /// Writing.
    Write(io::Error),
    /// There is more to read than there may be.
    Long,
}

/// Copies everything, but no more than `limit` bytes; `done` hears how far it came.
pub(super) fn copy(from: &mut dyn Read, to: &mut dyn Write, limit: u64, mut done: impl FnMut(u64)) -> Result<(), CopyError> {
    let mut buffer = vec![0; PIECE];
    let mut total = 0;
    loop {
        let length = match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(CopyError::Read(error)),
        };
        total += length as u64;
        if total > limit {
            return Err(CopyError::Long);
        }
        to.write_all(&buffer[..length]).map_err(CopyError::Write)?;
        done(total);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_side_s_failure_is_told_apart() {
        let mut nothing = io::empty();
        let mut full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("opened");
        assert!(matches!(copy(&mut [1u8; 9].as_slice(), &mut full, 9, |_| ()), Err(CopyError::Write(_))));
        assert!(matches!(copy(&mut [1u8; 9].as_slice(), &mut nothing, 8, |_| ()), Err(CopyError::Long)));
        let mut folder = std::fs::File::open("/").expect("opened");
        assert!(matches!(copy(&mut folder, &mut nothing, 8, |_| ()), Err(CopyError::Read(_))));
        let mut out = Vec::new();
        copy(&mut [1u8; 9].as_slice(), &mut out, 9, |_| ()).expect("copied");
        assert_eq!(out.len(), 9);
    }
}
