//! The only unsafe code of this crate: what rustix has no safe form for.
//!
//! Each function checks its arguments in its type and nothing else; deciding is done by the callers.

#![allow(unsafe_code, reason = "this is the crate's one sys.rs; each block says why it is sound")]

use std::ffi::c_int;
use std::io;
use std::ops::Range;
use std::os::fd::AsFd;

use rustix::ioctl::{Getter, Setter, ioctl};

/// Bytes of a large page, as x86-64 and most of arm64 have them.
pub(crate) const LARGE_PAGE_BYTES: usize = 2 << 20;

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

/// Asks the kernel for large pages behind this memory, which begins on one: direct I/O then has a thousandth of the pages to look up. Only a wish; a
/// kernel without large pages changes nothing.
pub(crate) fn prefer_large_pages(memory: &mut [u8]) {
    // SAFETY: MADV_HUGEPAGE changes neither what the memory holds nor whether it is there; the range is that of a slice which is ours alone.
    unsafe { libc::madvise(memory.as_mut_ptr().cast(), memory.len(), libc::MADV_HUGEPAGE) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_with_large_pages_holds_what_it_held() {
        let mut memory = vec![7; 8 << 20];
        prefer_large_pages(&mut memory); // as it is not aligned: only refused
        let aligned = memory.as_ptr().align_offset(LARGE_PAGE_BYTES);
        prefer_large_pages(&mut memory[aligned..aligned + 2 * LARGE_PAGE_BYTES]);
        assert!(memory.iter().all(|byte| *byte == 7));
    }

    #[test]
    fn what_is_no_disk_cannot_be_discarded() {
        let file = tempfile::tempfile().expect("temp file");
        discard(&file, 0..4096).expect_err("a file is no disk");
    }
}
