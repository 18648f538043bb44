//! The secret half of a device's identity, as SEED carries it: an Ed25519 seed of 32 bytes, written as base64.
//!
//! Like [`Secret`] it is never shown: `Debug` and serialisation give the mask, and it is wiped from memory when it goes.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::SigningKey;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::{Zeroize, Zeroizing};

use crate::secret::{Secret, is_exposed};
use crate::types::DeviceId;

/// The 32 secret bytes an Ed25519 key is made of.
#[derive(Clone, PartialEq, Eq)]
pub struct IdentitySeed([u8; 32]);

impl IdentitySeed {
    /// These bytes; they must come from a source of random numbers.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The key, for the one who signs with it.
    pub fn signing_key(&self) -> SigningKey {
        SigningKey::from_bytes(&self.0)
    }

    /// The device id that a device with this key has.
    pub fn device_id(&self) -> DeviceId {
        DeviceId::of(&self.signing_key().verifying_key())
    }
}

impl Drop for IdentitySeed {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl Serialize for IdentitySeed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = Zeroizing::new(if is_exposed() { STANDARD.encode(self.0) } else { Secret::MASK.to_owned() });
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for IdentitySeed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        let bytes = STANDARD.decode(&*text).map(Zeroizing::new).ok();
        let seed = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes.as_slice()).ok());
        // The value is not repeated: it may be a secret with a slip in it.
        seed.map(Self).ok_or_else(|| serde::de::Error::custom("an identity is not base64 of 32 bytes"))
    }
}

impl fmt::Debug for IdentitySeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Secret::MASK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::exposed;

    #[test]
    fn the_key_is_written_only_where_it_is_asked_for_and_never_printed() {
        let seed = IdentitySeed::new([7; 32]);
        assert_eq!(format!("{seed:?}"), "********");
        assert_eq!(serde_json::to_string(&seed).expect("JSON"), "\"********\"");
        let written = exposed(|| serde_json::to_string(&seed)).expect("JSON");
        assert_eq!(serde_json::from_str::<IdentitySeed>(&written).expect("its own form"), seed);
    }

    #[test]
    fn a_key_of_another_length_or_form_is_refused_and_not_repeated() {
        for text in ["", "********", "BwcH", &STANDARD.encode([7; 33]), &"07".repeat(32)] {
            let error = serde_json::from_str::<IdentitySeed>(&format!("{text:?}")).expect_err(text).to_string();
            assert!(error.contains("base64 of 32 bytes") && (text.is_empty() || !error.contains(text)), "{error}");
        }
    }

    #[test]
    fn the_device_id_is_that_of_the_key() {
        let key = SigningKey::from_bytes(&[9; 32]);
        assert_eq!(IdentitySeed::new([9; 32]).device_id(), DeviceId::of(&key.verifying_key()));
    }
}
