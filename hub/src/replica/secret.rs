//! What processes of one hub show each other: bytes made from the hub's key, which they all have. A copy of the database does not hold them, and
//! their text is never in a log.

use std::fmt;

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::tls::HubKey;

/// What the key is used for here, and nowhere else.
const PURPOSE: &str = "skerry.dev/hub-replica/v1";

/// The secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Secret {
    /// The secret of the processes with this key.
    pub fn of(key: &HubKey) -> Self {
        Self(Zeroizing::new(hex::encode(key.derive(PURPOSE).as_slice())))
    }

    /// For another process.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Whether somebody showed it. Hashes are compared, so that the time it takes says nothing.
    pub fn is(&self, shown: &[u8]) -> bool {
        Sha256::digest(self.0.as_bytes()) == Sha256::digest(shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_known_and_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let secret = Secret::of(&HubKey::open(folder.path()).unwrap());
        assert!(secret.is(secret.text().as_bytes()) && !secret.is(b"") && !secret.is(&[b'0'; 64]));
        assert!(!format!("{secret:?}").contains(secret.text()));
    }
}
