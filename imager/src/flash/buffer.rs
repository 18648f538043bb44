//! Memory for direct I/O: buffers that begin on a page, a large one where there are such, used again and again, so that a long run touches no new memory.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::sys::{LARGE_PAGE_BYTES, prefer_large_pages};

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
        let storage = self.free().pop();
        let storage = storage.unwrap_or_else(|| {
            let mut storage = vec![0; BUFFER_BYTES + LARGE_PAGE_BYTES]; // what is never touched takes no memory
            let start = start(&storage);
            prefer_large_pages(&mut storage[start..start + BUFFER_BYTES]);
            storage
        });
        let start = start(&storage);
        Buffer { pool: self.clone(), storage, start, bytes }
    }

    /// A buffer of `bytes` zeros.
    pub fn zeros(&self, bytes: usize) -> Buffer {
        let mut buffer = self.take(bytes);
        buffer.fill(0);
        buffer
    }
}

/// Where in its storage a buffer begins.
fn start(storage: &[u8]) -> usize {
    storage.as_ptr().addr().wrapping_neg() % LARGE_PAGE_BYTES
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
        assert_eq!(place.addr() % LARGE_PAGE_BYTES, 0);
        drop(first);
        let second = pool.take(100);
        assert_eq!((second.as_ptr(), second.len()), (place, 100));
        assert_eq!(pool.zeros(10)[..], [0; 10]);
    }
}
