//! A guest's disk: a copy of an image that keeps its holes, enlarged to the size of a real disk.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

/// Size of the disk a guest is given: large enough for DATA, sparse on the host.
pub const DISK_BYTES: u64 = 4 << 30;

/// A disk that several machines may use, one after another. Its file is removed when it is dropped.
#[derive(Debug)]
pub struct Disk {
    path: PathBuf,
    kept: bool,
}

impl Disk {
    /// Copies `image` to `path` and enlarges it to `bytes`.
    pub fn from_image(image: &Path, path: &Path, bytes: u64) -> io::Result<Self> {
        let from = File::open(image)?;
        let to = File::create(path)?;
        copy_sparse(&from, &to)?;
        to.set_len(bytes.max(from.metadata()?.len()))?;
        Ok(Self { path: path.into(), kept: keeps_disks() })
    }

    /// A disk that nobody ever wrote to.
    pub fn empty(path: &Path, bytes: u64) -> io::Result<Self> {
        File::create(path)?.set_len(bytes)?;
        Ok(Self { path: path.into(), kept: keeps_disks() })
    }

    /// SHA-256 of what is on it, and where: holes count as such, so that a large empty disk is quick.
    pub fn fingerprint(&self) -> io::Result<[u8; 32]> {
        let file = File::open(&self.path)?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        for_each_data(&file, |range| {
            for start in range.clone().step_by(buffer.len()) {
                let wanted = usize::try_from(range.end - start).unwrap_or(usize::MAX).min(buffer.len());
                file.read_exact_at(&mut buffer[..wanted], start)?;
                // Whether zeros are a hole is the file system's affair.
                if buffer[..wanted].iter().any(|byte| *byte != 0) {
                    hash.update(start.to_le_bytes());
                    hash.update(&buffer[..wanted]);
                }
            }
            Ok(())
        })?;
        Ok(hash.finalize().into())
    }

    /// The raw file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves the file where it is.
    pub fn keep(&mut self) {
        self.kept = true;
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if !self.kept {
            // Policy: a disk that cannot be removed is the target folder's problem, not the test's.
            drop(fs::remove_file(&self.path));
        }
    }
}

fn keeps_disks() -> bool {
    std::env::var_os("SKERRY_KEEP_DISKS").is_some()
}

fn copy_sparse(from: &File, to: &File) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 20];
    for_each_data(from, |range| copy_range(from, to, range, &mut buffer))
}

/// Everything in a file that is no hole, in order.
fn for_each_data(file: &File, mut each: impl FnMut(Range<u64>) -> io::Result<()>) -> io::Result<()> {
    let mut position = 0;
    loop {
        let start = match seek(file, SeekFrom::Data(position)) {
            Ok(start) => start,
            Err(Errno::NXIO) => return Ok(()), // no data after this position
            Err(error) => return Err(error.into()),
        };
        position = seek(file, SeekFrom::Hole(start))?;
        each(start..position)?;
    }
}

fn copy_range(from: &File, to: &File, range: Range<u64>, buffer: &mut [u8]) -> io::Result<()> {
    let mut at = range.start;
    while at < range.end {
        let wanted = usize::try_from(range.end - at).unwrap_or(usize::MAX).min(buffer.len());
        from.read_exact_at(&mut buffer[..wanted], at)?;
        to.write_all_at(&buffer[..wanted], at)?;
        at += wanted as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_copy_keeps_content_and_holes_and_grows() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("image");
        let file = File::create(&image).unwrap();
        file.write_all_at(b"start", 0).unwrap();
        file.write_all_at(b"end", (32 << 20) - 3).unwrap();
        let disk = Disk::from_image(&image, &folder.path().join("disk"), 1 << 30).unwrap();
        let copy = File::open(disk.path()).unwrap();
        assert_eq!(copy.metadata().unwrap().len(), 1 << 30);
        assert!(copy.metadata().unwrap().blocks() * 512 < 4 << 20, "the copy filled its holes");
        let mut end = [0; 3];
        copy.read_exact_at(&mut end, (32 << 20) - 3).unwrap();
        assert_eq!(&end, b"end");
        let before = disk.fingerprint().unwrap();
        File::options().write(true).open(disk.path()).unwrap().write_all_at(&[1], 600 << 20).unwrap();
        assert_ne!(disk.fingerprint().unwrap(), before);
        let path = disk.path().to_owned();
        drop(disk);
        assert!(!path.exists());
    }
}
