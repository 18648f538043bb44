//! Fleet keys: the public keys a device obeys, their short ids, and the ring they hang on.
//!
//! A key that is not a point of the curve, or is one of the few weak points for which anyone can make signatures, is refused here,
//! so that no later code has to think of it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Serialize};

pub use crate::types::KeyId;
use crate::types::ValueError;

/// An Ed25519 public key, written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// The key itself.
    pub fn verifying_key(&self) -> &VerifyingKey {
        &self.0
    }

    /// Its short id.
    pub fn id(&self) -> KeyId {
        KeyId::of(&self.0)
    }
}

impl TryFrom<VerifyingKey> for PublicKey {
    type Error = ValueError;

    fn try_from(key: VerifyingKey) -> Result<Self, ValueError> {
        if key.is_weak() {
            return Err(ValueError {
                value: hex::encode(key.as_bytes()),
                expected: "a strong Ed25519 public key: make a new one",
            });
        }
        Ok(Self(key))
    }
}

impl TryFrom<String> for PublicKey {
    type Error = ValueError;

    fn try_from(value: String) -> Result<Self, ValueError> {
        let bytes = hex::decode(&value).ok().filter(|_| !value.bytes().any(|b| b.is_ascii_uppercase()));
        let key =
            bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()).and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok());
        match key {
            Some(key) => Self::try_from(key),
            None => Err(ValueError { value, expected: "an Ed25519 public key: 64 lower-case hexadecimal digits" }),
        }
    }
}

impl FromStr for PublicKey {
    type Err = ValueError;

    fn from_str(value: &str) -> Result<Self, ValueError> {
        Self::try_from(value.to_owned())
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        key.to_string()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0.as_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// The keys whose signatures are obeyed. An empty ring obeys nobody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keyring(BTreeMap<KeyId, PublicKey>);

impl Keyring {
    /// A ring of these keys.
    pub fn new(keys: impl IntoIterator<Item = PublicKey>) -> Self {
        Self(keys.into_iter().map(|key| (key.id(), key)).collect())
    }

    /// The key of this id.
    pub fn get(&self, id: &KeyId) -> Option<&PublicKey> {
        self.0.get(id)
    }

    /// The ids of all keys, in order.
    pub fn ids(&self) -> impl Iterator<Item = &KeyId> {
        self.0.keys()
    }

    /// True: obeys nobody.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;

    fn key(seed: u8) -> PublicKey {
        PublicKey::try_from(SigningKey::from_bytes(&[seed; 32]).verifying_key()).expect("a made key is strong")
    }

    #[test]
    fn keys_and_ids_round_trip_as_text() {
        let key = key(1);
        assert_eq!(key.to_string().parse(), Ok(key));
        assert_eq!(key.id().to_string().parse(), Ok(key.id()));
        assert_eq!(key.id().as_str().len(), 16);
    }

    #[test]
    fn weak_and_malformed_keys_never_reach_a_ring() {
        let identity_point = format!("01{}", "00".repeat(31));
        let small_order = "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05";
        for bad in [&identity_point, small_order, "", "00", "zz", &"A".repeat(64), &"a".repeat(66)] {
            assert!(bad.parse::<PublicKey>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_ring_finds_its_keys_and_no_others() {
        let ring = Keyring::new([key(1), key(2)]);
        assert_eq!(ring.get(&key(1).id()), Some(&key(1)));
        assert_eq!(ring.get(&key(3).id()), None);
        assert_eq!(ring.ids().count(), 2);
        assert!(Keyring::default().is_empty());
    }
}
