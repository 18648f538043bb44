//! The only unsafe code of this crate: ioctls that rustix has no safe form for.
//!
//! Each function checks its arguments in its type and nothing else; deciding is done by the callers.

#![allow(unsafe_code, reason = "this is the crate's one sys.rs; each block says why it is sound")]

use std::ffi::c_int;
use std::io;
use std::ops::Range;
use std::os::fd::AsFd;

use rustix::ioctl::{Getter, Setter, ioctl};

/// `BLKDISCARD`, linux/fs.h.
const BLKDISCARD: rustix::ioctl::Opcode = 0x1277;
/// `SIOCOUTQ`, linux/sockios.h.
const SIOCOUTQ: rustix::ioctl::Opcode = 0x5411;

/// Tells a disk that nobody needs the bytes in a range. What they read as then is not defined.
///
/// # Errors
/// When it is no disk, or one that cannot do that.
pub(crate) fn discard(disk: impl AsFd, range: Range<u64>) -> io::Result<()> {
    let place = [range.start, range.end.saturating_sub(range.start)];
    // SAFETY: BLKDISCARD reads two 64-bit numbers, offset and length, from the pointer it is given, which is to `place`; it changes no memory of ours.
    Ok(unsafe { ioctl(disk, Setter::<BLKDISCARD, [u64; 2]>::new(place)) }?)
}

/// Bytes that a TCP connection took over and the other side has not acknowledged; its end counts as one.
///
/// # Errors
/// When it is no connection.
pub(crate) fn unacknowledged(connection: impl AsFd) -> io::Result<u64> {
    // SAFETY: SIOCOUTQ writes one int to the pointer it is given and reads nothing; `Getter` gives it room for one, and does not use it when the call fails.
    let bytes = unsafe { ioctl(connection, Getter::<SIOCOUTQ, c_int>::new()) }?;
    u64::try_from(bytes).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_disk_cannot_be_discarded() {
        let file = tempfile::tempfile().expect("temp file");
        discard(&file, 0..4096).expect_err("a file is no disk");
    }
}
