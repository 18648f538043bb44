//! SHA-256 of one image with many contents of SEED: what stands before SEED is hashed once, what stands after it is read once per core and not
//! once per device.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};
use std::thread;

use crate::image::digest::{Digest, Hasher};
use crate::image::window::Window;
use crate::inspect::disk::Found;
use crate::parallel;

/// Bytes read at once.
const CHUNK_BYTES: usize = 1 << 20;

/// A file with a place in it whose content varies.
#[derive(Debug, Clone, Copy)]
pub struct Image<'a> {
    /// The file.
    pub file: &'a File,
    /// Its length.
    pub bytes: u64,
    /// Where SEED is.
    pub seed: &'a Found,
}

impl Image<'_> {
    fn end_of_seed(&self) -> u64 {
        self.seed.offset + self.seed.bytes
    }

    /// What is in SEED.
    pub fn read_seed(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.window(self.seed.offset, self.end_of_seed()).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// What stands before SEED.
    pub fn before(&self) -> Window<'_> {
        self.window(0, self.seed.offset)
    }

    /// What stands after SEED.
    pub fn after(&self) -> Window<'_> {
        self.window(self.end_of_seed(), self.bytes)
    }

    fn window(&self, from: u64, to: u64) -> Window<'_> {
        Window::new(self.file, from, to.saturating_sub(from))
    }
}

/// The digest of the whole image, once for each item: with what `seed_of` gives in SEED and nothing else changed.
pub fn digests<T: Sync>(image: &Image<'_>, items: &[T], seed_of: impl Fn(&T) -> Cow<'_, [u8]> + Sync) -> io::Result<Vec<Digest>> {
    let mut before = Hasher::new();
    each_chunk(&mut image.before(), |chunk| before.update(chunk))?;
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
        let (name, guid) = ("SEED".to_owned(), uuid::Uuid::nil());
        let seed = Found { name, type_guid: guid, guid, offset: 4096, bytes: 1000 };
        let image = Image { file: &file, bytes: bytes.len() as u64, seed: &seed };
        let seeds: Vec<Vec<u8>> = (0..7).map(|n| vec![n; 1000]).collect();
        let expected: Vec<Digest> = seeds
            .iter()
            .map(|seed| {
                let mut whole = bytes.clone();
                whole[4096..5096].copy_from_slice(seed);
                Digest::of(&whole)
            })
            .collect();
        assert_eq!(digests(&image, &seeds, |seed| Cow::Borrowed(seed)).expect("hashed"), expected);
        assert_eq!(image.read_seed().expect("read"), bytes[4096..5096]);
    }
}
