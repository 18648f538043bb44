//! From bytes nobody vouches for to a document a fleet key signed. The one place where signatures are checked.
//!
//! [`Unverified`] shows nothing of its document; [`Unverified::verify`] is the only way through.

use std::fmt;

use crate::envelope::{self, Envelope, EnvelopeError};
use crate::key::{KeyId, Keyring};
use crate::sign::signed_bytes;
use crate::types::Digest;

/// A signed file whose signature has not been checked. It has no getter for the document.
pub struct Unverified<'a> {
    file: &'a str,
    envelope: Envelope<'a>,
}

/// Why a signature does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The key is not on the ring.
    #[error("it is signed with key {key_id}, which this fleet does not know ({}); sign it with the fleet's key", known_keys(.known))]
    KeyUnknown {
        /// The key the signature claims.
        key_id: KeyId,
        /// The keys that would count.
        known: Vec<KeyId>,
    },
    /// The signature is not over these bytes by that key.
    #[error("its signature by key {key_id} does not hold: the file was changed after signing; sign it again")]
    Signature {
        /// The key the signature claims.
        key_id: KeyId,
    },
}

fn known_keys(known: &[KeyId]) -> String {
    if known.is_empty() {
        return "it knows none".into();
    }
    let ids: Vec<&str> = known.iter().map(KeyId::as_str).collect();
    format!("it knows {}", ids.join(", "))
}

impl<'a> Unverified<'a> {
    /// Takes a signed file apart without believing any of it.
    ///
    /// # Errors
    /// See [`EnvelopeError`].
    pub fn split(file: &'a str) -> Result<Self, EnvelopeError> {
        Ok(Self { file, envelope: envelope::split(file)? })
    }

    /// The key the signature claims; proves nothing.
    pub fn claimed_key(&self) -> &KeyId {
        &self.envelope.key_id
    }

    /// The document, once its signature holds under a key of the ring.
    ///
    /// # Errors
    /// See [`VerifyError`].
    pub fn verify(self, keyring: &Keyring) -> Result<Verified<Document>, VerifyError> {
        let Envelope { document, key_id, signature } = self.envelope;
        let Some(key) = keyring.get(&key_id) else {
            return Err(VerifyError::KeyUnknown { key_id, known: keyring.ids().cloned().collect() });
        };
        if key.verifying_key().verify_strict(&signed_bytes(document), &signature).is_err() {
            return Err(VerifyError::Signature { key_id });
        }
        let bytes = self.file.as_bytes().to_vec();
        Ok(Verified { content: Document(document.to_owned()), digest: Digest::of(&bytes), bytes, key_id })
    }
}

/// The exact text above the signature.
#[derive(Clone, PartialEq, Eq)]
pub struct Document(String);

impl Document {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Something that a fleet key signed, with the file it came in. Only [`Unverified::verify`] makes one.
#[derive(Clone, PartialEq)]
pub struct Verified<T> {
    content: T,
    bytes: Vec<u8>,
    digest: Digest,
    key_id: KeyId,
}

impl<T> Verified<T> {
    /// What was signed.
    pub fn content(&self) -> &T {
        &self.content
    }

    /// What was signed, alone.
    pub fn into_content(self) -> T {
        self.content
    }

    /// The exact bytes of the whole file, signature included.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 of the whole file.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The key that signed.
    pub fn key_id(&self) -> &KeyId {
        &self.key_id
    }

    /// Reads something else out of what was signed; the result is as verified as the text it was read from.
    pub(crate) fn try_map<U, E>(self, read: impl FnOnce(T) -> Result<U, E>) -> Result<Verified<U>, E> {
        Ok(Verified { content: read(self.content)?, bytes: self.bytes, digest: self.digest, key_id: self.key_id })
    }
}

// A file holds secrets: what is printed by mistake names the file and shows nothing of it.

impl fmt::Debug for Unverified<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unverified({} bytes, claims key {})", self.file.len(), self.envelope.key_id)
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Document({} bytes)", self.0.len())
    }
}

impl<T: fmt::Debug> fmt::Debug for Verified<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { content, bytes: _, digest, key_id } = self;
        f.debug_struct("Verified")
            .field("content", content)
            .field("digest", digest)
            .field("key_id", key_id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;
    use crate::key::PublicKey;
    use crate::sign::sign;

    fn ring(seeds: &[u8]) -> Keyring {
        let key = |seed: &u8| PublicKey::try_from(SigningKey::from_bytes(&[*seed; 32]).verifying_key()).expect("strong");
        Keyring::new(seeds.iter().map(key))
    }

    fn signed(seed: u8) -> String {
        let file = sign(b"a: 1\n", &SigningKey::from_bytes(&[seed; 32])).expect("signs");
        String::from_utf8(file).expect("text")
    }

    #[test]
    fn a_good_signature_gives_the_document_and_the_whole_file() {
        let file = signed(1);
        let verified = Unverified::split(&file).expect("well formed").verify(&ring(&[2, 1])).expect("holds");
        assert_eq!(verified.content().as_str(), "a: 1\n");
        assert_eq!(verified.bytes(), file.as_bytes());
        assert_eq!(verified.digest(), &Digest::of(file.as_bytes()));
    }

    #[test]
    fn nothing_of_a_file_is_printed_by_mistake() {
        let file = signed(1);
        let unverified = Unverified::split(&file).expect("well formed");
        let mut shown = format!("{unverified:?}");
        shown += &format!("{:?}", unverified.verify(&ring(&[1])));
        assert!(!shown.contains("a: 1") && shown.contains("5 bytes"), "{shown}");
    }

    #[test]
    fn an_unknown_key_and_a_changed_byte_are_told_apart() {
        let file = signed(1);
        let error = Unverified::split(&file).expect("well formed").verify(&ring(&[2])).expect_err("unknown");
        assert!(matches!(error, VerifyError::KeyUnknown { .. }));
        let file = file.replace("a: 1", "a: 2");
        let error = Unverified::split(&file).expect("well formed").verify(&ring(&[1])).expect_err("changed");
        assert!(matches!(error, VerifyError::Signature { .. }));
    }

    #[test]
    fn a_signature_over_the_bare_document_without_its_context_does_not_hold() {
        use ed25519_dalek::Signer;
        let key = SigningKey::from_bytes(&[1; 32]);
        let file = envelope::join("a: 1\n", &KeyId::of(&key.verifying_key()), &key.sign(b"a: 1\n"));
        let error = Unverified::split(&file).expect("well formed").verify(&ring(&[1])).expect_err("other context");
        assert!(matches!(error, VerifyError::Signature { .. }));
    }
}
