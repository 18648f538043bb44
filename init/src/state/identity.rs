//! The device's identity: an Ed25519 key made on first boot. Its public half's hash is the device id.
//!
//! The key leaves this process in no form; apid gets a leaf certificate that this key signed (`config::tls`).

use ed25519_dalek::SigningKey;
use machine_config::{DeviceId, IdentitySeed};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

/// Version of the file's form.
const VERSION: u32 = 1;

/// The file: `{"version":1,"algorithm":"ed25519","seed":"<64 hex digits>"}`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    algorithm: String,
    seed: String,
}

impl Drop for File {
    fn drop(&mut self) {
        self.seed.zeroize();
    }
}

/// Why an identity cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The kernel gave no random bytes.
    #[error("cannot draw a random key")]
    Random(#[source] getrandom::Error),
    /// The file is not what this version writes. A new key would be another device, so none is made.
    #[error("cannot read the identity key: {why}; restore STATE, or flash the image again to make a new device of it")]
    Damaged {
        /// What is wrong.
        why: &'static str,
    },
}

/// The key pair.
#[derive(Clone)]
pub struct Identity(SigningKey);

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Identity").field(&self.device_id()).finish()
    }
}

impl Identity {
    /// Makes a new one.
    pub fn generate() -> Result<Self, IdentityError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *seed).map_err(IdentityError::Random)?;
        Ok(Self(SigningKey::from_bytes(&seed)))
    }

    /// The key that was made for this device beforehand.
    pub fn from_seed(seed: &IdentitySeed) -> Self {
        Self(seed.signing_key())
    }

    /// For SEED of the disk that this device moves to.
    pub fn to_seed(&self) -> IdentitySeed {
        IdentitySeed::new(self.0.to_bytes())
    }

    /// Reads the file.
    pub fn from_file(bytes: &[u8]) -> Result<Self, IdentityError> {
        let damaged = |why| IdentityError::Damaged { why };
        let file: File = serde_json::from_slice(bytes).map_err(|_| damaged("its form is not that of an identity key"))?;
        if file.version != VERSION || file.algorithm != "ed25519" {
            return Err(damaged("it was written by a newer version"));
        }
        let mut seed = Zeroizing::new([0; 32]);
        hex::decode_to_slice(&file.seed, &mut *seed).map_err(|_| damaged("its seed is not 64 hexadecimal digits"))?;
        Ok(Self(SigningKey::from_bytes(&seed)))
    }

    /// The file's bytes.
    pub fn to_file(&self) -> Zeroizing<Vec<u8>> {
        let seed = Zeroizing::new(self.0.to_bytes());
        let file = File { version: VERSION, algorithm: "ed25519".to_owned(), seed: hex::encode(*seed) };
        let mut bytes = Zeroizing::new(serde_json::to_vec(&file).expect("three plain fields"));
        bytes.push(b'\n');
        bytes
    }

    /// SHA-256 of the public key.
    pub fn device_id(&self) -> DeviceId {
        DeviceId::of(&self.0.verifying_key())
    }

    /// The key itself, for signing certificates.
    pub fn signing_key(&self) -> &SigningKey {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_was_written() {
        let identity = Identity::generate().expect("random bytes");
        let again = Identity::from_file(&identity.to_file()).expect("its own file");
        assert_eq!(again.device_id(), identity.device_id());
        assert_ne!(Identity::generate().expect("random bytes").device_id(), identity.device_id());
    }

    #[test]
    fn a_device_keeps_its_id_when_it_moves_to_a_disk() {
        let identity = Identity::generate().expect("random bytes");
        assert_eq!(Identity::from_seed(&identity.to_seed()).device_id(), identity.device_id());
        assert_eq!(identity.to_seed().device_id(), identity.device_id());
    }

    #[test]
    fn the_file_has_exactly_this_form() {
        let identity = Identity(SigningKey::from_bytes(&[7; 32]));
        let expected = format!("{{\"version\":1,\"algorithm\":\"ed25519\",\"seed\":\"{}\"}}\n", "07".repeat(32));
        assert_eq!(identity.to_file().as_slice(), expected.as_bytes());
    }

    #[test]
    fn a_damaged_key_is_never_replaced_quietly() {
        for bytes in
            ["", "{}", r#"{"version":2,"algorithm":"ed25519","seed":""}"#, r#"{"version":1,"algorithm":"ed25519","seed":"07"}"#]
        {
            assert!(Identity::from_file(bytes.as_bytes()).is_err(), "{bytes}");
        }
    }

    #[test]
    fn the_key_is_not_printed() {
        let identity = Identity(SigningKey::from_bytes(&[7; 32]));
        assert!(!format!("{identity:?}").contains("0707"));
    }
}
