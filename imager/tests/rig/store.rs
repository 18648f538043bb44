//! What a drive holds and what it answers. Knows nothing of FUSE but its replies, which it keeps when it hangs.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fuser::{Errno, ReplyWrite};

use super::fault::Fault;

/// Faults of a medium hit a whole block.
const BLOCK_BYTES: u64 = 4096;
/// What an earlier life left behind.
const OLD: u8 = 0xa5;

/// What a drive says to a write.
pub(crate) enum Answer {
    /// It took so many bytes.
    Took(u32),
    /// It failed.
    Failed(Errno),
    /// Nothing.
    Silence,
}

/// A drive's inside.
pub(crate) struct Store {
    file: File,
    bytes: AtomicU64,
    fault: Fault,
    taken: AtomicU64,
    gone: AtomicBool,
    held: Mutex<Vec<ReplyWrite>>,
    folder: PathBuf,
}

impl Store {
    pub(crate) fn new(bytes: u64, fault: Fault, folder: PathBuf) -> Self {
        let file = tempfile::tempfile().expect("temp file");
        let old = vec![OLD; 1 << 20];
        (0..bytes).step_by(old.len()).for_each(|at| {
            let count = old.len().min(usize::try_from(bytes - at).expect("fits"));
            file.write_all_at(&old[..count], at).expect("written");
        });
        let (taken, gone) = (AtomicU64::new(0), AtomicBool::new(false));
        Self { file, bytes: AtomicU64::new(bytes), fault, taken, gone, held: Mutex::default(), folder }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::SeqCst)
    }

    pub(crate) fn set_bytes(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::SeqCst);
    }

    pub(crate) fn content(&self, offset: u64, bytes: u64) -> Vec<u8> {
        let mut content = vec![0; usize::try_from(bytes).expect("fits")];
        self.file.read_exact_at(&mut content, offset).expect("read");
        content
    }

    pub(crate) fn put(&self, offset: u64, bytes: &[u8]) {
        self.file.write_all_at(bytes, offset).expect("written");
    }

    fn held(&self) -> MutexGuard<'_, Vec<ReplyWrite>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves a write without an answer, until it is released. Whoever waits in the kernel cannot be killed, so it is released after [`super::deadline`]
    /// at the latest, whatever becomes of the test.
    pub(crate) fn hold(self: &Arc<Self>, reply: ReplyWrite) {
        self.held().push(reply);
        if self.present().is_err() {
            return self.release(); // it was released in this moment
        }
        let store = Arc::downgrade(self);
        std::thread::spawn(move || {
            std::thread::sleep(super::deadline());
            store.upgrade().into_iter().for_each(|store| store.release());
        });
    }

    pub(crate) fn holds(&self) -> bool {
        !self.held().is_empty()
    }

    /// Answers what hangs; whatever is asked later is told that the drive is gone.
    pub(crate) fn release(&self) {
        self.gone.store(true, Ordering::SeqCst);
        self.held().drain(..).for_each(|reply| reply.error(Errno::EIO));
    }

    /// Whether it is still there.
    pub(crate) fn present(&self) -> Result<(), Errno> {
        if self.gone.load(Ordering::SeqCst) { Err(Errno::ENODEV) } else { Ok(()) }
    }

    pub(crate) fn write(&self, offset: u64, data: &[u8]) -> Answer {
        if let Err(error) = self.present() {
            return Answer::Failed(error);
        }
        let length = data.len() as u64;
        let taken = self.taken.fetch_add(length, Ordering::SeqCst) + length;
        match self.fault {
            Fault::BadWrite { at } if touches(offset, length, at) => return Answer::Failed(Errno::EIO),
            Fault::Full { after } if taken > after => return Answer::Failed(Errno::ENOSPC),
            Fault::Short { after } if taken > after => {
                let room = length.saturating_sub(taken - after) / BLOCK_BYTES * BLOCK_BYTES;
                self.keep(offset, &data[..usize::try_from(room).expect("fits")]);
                return Answer::Took(u32::try_from(room).expect("fits"));
            }
            Fault::Gone { after } if taken > after => {
                self.gone.store(true, Ordering::SeqCst);
                return Answer::Failed(Errno::ENODEV);
            }
            Fault::Pulled { after } if taken > after => {
                // The answer is never heard: the connection it would go through is gone.
                let folder = self.folder.clone();
                std::thread::spawn(move || super::pull(&folder));
                return Answer::Silence;
            }
            Fault::Unplugged { after } if taken > after => {
                self.set_bytes(0);
                return Answer::Silence; // until the kernel has taken it away
            }
            Fault::Hangs { after } if taken > after => return Answer::Silence,
            Fault::Slow { by } => std::thread::sleep(by),
            _ => {}
        }
        self.keep(offset, data);
        Answer::Took(u32::try_from(length).expect("a request is small"))
    }

    /// Puts the bytes where this drive puts them.
    fn keep(&self, offset: u64, data: &[u8]) {
        for (at, block) in blocks(offset, data) {
            match self.fault {
                Fault::Forgets { at: byte } if touches(at, block.len() as u64, byte) => {}
                Fault::Wraps { capacity } => self.put(at % capacity, block),
                Fault::Drops { capacity } if at >= capacity => {}
                _ => self.put(at, block),
            }
        }
    }

    pub(crate) fn zero(&self, offset: u64, bytes: u64) -> Result<(), Errno> {
        self.present()?;
        let zeros = vec![0; 1 << 20];
        let end = (offset + bytes).min(self.bytes());
        let mut at = offset;
        while at < end {
            let count = (end - at).min(zeros.len() as u64);
            self.keep(at, &zeros[..usize::try_from(count).expect("fits")]);
            at += count;
        }
        Ok(())
    }

    pub(crate) fn read(&self, offset: u64, bytes: u64) -> Result<Vec<u8>, Errno> {
        self.present()?;
        let mut content = vec![0; usize::try_from(bytes.min(self.bytes().saturating_sub(offset))).expect("fits")];
        if let Fault::SlowToRead { by } = self.fault {
            std::thread::sleep(by);
        }
        match self.fault {
            Fault::BadRead { at } if touches(offset, bytes, at) => return Err(Errno::EIO),
            Fault::Wraps { capacity } => {
                for (at, block) in blocks_mut(offset, &mut content) {
                    self.file.read_exact_at(block, at % capacity).map_err(|_| Errno::EIO)?;
                }
                return Ok(content);
            }
            _ => self.file.read_exact_at(&mut content, offset).map_err(|_| Errno::EIO)?,
        }
        match self.fault {
            Fault::Flips { at } if touches(offset, bytes, at) && at >= offset => {
                content[usize::try_from(at - offset).expect("fits")] ^= 0x10;
            }
            Fault::Drops { capacity } if offset + bytes > capacity => {
                let real = usize::try_from(capacity.saturating_sub(offset)).expect("fits").min(content.len());
                content[real..].fill(0);
            }
            _ => {}
        }
        Ok(content)
    }
}

/// Whether a request comes into the block of a byte.
fn touches(offset: u64, length: u64, at: u64) -> bool {
    let block = at / BLOCK_BYTES * BLOCK_BYTES;
    offset < block + BLOCK_BYTES && block < offset + length
}

/// The parts of a request, none across the border of a block.
fn blocks(offset: u64, data: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let first = usize::try_from(BLOCK_BYTES - offset % BLOCK_BYTES).expect("fits").min(data.len());
    let (head, rest) = data.split_at(first);
    let at = offset + first as u64;
    let size = usize::try_from(BLOCK_BYTES).expect("fits");
    std::iter::once((offset, head)).chain((0..).zip(rest.chunks(size)).map(move |(n, block)| (at + n * BLOCK_BYTES, block)))
}

fn blocks_mut(offset: u64, data: &mut [u8]) -> impl Iterator<Item = (u64, &mut [u8])> {
    let first = usize::try_from(BLOCK_BYTES - offset % BLOCK_BYTES).expect("fits").min(data.len());
    let (head, rest) = data.split_at_mut(first);
    let at = offset + first as u64;
    let size = usize::try_from(BLOCK_BYTES).expect("fits");
    std::iter::once((offset, head)).chain((0..).zip(rest.chunks_mut(size)).map(move |(n, block)| (at + n * BLOCK_BYTES, block)))
}
