//! Proves a stamped image: the manifest is the station's, the image is the manifest's, SEED is the device's, and outside SEED not one byte of the
//! base was changed. Each way in which that can fail has its own words.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use machine_config::PublicKey;
use machine_config::seed::{self, DecodeError, Seed};
use serde::Serialize;

use super::base::{BaseError, Opened};
use super::hash::digests;
use super::manifest::{Manifest, ManifestError};
use crate::image::digest::Digest;

/// Why an image is not what its manifest says.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The manifest is not to be believed.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A file is no image, or cannot be read.
    #[error(transparent)]
    Base(#[from] BaseError),
    /// Another length.
    #[error("cannot trust {}: it has {found} bytes, its manifest says {expected}; is it the manifest of this image?", path.display())]
    Length {
        /// The image.
        path: PathBuf,
        /// As found.
        found: u64,
        /// By the manifest.
        expected: u64,
    },
    /// Changed outside SEED.
    #[error("cannot trust {}: it differs from its base outside SEED; write or stamp the image again", path.display())]
    Outside {
        /// The image.
        path: PathBuf,
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
}

/// Proves the image at `path` by the manifest in `manifest`, under the station's key and against the base where they are given.
///
/// # Errors
/// See [`VerifyError`].
pub fn verify(path: &Path, manifest: &[u8], station: Option<&PublicKey>, base: Option<&Path>) -> Result<Proof, VerifyError> {
    let manifest = Manifest::read(manifest, station)?;
    let opened = Opened::open(path)?;
    let found = opened.image().bytes;
    if found != manifest.image.bytes {
        return Err(VerifyError::Length { path: path.to_owned(), found, expected: manifest.image.bytes });
    }
    let seed = opened.read_seed()?;
    let [whole, blank] = both_digests(&opened, &seed)?;
    if blank != manifest.base.blank_sha256 {
        return Err(VerifyError::Outside { path: path.to_owned() });
    }
    if Digest::of(&seed) != manifest.seed.sha256 {
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
    Ok(Proof { image: path.to_owned(), manifest, station_known: station.is_some(), base_compared: base.is_some() })
}

/// The digest of the whole image, as it is and with zeros in SEED.
fn both_digests(opened: &Opened, seed: &[u8]) -> Result<[Digest; 2], BaseError> {
    let zeros = vec![0; seed.len()];
    let found = digests(&opened.image(), &[seed, &zeros], |seed| Cow::Borrowed(*seed)).map_err(|error| opened.failure(error))?;
    Ok([found[0], found[1]])
}

/// What SEED says of itself must be what the manifest says of it.
fn check_seed(path: &Path, seed: &Seed, manifest: &Manifest) -> Result<(), VerifyError> {
    let entry = &manifest.seed;
    let facts = [
        ("the device's name", seed.device_name.as_ref() == Some(&manifest.device.name)),
        ("the fleet", seed.fleet.name == entry.fleet),
        ("the hub", seed.hub.as_ref().map(|hub| &hub.url) == entry.hub.as_ref()),
        ("the configuration", seed.config.as_deref().map(Digest::of) == entry.config_sha256),
    ];
    match facts.into_iter().find(|(_, same)| !same) {
        Some((what, _)) => Err(VerifyError::Contradiction { path: path.to_owned(), what }),
        None => Ok(()),
    }
}

/// The base must be the one the manifest names; that it equals the image outside SEED follows from its digest with zeros there.
fn check_base(path: &Path, base: &Path, manifest: &Manifest) -> Result<(), VerifyError> {
    let opened = Opened::open(base)?;
    let [whole, blank] = both_digests(&opened, &opened.read_seed()?)?;
    let expected = manifest.base.sha256;
    if whole != expected {
        return Err(VerifyError::OtherBase { path: path.to_owned(), base: base.to_owned(), expected, found: whole });
    }
    if blank != manifest.base.blank_sha256 {
        return Err(VerifyError::Contradiction { path: path.to_owned(), what: "its base" });
    }
    Ok(())
}
