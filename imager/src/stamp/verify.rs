//! Proves a stamped image: the manifest is the station's, the image is the manifest's, SEED is the device's, and outside SEED not one byte of the
//! base was changed. Each way in which that can fail has its own words.

use std::borrow::Cow;
use std::io::{self, Read as _};
use std::ops::Range;
use std::path::{Path, PathBuf};

use machine_config::seed::{self, DecodeError, Seed};
use machine_config::{IdentitySeed, PublicKey};
use serde::Serialize;

use super::base::{BaseError, Opened};
use super::differences::{Differences, places_of};
use super::hash::{Image, digests, each_chunk};
use super::manifest::{Manifest, ManifestError};
use crate::format::mapped;
use crate::image::digest::{Digest, Hasher};
use crate::image::window::Window;
use crate::inspect::disk::{Disk, DiskError};

/// Why an image is not what its manifest says.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The manifest is not to be believed.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A file is no image, or cannot be read.
    #[error(transparent)]
    Base(#[from] BaseError),
    /// Less than the image.
    #[error(
        "cannot trust {}: it has {found} bytes, its manifest says {expected}: it is cut short, or the manifest is another's", path.display()
    )]
    Length {
        /// The image.
        path: PathBuf,
        /// As found.
        found: u64,
        /// By the manifest.
        expected: u64,
    },
    /// Changed outside SEED.
    #[error("cannot trust {}: it differs from its base outside SEED{}; write or stamp the image again", path.display(), where_(places.as_ref()))]
    Outside {
        /// The image.
        path: PathBuf,
        /// Where; none when no base was given to compare with.
        places: Option<Differences>,
    },
    /// First boot wrote to it.
    #[error(
        "cannot compare {} with its manifest: {what}; it has booted, for first boot moves them to the end of the disk", path.display()
    )]
    Booted {
        /// The image.
        path: PathBuf,
        /// What is known of the rest.
        what: &'static str,
    },
    /// Changed inside SEED.
    #[error("cannot trust {}: its SEED is not the one stamped for {device}; stamp the image again", path.display())]
    SeedChanged {
        /// The image.
        path: PathBuf,
        /// The manifest's device.
        device: String,
    },
    /// A manifest whose digests do not belong together.
    #[error("cannot trust {}: its manifest contradicts itself about {what}; ask the station that signed it", path.display())]
    Contradiction {
        /// The image.
        path: PathBuf,
        /// What is said in two ways.
        what: &'static str,
    },
    /// SEED does not read back.
    #[error("cannot trust {}", path.display())]
    Seed {
        /// The image.
        path: PathBuf,
        /// Why.
        source: DecodeError,
    },
    /// Stamped from another base.
    #[error("cannot trust {}: it was stamped from another base than {} (SHA-256 {expected}, not {found})", path.display(), base.display())]
    OtherBase {
        /// The image.
        path: PathBuf,
        /// The base that was given.
        base: PathBuf,
        /// By the manifest.
        expected: Digest,
        /// The given base's.
        found: Digest,
    },
}

/// The words for where an image differs.
fn where_(places: Option<&Differences>) -> String {
    match places {
        Some(places) => format!(", in {places}"),
        None => " (--base tells where)".into(),
    }
}

/// What was proved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proof {
    /// The image.
    pub image: PathBuf,
    /// What it is.
    pub manifest: Manifest,
    /// Whether the station's key was given; otherwise anybody may have signed.
    pub station_known: bool,
    /// Whether the base itself was compared; otherwise the station's word stands for it.
    pub base_compared: bool,
    /// Bytes after the image's end that nobody looked at: the rest of the disk it was written to.
    pub unread_bytes: u64,
    /// Bytes that the image's own tables call free and that were taken for the zeros they are in the image; the disk it was written to has others there.
    pub free_bytes: u64,
}

/// Proves the image at `path` by the manifest in `manifest`, under the station's key and against the base where they are given. The image may lie on
/// something larger: a disk it was written to.
///
/// # Errors
/// See [`VerifyError`].
pub fn verify(path: &Path, manifest: &[u8], station: Option<&PublicKey>, base: Option<&Path>) -> Result<Proof, VerifyError> {
    let manifest = Manifest::read(manifest, station)?;
    let expected = manifest.image.bytes;
    let opened = open(path, expected)?;
    let found = opened.image().bytes;
    let image = opened.first(expected).ok_or(VerifyError::Length { path: path.to_owned(), found, expected })?;
    let seed = opened.read_seed()?;
    let strict = both_digests(&opened, &image, &seed)?;
    let is_base = |[_, blank]: &[Digest; 2]| *blank == manifest.base.blank_sha256;
    let ([whole, _], free_bytes) = match is_base(&strict) {
        true => (strict, 0),
        false => match without_free(&opened, &image, &seed)?.filter(|(digests, _)| is_base(digests)) {
            Some(without_free) => without_free,
            None => return Err(outside(path, &opened, &image, base)?),
        },
    };
    if seed::content(&seed).map(Digest::of) != Some(manifest.seed.sha256) || !seed::is_canonical(&seed) {
        return Err(VerifyError::SeedChanged { path: path.to_owned(), device: manifest.device.name.to_string() });
    }
    if whole != manifest.image.sha256 {
        return Err(VerifyError::Contradiction { path: path.to_owned(), what: "the image's SHA-256" });
    }
    let decoded = seed::decode(&seed).map_err(|source| VerifyError::Seed { path: path.to_owned(), source })?;
    check_seed(path, &decoded.seed, &manifest)?;
    if let Some(base) = base {
        check_base(path, base, &manifest)?;
    }
    let unread_bytes = found - expected;
    let (station_known, base_compared) = (station.is_some(), base.is_some());
    Ok(Proof { image: path.to_owned(), manifest, station_known, base_compared, unread_bytes, free_bytes })
}

/// What is shorter than the image says so itself, where its length is known before its partition table is read.
fn open(path: &Path, expected: u64) -> Result<Opened, VerifyError> {
    match Opened::open(path) {
        Err(BaseError::Disk(DiskError::Truncated { found, .. })) => {
            Err(VerifyError::Length { path: path.to_owned(), found, expected })
        }
        other => Ok(other?),
    }
}

/// The digest of the whole image, as it is and with zeros in SEED.
fn both_digests(opened: &Opened, image: &Image<'_>, seed: &[u8]) -> Result<[Digest; 2], BaseError> {
    let zeros = vec![0; seed.len()];
    let found = image.hash_before().and_then(|before| digests(image, &before, &[seed, &zeros], |seed| Cow::Borrowed(*seed)));
    let found = found.map_err(|error| opened.failure(error))?;
    Ok([found[0], found[1]])
}

/// The same digests with zeros in the blocks that the image's own tables call free, and how many bytes these are: `imager flash` leaves there what a used
/// disk had. The tables themselves are in the digests, so nothing is free that is not free in the image that was signed. None for what is no disk: in
/// an image's own file every byte counts.
fn without_free(opened: &Opened, image: &Image<'_>, seed: &[u8]) -> Result<Option<([Digest; 2], u64)>, BaseError> {
    if !opened.is_disk(image.bytes) {
        return Ok(None);
    }
    let map =
        Disk::open(opened.path()).ok().filter(|disk| disk.bytes == image.bytes).and_then(|disk| mapped::by_tables(&disk).ok());
    let Some(map) = map.filter(|map| map.seed == image.seed) else { return Ok(None) };
    let used: u64 = map.ranges.iter().map(|range| range.end - range.start).sum();
    let digests = mapped_digests(image, &map.ranges, seed).map_err(|error| opened.failure(error))?;
    Ok(Some((digests, image.bytes - used)))
}

/// The digest of the whole image with zeros between these ranges, as it is and with zeros in SEED.
fn mapped_digests(image: &Image<'_>, ranges: &[Range<u64>], seed: &[u8]) -> io::Result<[Digest; 2]> {
    let mut hashers = [Hasher::new(), Hasher::new()];
    let mut at = 0;
    let end = image.bytes..image.bytes;
    for range in ranges.iter().chain([&end]) {
        for hasher in &mut hashers {
            io::copy(&mut io::repeat(0).take(range.start - at), hasher)?;
        }
        if *range == image.seed {
            hashers[0].update(seed);
            hashers[1].update(&vec![0; seed.len()]);
        } else {
            let mut window = Window::new(image.file, range.start, range.end - range.start);
            each_chunk(&mut window, |chunk| hashers.iter_mut().for_each(|hasher| hasher.update(chunk)))?;
        }
        at = range.end;
    }
    Ok(hashers.map(Hasher::finish))
}

/// The error for an image that differs outside SEED: where, as far as that can be told.
fn outside(path: &Path, opened: &Opened, image: &Image<'_>, base: Option<&Path>) -> Result<VerifyError, VerifyError> {
    let places = base.map(|base| compare(opened, image, base)).transpose()?.flatten();
    let moved = has_moved_table(path, image.bytes);
    let path = path.to_owned();
    Ok(match &places {
        Some(places) if moved && places.only_tables() => {
            let what = "the partition tables differ from its base's, and nothing else outside SEED does";
            VerifyError::Booted { path, what }
        }
        None if moved => {
            VerifyError::Booted { path, what: "its partition tables were moved; name the base with --base to compare the rest" }
        }
        Some(_) | None => VerifyError::Outside { path, places },
    })
}

/// Where an image differs from a base of its form; none when they cannot be laid beside each other.
fn compare(opened: &Opened, image: &Image<'_>, base: &Path) -> Result<Option<Differences>, VerifyError> {
    let base_opened = Opened::open(base)?;
    let other = base_opened.image();
    if (other.bytes, &other.seed) != (image.bytes, &image.seed) {
        return Ok(None);
    }
    let Ok(disk) = Disk::open(base) else { return Ok(None) };
    let found = Differences::find(image, &other, &places_of(&disk, image.bytes));
    Ok(Some(found.map_err(|error| opened.failure(error))?))
}

/// Whether the partition table of a disk ends behind the image that was written to it.
fn has_moved_table(path: &Path, image_bytes: u64) -> bool {
    Disk::open(path).is_ok_and(|disk| disk.bytes > image_bytes)
}

/// What SEED says of itself must be what the manifest says of it.
fn check_seed(path: &Path, seed: &Seed, manifest: &Manifest) -> Result<(), VerifyError> {
    let entry = &manifest.seed;
    let identity = manifest.identity.as_ref().map(|identity| identity.device_id.clone());
    let token = seed.join_token.as_ref().map(|token| Digest::of(token.expose().as_bytes()));
    let facts = [
        ("the device's name", seed.device_name.as_ref() == Some(&manifest.device.name)),
        ("the fleet", seed.fleet.name == entry.fleet),
        ("the hub", seed.hub.as_ref().map(|hub| &hub.url) == entry.hub.as_ref()),
        ("the join token", entry.join_token_sha256.is_none_or(|hash| token == Some(hash))),
        ("the configuration", seed.config.as_deref().map(Digest::of) == entry.config_sha256),
        ("the device's key", seed.identity.as_ref().map(IdentitySeed::device_id) == identity),
    ];
    match facts.into_iter().find(|(_, same)| !same) {
        Some((what, _)) => Err(VerifyError::Contradiction { path: path.to_owned(), what }),
        None => Ok(()),
    }
}

/// The base must be the one the manifest names; that it equals the image outside SEED follows from its digest with zeros there.
fn check_base(path: &Path, base: &Path, manifest: &Manifest) -> Result<(), VerifyError> {
    let opened = Opened::open(base)?;
    let [whole, blank] = both_digests(&opened, &opened.image(), &opened.read_seed()?)?;
    let expected = manifest.base.sha256;
    if whole != expected {
        return Err(VerifyError::OtherBase { path: path.to_owned(), base: base.to_owned(), expected, found: whole });
    }
    if blank != manifest.base.blank_sha256 {
        return Err(VerifyError::Contradiction { path: path.to_owned(), what: "its base" });
    }
    Ok(())
}
