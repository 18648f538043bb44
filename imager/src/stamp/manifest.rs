//! What a stamped image is, in words that can be proved: a JSON file beside it, signed by the station. It has exactly one byte form, and holds no
//! secret. What it says is worth what its signature is; [`Manifest::read`] is the only way from bytes to one.

use std::collections::BTreeMap;

use machine_config::types::{DnsName, HostName, MacAddress};
use machine_config::{DeviceId, KeyId, PublicKey, SigningKey};
use serde::{Deserialize, Serialize};

use crate::image::digest::Digest;
use crate::signed::{self, SignatureError};

/// Stands before the manifest in what is signed, so that no signature made for another purpose is one over a manifest.
const CONTEXT: &[u8] = b"skerry.dev/v1 stamp manifest signature\0";
/// The form's name and version.
const FORM: &str = "skerry.dev/v1 stamp";

/// What was stamped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Manifest {
    /// Always the same words.
    form: String,
    /// The image it was made from.
    pub base: BaseEntry,
    /// Its SEED.
    pub seed: SeedEntry,
    /// The result.
    pub image: ImageEntry,
    /// The device it is for.
    pub device: DeviceEntry,
    /// Who the device will be, when its key was made before it; none: it makes its own on first boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<IdentityEntry>,
    /// Who stamped it.
    pub station: PublicKey,
}

/// The image that was stamped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct BaseEntry {
    /// Version of Skerry.
    pub version: String,
    /// Its board.
    pub board: String,
    /// SHA-256 of the whole file.
    pub sha256: Digest,
    /// SHA-256 of the whole file with zeros in SEED: the same for every image stamped from it.
    pub blank_sha256: Digest,
}

/// What is particular to the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SeedEntry {
    /// SHA-256 of its content: one copy without the zeros that fill it. The other copy is equal.
    pub sha256: Digest,
    /// The fleet the device obeys.
    pub fleet: DnsName,
    /// Address of its hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub: Option<String>,
    /// Where its join token came from.
    pub join_token: TokenOrigin,
    /// SHA-256 of its join token's text, if the token was made: 256 random bits, so that the hash gives nobody the token. Of a token that people chose it
    /// would let anybody try words, so there is none. Manifests of earlier versions have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join_token_sha256: Option<Digest>,
    /// SHA-256 of its signed configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_sha256: Option<Digest>,
}

/// Where a join token came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenOrigin {
    /// There is none.
    None,
    /// The inventory.
    Inventory,
    /// It was made when the image was stamped.
    Made,
}

impl SeedEntry {
    /// The hash of the token that was made, for the hub that shall know it.
    pub fn made_token(&self) -> Option<&Digest> {
        self.join_token_sha256.as_ref().filter(|_| self.join_token == TokenOrigin::Made)
    }

    /// Whether this is the same SEED as `newer`, which this version planned; a manifest of an earlier version does not have all of it.
    pub(super) fn is_same(&self, newer: &Self) -> bool {
        let join_token_sha256 = self.join_token_sha256.or(newer.join_token_sha256);
        Self { join_token_sha256, ..self.clone() } == *newer
    }
}

/// The stamped image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ImageEntry {
    /// Length.
    pub bytes: u64,
    /// SHA-256 of the whole file.
    pub sha256: Digest,
}

/// The device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DeviceEntry {
    /// Its name.
    pub name: HostName,
    /// Its serial number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// The MAC address of a wired port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddress>,
    /// The warehouse's labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// Who a device will be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct IdentityEntry {
    /// The id it will show: the hash of the public key.
    pub device_id: DeviceId,
}

/// What is particular to one device, as the manifest has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceFacts {
    /// Its SEED.
    pub seed: SeedEntry,
    /// The device.
    pub device: DeviceEntry,
    /// Who it will be.
    pub identity: Option<IdentityEntry>,
}

/// Why a manifest is not believed.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not a manifest.
    #[error("cannot use the manifest: it is not one that `imager stamp` wrote")]
    Form(#[source] serde_json::Error),
    /// Of another version.
    #[error("cannot use the manifest: its form is `{found}`, this version reads `{FORM}`")]
    Version {
        /// As found.
        found: String,
    },
    /// The same words in another form.
    #[error(
        "cannot trust the manifest: it was written again or changed after it was signed; take the file that `imager stamp` wrote"
    )]
    Rewritten,
    /// The signature does not hold.
    #[error("cannot trust the manifest: its signature by station {station} does not hold; it was changed after it was signed")]
    Signature {
        /// The key it names.
        station: KeyId,
    },
    /// Signed by another station.
    #[error("cannot trust the manifest: station {found} signed it, not {expected}; is --station-key the right one?")]
    OtherStation {
        /// The key that signed.
        found: KeyId,
        /// The key that should have.
        expected: KeyId,
    },
}

impl From<SignatureError> for ManifestError {
    fn from(error: SignatureError) -> Self {
        match error {
            SignatureError::Broken { station } => Self::Signature { station },
            SignatureError::OtherStation { found, expected } => Self::OtherStation { found, expected },
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    manifest: Manifest,
    signature: String,
}

impl Signed {
    fn to_text(&self) -> String {
        serde_json::to_string_pretty(self).expect("plain fields have a JSON form") + "\n"
    }
}

impl Manifest {
    /// What was stamped, by the station with this key.
    pub fn new(base: BaseEntry, facts: DeviceFacts, image: ImageEntry, station: &SigningKey) -> Self {
        let station = PublicKey::try_from(station.verifying_key()).expect("a key that signs is strong");
        let DeviceFacts { seed, device, identity } = facts;
        Self { form: FORM.into(), base, seed, image, device, identity, station }
    }

    /// The file's text, signed. The key is the one [`Manifest::new`] was given; another makes a file that nobody believes.
    pub fn sign(self, station: &SigningKey) -> String {
        let signature = signed::sign(CONTEXT, &self, station);
        Signed { manifest: self, signature }.to_text()
    }

    /// The manifest in a file whose signature holds, under `station` when it is given, else under the key that the manifest names.
    ///
    /// # Errors
    /// See [`ManifestError`].
    pub fn read(file: &[u8], station: Option<&PublicKey>) -> Result<Self, ManifestError> {
        let signed: Signed = serde_json::from_slice(file).map_err(ManifestError::Form)?;
        if signed.manifest.form != FORM {
            return Err(ManifestError::Version { found: signed.manifest.form });
        }
        if signed.to_text().as_bytes() != file {
            return Err(ManifestError::Rewritten);
        }
        let manifest = signed.manifest;
        signed::check(CONTEXT, &manifest, &signed.signature, &manifest.station, station)?;
        Ok(manifest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stamp::testing::{key, public};

    fn manifest() -> Manifest {
        let digest = |text: &str| Digest::of(text.as_bytes());
        let base = BaseEntry { version: "0.1.0".into(), board: "nuc".into(), sha256: digest("a"), blank_sha256: digest("b") };
        let seed = SeedEntry {
            sha256: digest("c"),
            fleet: "acme".parse().expect("a name"),
            hub: None,
            join_token: TokenOrigin::Made,
            join_token_sha256: Some(digest("t")),
            config_sha256: None,
        };
        let name = "box-1".parse().expect("a name");
        let labels = BTreeMap::from([("shop".into(), "42".into())]);
        let device = DeviceEntry { name, serial: Some("S1".into()), mac: None, labels };
        let identity = Some(IdentityEntry { device_id: DeviceId::of(&key(5).verifying_key()) });
        let image = ImageEntry { bytes: 7, sha256: digest("d") };
        Manifest::new(base, DeviceFacts { seed, device, identity }, image, &key(1))
    }

    #[test]
    fn a_signed_manifest_reads_back() {
        let text = manifest().sign(&key(1));
        assert_eq!(Manifest::read(text.as_bytes(), Some(&public(1))).expect("holds"), manifest());
        assert_eq!(Manifest::read(text.as_bytes(), None).expect("holds"), manifest());
    }

    #[test]
    fn a_manifest_from_before_it_had_the_tokens_hash_reads_back() {
        let mut old = manifest();
        old.seed.join_token_sha256 = None;
        let text = old.clone().sign(&key(1));
        assert!(!text.contains("joinTokenSha256"), "{text}");
        let read = Manifest::read(text.as_bytes(), None).expect("holds");
        assert_eq!((&read, read.seed.made_token()), (&old, None));
        assert!(read.seed.is_same(&manifest().seed), "the hash is new, the SEED is not");
        let other = SeedEntry { join_token_sha256: Some(Digest::of(b"u")), ..manifest().seed };
        assert!(!other.is_same(&manifest().seed));
    }

    #[test]
    fn every_byte_counts() {
        let text = manifest().sign(&key(1)).into_bytes();
        for at in 0..text.len() {
            let mut changed = text.clone();
            changed[at] ^= 1;
            assert!(Manifest::read(&changed, None).is_err(), "byte {at}");
        }
        assert!(Manifest::read(&text[..text.len() - 1], None).is_err());
    }

    #[test]
    fn a_manifest_of_another_station_is_told_from_a_changed_one() {
        let text = manifest().sign(&key(1));
        assert!(matches!(Manifest::read(text.as_bytes(), Some(&public(2))), Err(ManifestError::OtherStation { .. })));
        let changed = text.replace("box-1", "box-2");
        assert!(matches!(Manifest::read(changed.as_bytes(), None), Err(ManifestError::Signature { .. })));
        let forged = manifest().sign(&key(2));
        assert!(matches!(Manifest::read(forged.as_bytes(), None), Err(ManifestError::Signature { .. })));
        let compact = text.replace("\n", "");
        assert!(matches!(Manifest::read(compact.as_bytes(), None), Err(ManifestError::Rewritten)));
        assert!(matches!(Manifest::read(b"{}", None), Err(ManifestError::Form(_))));
    }

    #[test]
    fn a_signature_without_its_context_does_not_hold() {
        let bytes = serde_json::to_vec(&manifest()).expect("JSON");
        let signature = hex::encode(ed25519_dalek::Signer::sign(&key(1), &bytes).to_bytes());
        let text = Signed { manifest: manifest(), signature }.to_text();
        assert!(matches!(Manifest::read(text.as_bytes(), None), Err(ManifestError::Signature { .. })));
    }
}
