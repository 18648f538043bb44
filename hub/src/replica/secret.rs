//! What processes of one hub show each other: a random secret in the database they share. Its text is never in a log.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// The secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; 32]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Secret {
    /// A new one.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// As the database has it.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).ok().map(|()| Self(bytes))
    }

    /// For the database and for another process.
    pub fn text(&self) -> String {
        hex::encode(self.0)
    }

    /// Whether somebody showed it. Hashes are compared, so that the time it takes says nothing.
    pub fn is(&self, shown: &[u8]) -> bool {
        Sha256::digest(self.text().as_bytes()) == Sha256::digest(shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_back_and_not_shown() {
        let secret = Secret::random().unwrap();
        assert_eq!(Secret::parse(&secret.text()), Some(secret.clone()));
        assert!(secret.is(secret.text().as_bytes()) && !secret.is(b"") && !secret.is(&[b'0'; 64]));
        assert!(!format!("{secret:?}").contains(&secret.text()));
        assert_eq!(Secret::parse("ab"), None);
    }
}
