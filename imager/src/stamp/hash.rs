//! SHA-256 of one image with many contents of SEED: what stands before SEED is hashed once, what stands after it is read once per core and not
//! once per device.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::thread;

use crate::image::digest::{Digest, Hasher};
use crate::image::window::Window;
use crate::parallel;

/// Bytes read at once.
const CHUNK_BYTES: usize = 1 << 20;

/// A file with a place in it whose content varies.
#[derive(Debug, Clone)]
pub struct Image<'a> {
    /// The file.
    pub file: &'a File,
    /// Its length.
    pub bytes: u64,
    /// Where SEED is.
    pub seed: Range<u64>,
}

impl Image<'_> {
    /// What is in SEED.
    pub fn read_seed(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.window(self.seed.start, self.seed.end).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// What stands before SEED.
    pub fn before(&self) -> Window<'_> {
        self.window(0, self.seed.start)
    }

    /// What stands after SEED.
    pub fn after(&self) -> Window<'_> {
        self.window(self.seed.end, self.bytes)
    }

    /// Hashes what stands before SEED: the same for every content of SEED, so it is done once.
    pub fn hash_before(&self) -> io::Result<Hasher> {
        let mut hasher = Hasher::new();
        each_chunk(&mut self.before(), |chunk| hasher.update(chunk))?;
        Ok(hasher)
    }

    fn window(&self, from: u64, to: u64) -> Window<'_> {
        Window::new(self.file, from, to.saturating_sub(from))
    }
}

/// The digest of the whole image, once for each item: with what `seed_of` gives in SEED and nothing else changed. `before` is the image's own
/// [`Image::hash_before`].
pub fn digests<T: Sync>(
    image: &Image<'_>,
    before: &Hasher,
    items: &[T],
    seed_of: impl Fn(&T) -> Cow<'_, [u8]> + Sync,
) -> io::Result<Vec<Digest>> {
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get());
    let groups: Vec<&[T]> = items.chunks(items.len().div_ceil(cores).max(1)).collect();
    let digests = parallel::map(&groups, |group| {
        let begin = |item: &T| {
            let mut hasher = before.clone();
            hasher.update(&seed_of(item));
            hasher
        };
        let mut hashers: Vec<Hasher> = group.iter().map(begin).collect();
        each_chunk(&mut image.after(), |chunk| hashers.iter_mut().for_each(|hasher| hasher.update(chunk)))?;
        Ok::<_, io::Error>(hashers.into_iter().map(Hasher::finish).collect::<Vec<_>>())
    })?;
    Ok(digests.into_iter().flatten().collect())
}

/// Hands over everything in order. What a file lacks at its end is missing in the digest too, so a file cut meanwhile gives another digest.
pub fn each_chunk(from: &mut Window<'_>, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            count => take(&buffer[..count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn each_digest_is_that_of_the_whole_file() {
        let file = tempfile::tempfile().expect("temp file");
        let bytes: Vec<u8> = (0..3_000_000u32).map(|n| (n * 7 / 3) as u8).collect();
        file.write_all_at(&bytes, 0).expect("written");
        let image = Image { file: &file, bytes: bytes.len() as u64, seed: 4096..5096 };
        let seeds: Vec<Vec<u8>> = (0..7).map(|n| vec![n; 1000]).collect();
        let expected: Vec<Digest> = seeds
            .iter()
            .map(|seed| {
                let mut whole = bytes.clone();
                whole[4096..5096].copy_from_slice(seed);
                Digest::of(&whole)
            })
            .collect();
        let before = image.hash_before().expect("hashed");
        assert_eq!(digests(&image, &before, &seeds, |seed| Cow::Borrowed(seed)).expect("hashed"), expected);
        assert_eq!(image.read_seed().expect("read"), bytes[4096..5096]);
    }
}
