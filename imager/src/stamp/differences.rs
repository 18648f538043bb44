//! Where an image differs from its base outside SEED, in words: a technician who hears "the partition tables alone" knows that the disk has
//! booted, one who hears "RUNTIME-A" knows that it is not to be trusted. Judges nothing.

use std::fmt;
use std::io::{self, Read};
use std::ops::Range;

use super::hash::Image;
use crate::image::window::Window;
use crate::inspect::disk::Disk;

/// Bytes compared at once.
const CHUNK_BYTES: usize = 1 << 20;

/// What the partition tables are called.
const TABLES: &str = "the partition tables";

/// A part of an image under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    name: String,
    range: Range<u64>,
}

/// The parts of a disk image of `bytes` bytes, in order, SEED left out: partitions, tables, what lies between.
pub fn places_of(disk: &Disk, bytes: u64) -> Vec<Place> {
    let mut partitions: Vec<_> = disk.partitions.iter().filter(|found| found.offset < bytes).collect();
    partitions.sort_by_key(|found| found.offset);
    let mut places = Vec::new();
    let mut at = 0;
    for found in partitions {
        let gap = if at == 0 { TABLES } else { "the space between partitions" };
        places.push(Place { name: gap.into(), range: at..found.offset });
        at = found.offset + found.bytes;
        places.push(Place { name: found.name.clone(), range: found.offset..at });
    }
    places.push(Place { name: TABLES.into(), range: at..bytes });
    places.retain(|place| !place.range.is_empty());
    places
}

/// Where two images differ outside SEED.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Differences {
    names: Vec<String>,
}

impl Differences {
    /// Compares two images of one length, part by part. `seed` is left out; without parts the whole is one.
    pub fn find(image: &Image<'_>, base: &Image<'_>, places: &[Place]) -> io::Result<Self> {
        let mut names: Vec<String> = Vec::new();
        for place in places {
            let differs = outside(&place.range, &image.seed).try_fold(false, |found, range| {
                Ok::<_, io::Error>(found || !same(&mut window(image, &range), &mut window(base, &range))?)
            })?;
            if differs && !names.contains(&place.name) {
                names.push(place.name.clone());
            }
        }
        Ok(Self { names })
    }

    /// Whether nothing but the partition tables differs: first boot rewrites them, and writes nothing else of the image.
    pub fn only_tables(&self) -> bool {
        self.names == [TABLES]
    }
}

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names.join(", "))
    }
}

fn outside(range: &Range<u64>, seed: &Range<u64>) -> impl Iterator<Item = Range<u64>> {
    crate::sparse::without(range.clone(), seed)
}

fn window<'a>(image: &Image<'a>, range: &Range<u64>) -> Window<'a> {
    Window::new(image.file, range.start, range.end - range.start)
}

/// Whether both windows hold the same bytes to their ends.
fn same(one: &mut Window<'_>, other: &mut Window<'_>) -> io::Result<bool> {
    loop {
        let (first, second) = (next(one)?, next(other)?);
        if first != second || first.is_empty() {
            return Ok(first == second);
        }
    }
}

fn next(window: &mut Window<'_>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(CHUNK_BYTES);
    window.take(CHUNK_BYTES as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use super::*;

    #[test]
    fn each_part_that_differs_is_named_once_and_seed_never() {
        let bytes = 3u64 << 20;
        let place = |name: &str, range| Place { name: name.into(), range };
        let parts = [place(TABLES, 0..4096), place("ESP", 4096..2 << 20), place(TABLES, 2 << 20..bytes)];
        for (changed, expected) in [
            (vec![], ""),
            (vec![0, bytes - 1], TABLES),
            (vec![4096], "ESP"),
            (vec![(2 << 20) - 1, 4095], "the partition tables, ESP"),
            (vec![100_000, 199_999], ""),
            (vec![99_999], "ESP"),
        ] {
            let (one, other) = (tempfile::tempfile().expect("temp file"), tempfile::tempfile().expect("temp file"));
            one.set_len(bytes).and_then(|()| other.set_len(bytes)).expect("sized");
            for at in &changed {
                one.write_all_at(&[1], *at).expect("written");
            }
            let image = |file| Image { file, bytes, seed: 100_000..200_000 };
            let found = Differences::find(&image(&one), &image(&other), &parts).expect("compared");
            assert_eq!((found.to_string().as_str(), found.only_tables()), (expected, expected == TABLES), "{changed:?}");
        }
    }
}
