//! Whether a drive is some device's already: nobody named it, so what was flashed and proved before must not be taken for an empty drive. Goes by SEED,
//! which no two devices share, and by a head that is not zeros, as every failed drive's is. This is no proof that all of the image is there.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::image::Image;
use super::pieces::HEAD_BYTES;
use crate::seed_place;

/// Why a drive is not for the next device.
#[derive(Debug)]
pub enum Taken<'a> {
    /// It carries this image.
    Carries(&'a Image),
    /// It cannot be read, so nobody knows.
    Unreadable(io::Error),
}

/// Which of these images the drive at `path` carries, if it does. Images without a SEED are carried by nobody.
pub fn taken<'a>(path: &Path, images: &'a [Arc<Image>]) -> Option<Taken<'a>> {
    match images.iter().map(|image| Ok(carries(path, image)?.then_some(&**image))).find_map(Result::transpose) {
        Some(Ok(image)) => Some(Taken::Carries(image)),
        Some(Err(error)) => Some(Taken::Unreadable(error)),
        None => None,
    }
}

fn carries(path: &Path, image: &Image) -> io::Result<bool> {
    let Ok(seed) = seed_place::find(image.file()) else { return Ok(false) };
    let drive = File::open(path)?;
    let there = |file: &File, offset: u64, bytes: u64| {
        let mut found = vec![0; usize::try_from(bytes).expect("a SEED, or a head, fits into memory")];
        file.read_exact_at(&mut found, offset).map(|()| found)
    };
    let same = there(&drive, seed.offset, seed.bytes)? == there(image.file(), seed.offset, seed.bytes)?;
    Ok(same && there(&drive, 0, HEAD_BYTES)?.iter().any(|byte| *byte != 0))
}
