//! Memory for direct I/O: buffers that begin on a page, used again and again, so that a long run touches no new memory.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes of a buffer: what is read or written at once.
pub const BUFFER_BYTES: usize = 4 << 20;
/// Where buffers begin; a multiple of what any disk's direct I/O asks for.
pub const ALIGNMENT: usize = 4096;

/// Buffers that nobody uses at the moment.
#[derive(Debug, Clone, Default)]
pub struct Pool(Arc<Mutex<Vec<Vec<u8>>>>);

/// A buffer. Dropped, it goes back to its pool.
pub struct Buffer {
    pool: Pool,
    storage: Vec<u8>,
    start: usize,
    bytes: usize,
}

impl Pool {
    fn free(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A buffer of `bytes` bytes, at most [`BUFFER_BYTES`], with whatever is in it.
    pub fn take(&self, bytes: usize) -> Buffer {
        assert!(bytes <= BUFFER_BYTES, "a buffer holds {BUFFER_BYTES} bytes, {bytes} were asked for");
        let storage = self.free().pop().unwrap_or_else(|| vec![0; BUFFER_BYTES + ALIGNMENT]);
        let start = storage.as_ptr().addr().wrapping_neg() % ALIGNMENT;
        Buffer { pool: self.clone(), storage, start, bytes }
    }

    /// A buffer of `bytes` zeros.
    pub fn zeros(&self, bytes: usize) -> Buffer {
        let mut buffer = self.take(bytes);
        buffer.fill(0);
        buffer
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.storage[self.start..self.start + self.bytes]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.storage[self.start..self.start + self.bytes]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.pool.free().push(std::mem::take(&mut self.storage));
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_begin_on_a_page_and_are_used_again() {
        let pool = Pool::default();
        let mut first = pool.take(BUFFER_BYTES);
        first[0] = 7;
        let place = first.as_ptr();
        assert_eq!(place.addr() % ALIGNMENT, 0);
        drop(first);
        let second = pool.take(100);
        assert_eq!((second.as_ptr(), second.len()), (place, 100));
        assert_eq!(pool.zeros(10)[..], [0; 10]);
    }
}
