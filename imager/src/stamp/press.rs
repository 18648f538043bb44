//! The press: a base that was hashed once, and the station's key. It turns a stamp into what is particular to one device (SEED's bytes and the signed
//! manifest) without writing an image, for whoever sends the base with that SEED in its place.

use std::borrow::Cow;

use ed25519_dalek::SigningKey;

use super::base::{Base, BaseError};
use super::hash::digests;
use super::manifest::{BaseEntry, ImageEntry, Manifest};
use super::plan::Stamp;
use crate::image::digest::{Digest, Hasher};

/// A base ready to be stamped any number of times, by any number of threads.
#[derive(Debug)]
pub struct Press {
    base: Base,
    station: SigningKey,
    entry: BaseEntry,
    /// What stands before SEED, hashed.
    before: Hasher,
}

/// One device's own part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imprint {
    /// The content of SEED, the whole area.
    pub seed: Vec<u8>,
    /// SHA-256 of the whole image with it.
    pub image_sha256: Digest,
    /// The text of the signed manifest.
    pub manifest: String,
}

/// What SEED holds in an image that is hashed.
enum Content<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// A stamp.
    Stamp(&'a Stamp),
}

impl Content<'_> {
    fn bytes(&self) -> Cow<'_, [u8]> {
        match self {
            Self::Bytes(bytes) => Cow::Borrowed(bytes),
            Self::Stamp(stamp) => Cow::Owned(stamp.seed()),
        }
    }
}

impl Press {
    /// Hashes the base.
    ///
    /// # Errors
    /// [`BaseError`] when it cannot be read or was changed since it was opened.
    pub fn new(base: Base, station: SigningKey) -> Result<Self, BaseError> {
        let own = base.opened.read_seed()?;
        let image = base.opened.image();
        let before = image.hash_before().map_err(|source| base.opened.failure(source))?;
        let zeros = vec![0; own.len()];
        let contents = [Content::Bytes(&own), Content::Bytes(&zeros)];
        let found = digests(&image, &before, &contents, Content::bytes).map_err(|source| base.opened.failure(source))?;
        base.opened.check_unchanged()?;
        let (version, board) = (base.release.version.clone(), base.release.board.clone());
        let entry = BaseEntry { version, board, sha256: found[0], blank_sha256: found[1] };
        Ok(Self { base, station, entry, before })
    }

    /// What is stamped. `base().opened.seed()` is where SEED's bytes belong.
    pub fn base(&self) -> &Base {
        &self.base
    }

    /// What manifests say of the base.
    pub fn entry(&self) -> &BaseEntry {
        &self.entry
    }

    /// One device's SEED and manifest. Reads what stands after SEED: next to nothing where SEED is at the end, as in an image that runs from RAM.
    ///
    /// # Errors
    /// [`BaseError`] when the base cannot be read or was changed.
    pub fn imprint(&self, stamp: &Stamp) -> Result<Imprint, BaseError> {
        let seed = stamp.seed();
        let image_sha256 = self.hash(&[Content::Bytes(&seed)])?[0];
        Ok(Imprint { manifest: self.manifest(stamp, image_sha256), seed, image_sha256 })
    }

    /// SHA-256 of the base with each of these stamps.
    pub(super) fn digests(&self, stamps: &[Stamp]) -> Result<Vec<Digest>, BaseError> {
        self.hash(&stamps.iter().map(Content::Stamp).collect::<Vec<_>>())
    }

    fn hash(&self, contents: &[Content<'_>]) -> Result<Vec<Digest>, BaseError> {
        let found = digests(&self.base.opened.image(), &self.before, contents, Content::bytes);
        let found = found.map_err(|source| self.base.opened.failure(source))?;
        self.base.opened.check_unchanged()?;
        Ok(found)
    }

    /// The signed manifest of a device whose image has this digest; [`Press::imprint`] computes both.
    pub fn manifest(&self, stamp: &Stamp, image_sha256: Digest) -> String {
        let image = ImageEntry { bytes: self.base.opened.image().bytes, sha256: image_sha256 };
        Manifest::new(self.entry.clone(), stamp.facts.clone(), image, &self.station).sign(&self.station)
    }
}
