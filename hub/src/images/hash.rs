//! What files hash to, remembered by what tells one file from another: its place, its size, when it was written.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use sha2::{Digest as _, Sha256};

/// Files that are remembered.
const MAX_KNOWN: usize = 256;
/// Bytes that are read at once.
const PIECE: usize = 1 << 20;

/// Device, inode, size, seconds and nanoseconds of the last write.
pub(super) type Key = (u64, u64, u64, i64, i64);

/// The hashes.
#[derive(Debug, Default)]
pub(super) struct Hashes(HashMap<Key, String>);

impl Hashes {
    pub(super) fn key(file: &File) -> io::Result<Key> {
        let about = file.metadata()?;
        Ok((about.dev(), about.ino(), about.size(), about.mtime(), about.mtime_nsec()))
    }

    pub(super) fn get(&self, key: &Key) -> Option<String> {
        self.0.get(key).cloned()
    }

    pub(super) fn put(&mut self, key: Key, hash: String) {
        if self.0.len() >= MAX_KNOWN {
            self.0.clear();
        }
        self.0.insert(key, hash);
    }
}

/// SHA-256 of a file, hexadecimal.
pub(super) fn hash_file(file: &File) -> io::Result<String> {
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
