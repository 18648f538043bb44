//! The station's signature over a document: made and checked in one place for all that a station signs. Knows no document's form; whoever reads one
//! also sees to it that the document has only one.

use ed25519_dalek::{Signature, Signer};
use machine_config::{KeyId, PublicKey, SigningKey};
use serde::Serialize;

/// Why a signature is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SignatureError {
    /// It is none over this document by this key.
    #[error("its signature by station {station} does not hold")]
    Broken {
        /// The key that the document names.
        station: KeyId,
    },
    /// Signed by another station.
    #[error("station {found} signed it, not {expected}")]
    OtherStation {
        /// The key that the document names.
        found: KeyId,
        /// The key that should have signed.
        expected: KeyId,
    },
}

/// What is signed: the purpose, so that no signature made for another one is one over this document, then the document's compact JSON.
fn message(purpose: &[u8], document: &impl Serialize) -> Vec<u8> {
    [purpose, &serde_json::to_vec(document).expect("plain fields have a JSON form")].concat()
}

/// The signature over a document, in hexadecimal.
pub(crate) fn sign(purpose: &[u8], document: &impl Serialize, station: &SigningKey) -> String {
    hex::encode(station.sign(&message(purpose, document)).to_bytes())
}

/// Whether `signature` is that of `station`, the key the document names, and that key the expected one, when one is.
pub(crate) fn check(
    purpose: &[u8],
    document: &impl Serialize,
    signature: &str,
    station: &PublicKey,
    expected: Option<&PublicKey>,
) -> Result<(), SignatureError> {
    if let Some(expected) = expected.filter(|expected| *expected != station) {
        return Err(SignatureError::OtherStation { found: station.id(), expected: expected.id() });
    }
    // Lower case only: a document with a signature in two forms has two forms itself.
    let bytes = hex::decode(signature).ok().filter(|bytes| hex::encode(bytes) == signature);
    let bytes = bytes.and_then(|bytes| Signature::from_slice(&bytes).ok());
    match bytes.map(|bytes| station.verifying_key().verify_strict(&message(purpose, document), &bytes)) {
        Some(Ok(())) => Ok(()),
        Some(Err(_)) | None => Err(SignatureError::Broken { station: station.id() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stamp::testing::{key, public};

    #[test]
    fn a_signature_holds_for_its_purpose_document_and_key_alone() {
        let (one, two) = (public(1), public(2));
        let signature = sign(b"one\0", &"text", &key(1));
        let broken = |key: &PublicKey| Err(SignatureError::Broken { station: key.id() });
        assert_eq!(check(b"one\0", &"text", &signature, &one, None), Ok(()));
        assert_eq!(check(b"one\0", &"text", &signature, &one, Some(&one)), Ok(()));
        assert_eq!(check(b"two\0", &"text", &signature, &one, None), broken(&one));
        assert_eq!(check(b"one\0", &"test", &signature, &one, None), broken(&one));
        assert_eq!(check(b"one\0", &"text", &signature, &two, None), broken(&two));
        assert_eq!(check(b"one\0", &"text", &signature[2..], &one, None), broken(&one));
        assert_eq!(check(b"one\0", &"text", "no digits", &one, None), broken(&one));
        assert_eq!(check(b"one\0", &"text", &signature.to_uppercase(), &one, None), broken(&one));
        let other = SignatureError::OtherStation { found: one.id(), expected: two.id() };
        assert_eq!(check(b"one\0", &"text", &signature, &one, Some(&two)), Err(other));
    }
}
