//! Who calls: the device's proof over the hub's nonce and this TLS channel, checked. Pure.
//!
//! A proof made for another hub, another nonce or another channel signs other bytes and is refused; so is a key for which anyone could sign.

use api::hub::v1::Hello;
use api::hub::{EXPORTER_BYTES, NONCE_BYTES, proof_statement};
use ed25519_dalek::{Signature, VerifyingKey};
use machine_config::DeviceId;

/// What a proof must be about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// The hub's own pin.
    pub pin: [u8; 32],
    /// What it sent in the challenge.
    pub nonce: [u8; NONCE_BYTES],
    /// The TLS exporter of the connection.
    pub exporter: [u8; EXPORTER_BYTES],
}

/// Why somebody is not the device he says he is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Key or signature have another length.
    #[error("its key or its signature has a wrong length")]
    Length,
    /// No key, or a weak one.
    #[error("its key is no strong Ed25519 key")]
    Key,
    /// Signed by another key, or over other bytes.
    #[error("its signature is not one of this key over this nonce and this connection")]
    Signature,
}

/// A device that proved its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// Hash of the key.
    pub id: DeviceId,
    /// The key.
    pub key: VerifyingKey,
}

/// Who a greeting says it is from, proved or not; none: it is no key.
pub(super) fn claimed(hello: &Hello) -> Option<DeviceId> {
    let public_key: [u8; 32] = hello.public_key.as_slice().try_into().ok()?;
    VerifyingKey::from_bytes(&public_key).ok().map(|key| DeviceId::of(&key))
}

/// Checks the proof in a greeting.
pub(super) fn prove(hello: &Hello, channel: &Channel) -> Result<Proven, ProofError> {
    let public_key: [u8; 32] = hello.public_key.as_slice().try_into().map_err(|_| ProofError::Length)?;
    let signature = Signature::from_slice(&hello.proof).map_err(|_| ProofError::Length)?;
    let key = VerifyingKey::from_bytes(&public_key).map_err(|_| ProofError::Key)?;
    if key.is_weak() {
        return Err(ProofError::Key);
    }
    let statement = proof_statement(&channel.pin, &channel.nonce, &channel.exporter);
    key.verify_strict(&statement, &signature).map_err(|_| ProofError::Signature)?;
    Ok(Proven { id: DeviceId::of(&key), key })
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer as _, SigningKey};

    use super::*;

    fn channel() -> Channel {
        Channel { pin: [1; 32], nonce: [2; 32], exporter: [3; 32] }
    }

    fn hello(key: &SigningKey, channel: &Channel) -> Hello {
        let proof = key.sign(&proof_statement(&channel.pin, &channel.nonce, &channel.exporter)).to_vec();
        Hello { public_key: key.verifying_key().to_bytes().to_vec(), proof, ..Hello::default() }
    }

    #[test]
    fn a_proof_counts_on_its_own_channel_only() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let mine = hello(&key, &channel());
        assert_eq!(prove(&mine, &channel()).unwrap().key, key.verifying_key());
        for other in [
            Channel { pin: [9; 32], ..channel() },
            Channel { nonce: [9; 32], ..channel() },
            Channel { exporter: [9; 32], ..channel() },
        ] {
            assert_eq!(prove(&mine, &other), Err(ProofError::Signature), "{other:?}");
        }
    }

    #[test]
    fn nobody_takes_a_device_id_without_its_key() {
        let mut stolen = hello(&SigningKey::from_bytes(&[7; 32]), &channel());
        stolen.public_key = SigningKey::from_bytes(&[8; 32]).verifying_key().to_bytes().to_vec();
        assert_eq!(prove(&stolen, &channel()), Err(ProofError::Signature));
    }

    #[test]
    fn keys_and_signatures_that_are_none_are_refused() {
        let good = hello(&SigningKey::from_bytes(&[7; 32]), &channel());
        for (public_key, proof, expected) in [
            (vec![], good.proof.clone(), ProofError::Length),
            (vec![0; 33], good.proof.clone(), ProofError::Length),
            (good.public_key.clone(), vec![0; 63], ProofError::Length),
            (vec![0; 32], good.proof.clone(), ProofError::Key),
            (VerifyingKey::default().to_bytes().to_vec(), vec![0; 64], ProofError::Key),
        ] {
            let hello = Hello { public_key, proof, ..Hello::default() };
            assert_eq!(prove(&hello, &channel()), Err(expected));
        }
    }
}
