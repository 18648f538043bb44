//! Signing: an Ed25519 signature over the exact bytes of a document, appended to it.
//!
//! What is signed is [`SIGNATURE_CONTEXT`] followed by the document's bytes, so that a signature made for another purpose with the same
//! key is never one over a configuration, nor the reverse.

use ed25519_dalek::{Signer, SigningKey};

use crate::envelope::{self, EnvelopeError};
use crate::key::KeyId;
use crate::text::{self, MAX_CONFIG_BYTES, TextError};

/// Stands before the document's bytes in what is signed.
pub const SIGNATURE_CONTEXT: &[u8] = b"skerry.dev/v1alpha1 machine configuration signature\0";

/// Why a document is not signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// More than [`MAX_CONFIG_BYTES`] with its signature.
    #[error("cannot sign a document that makes a file of {bytes} bytes: devices take at most {MAX_CONFIG_BYTES}")]
    TooLarge {
        /// Size of the file with its signature.
        bytes: usize,
    },
    /// Not text.
    #[error("cannot sign a document that is not UTF-8 at byte {offset}: save it as UTF-8")]
    NotUtf8 {
        /// Bytes before the first wrong one.
        offset: usize,
    },
    /// Signed before.
    #[error("cannot sign a file that is signed already, with key {key_id}: ask for the signature to be replaced")]
    AlreadySigned {
        /// The key the signature there claims.
        key_id: KeyId,
    },
    /// A shape that no device would take.
    #[error("cannot sign the document: {0}")]
    Document(EnvelopeError),
}

impl From<TextError> for SignError {
    fn from(error: TextError) -> Self {
        match error {
            TextError::TooLarge { bytes } => Self::TooLarge { bytes },
            TextError::NotUtf8 { offset } => Self::NotUtf8 { offset },
        }
    }
}

/// The signed file: `document` (a newline is added when its last line has none) and its signature.
///
/// The document's meaning is not looked at: check it first with [`parse`](crate::parse()) and [`check_semantics`](crate::check_semantics).
///
/// # Errors
/// See [`SignError`]; a file that carries a signature is refused, [`replace_signature`] takes it.
pub fn sign(document: &[u8], key: &SigningKey) -> Result<Vec<u8>, SignError> {
    let text = text::read(document)?;
    if let Ok(envelope) = envelope::split(text) {
        return Err(SignError::AlreadySigned { key_id: envelope.key_id });
    }
    sign_text(text, key)
}

/// Like [`sign`], but takes a signed file too, and signs its document anew.
///
/// # Errors
/// See [`SignError`].
pub fn replace_signature(file: &[u8], key: &SigningKey) -> Result<Vec<u8>, SignError> {
    let text = text::read(file)?;
    sign_text(envelope::split(text).map_or(text, |envelope| envelope.document), key)
}

fn sign_text(text: &str, key: &SigningKey) -> Result<Vec<u8>, SignError> {
    envelope::check_unsigned(text).map_err(SignError::Document)?;
    let document = if text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") };
    let signature = key.sign(&signed_bytes(&document));
    let file = envelope::join(&document, &KeyId::of(&key.verifying_key()), &signature);
    if file.len() > MAX_CONFIG_BYTES {
        return Err(SignError::TooLarge { bytes: file.len() });
    }
    Ok(file.into_bytes())
}

/// The exact bytes a signature is over.
pub(crate) fn signed_bytes(document: &str) -> Vec<u8> {
    [SIGNATURE_CONTEXT, document.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    #[test]
    fn the_signed_file_has_these_bytes() {
        let file = sign(b"a: 1", &key(1)).expect("signs");
        insta::assert_snapshot!(String::from_utf8(file).expect("text"));
    }

    #[test]
    fn a_signed_file_is_not_signed_twice_unless_asked() {
        let once = sign(b"a: 1\n", &key(1)).expect("signs");
        assert_eq!(sign(&once, &key(2)), Err(SignError::AlreadySigned { key_id: KeyId::of(&key(1).verifying_key()) }));
        assert_eq!(replace_signature(&once, &key(1)), Ok(once.clone()));
        assert_eq!(replace_signature(&once, &key(2)), sign(b"a: 1\n", &key(2)));
    }

    #[test]
    fn what_no_device_would_take_is_not_signed() {
        for document in [&b""[..], b"\n", b"a: 1\r\n", b"a: 1\n---\nb: 2\n", b"\xff", &vec![b'a'; MAX_CONFIG_BYTES]] {
            assert!(sign(document, &key(1)).is_err(), "{:?}", &document[..document.len().min(20)]);
        }
    }
}
