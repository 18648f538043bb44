//! What files hash to, remembered by what tells one file from another: its place, its size, when it was written. A file is read once for it, however
//! many ask, and to the end, even when all of them have gone.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest as _, Sha256};
use tokio::sync::{Semaphore, watch};

/// Files that are remembered.
const MAX_KNOWN: usize = 256;
/// Bytes that are read at once.
const PIECE: usize = 1 << 20;
/// Files that are read at once.
const AT_ONCE: usize = 2;

/// Device, inode, size, seconds and nanoseconds of the last write.
type Key = (u64, u64, u64, i64, i64);
/// What came of reading a file; none: it is being read.
type Found = Option<Result<String, Arc<io::Error>>>;

/// The hashes. Clones are one.
#[derive(Debug, Clone)]
pub(super) struct Hashes {
    all: Arc<Mutex<All>>,
    places: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct All {
    known: HashMap<Key, String>,
    read: HashMap<Key, watch::Receiver<Found>>,
}

impl Default for Hashes {
    fn default() -> Self {
        Self { all: Arc::default(), places: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

fn key(file: &File) -> io::Result<Key> {
    let about = file.metadata()?;
    Ok((about.dev(), about.ino(), about.size(), about.mtime(), about.mtime_nsec()))
}

impl Hashes {
    fn all(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// SHA-256 of a file, hexadecimal. Whoever stops waiting stops nobody else.
    pub(super) async fn of(&self, file: File) -> io::Result<String> {
        let key = key(&file)?;
        let mut read = match self.begin(key, file) {
            Begun::Known(hash) => return Ok(hash),
            Begun::Read(read) => read,
        };
        let found = read.wait_for(Option::is_some).await.map_err(|_| io::Error::other("the hub is stopping"))?;
        match found.as_ref() {
            Some(Ok(hash)) => Ok(hash.clone()),
            Some(Err(error)) => Err(io::Error::new(error.kind(), Arc::clone(error))),
            None => Err(io::Error::other("the hub is stopping")),
        }
    }

    fn begin(&self, key: Key, file: File) -> Begun {
        let mut all = self.all();
        if let Some(hash) = all.known.get(&key) {
            return Begun::Known(hash.clone());
        }
        if let Some(read) = all.read.get(&key) {
            return Begun::Read(read.clone());
        }
        let (tell, read) = watch::channel(None);
        all.read.insert(key, read.clone());
        drop(all);
        tokio::spawn(self.clone().read(key, file, tell));
        Begun::Read(read)
    }

    async fn read(self, key: Key, file: File, tell: watch::Sender<Found>) {
        let place = self.places.acquire().await;
        let found = tokio::task::spawn_blocking(move || hash_file(&file)).await;
        let found = found.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(Arc::new);
        drop(place);
        let mut all = self.all();
        all.read.remove(&key);
        if let Ok(hash) = &found {
            if all.known.len() >= MAX_KNOWN {
                all.known.clear();
            }
            all.known.insert(key, hash.clone());
        }
        drop(all);
        tell.send_replace(Some(found));
    }
}

enum Begun {
    Known(String),
    Read(watch::Receiver<Found>),
}

fn hash_file(file: &File) -> io::Result<String> {
    let (mut hasher, mut buffer, mut at) = (Sha256::new(), vec![0; PIECE], 0);
    loop {
        match file.read_at(&mut buffer, at)? {
            0 => return Ok(hex::encode(hasher.finalize())),
            read => {
                hasher.update(&buffer[..read]);
                at += read as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_read_once_for_all_who_ask_and_for_who_has_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.img");
        std::fs::write(&path, "abc").unwrap();
        let (hashes, open) = (Hashes::default(), || File::open(&path).unwrap());
        // Nothing is read while both places are taken.
        let places = hashes.places.clone().acquire_many_owned(AT_ONCE as u32).await.unwrap();
        let asks: Vec<_> = (0..5)
            .map(|_| {
                tokio::spawn({
                    let (hashes, file) = (hashes.clone(), open());
                    async move { hashes.of(file).await }
                })
            })
            .collect();
        while hashes.all().read.is_empty() {
            tokio::task::yield_now().await;
        }
        let gone = tokio::time::timeout(std::time::Duration::ZERO, hashes.of(open())).await;
        assert!(gone.is_err());
        assert_eq!(hashes.all().read.len(), 1, "one computation");
        asks[0].abort();
        drop(places);
        for ask in asks.into_iter().skip(1) {
            assert_eq!(ask.await.unwrap().unwrap(), hex::encode(Sha256::digest("abc")));
        }
        assert!(hashes.all().read.is_empty() && hashes.all().known.len() == 1);
        let unreadable = File::options().write(true).open(&path).unwrap();
        assert!(Hashes::default().of(unreadable).await.is_err());
    }
}
