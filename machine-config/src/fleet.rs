//! A fleet's public face: its name and keys. The file `fleet.pub` that `skerryctl fleet init` writes, and what a device stores as its
//! trust. No secret is in it.

use serde::{Deserialize, Serialize};

use crate::judge::Trust;
use crate::key::{Keyring, PublicKey};
use crate::types::DnsName;

/// A fleet's name and the keys that sign for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct FleetTrust {
    /// The fleet's name.
    pub name: DnsName,
    /// The keys that sign for it; at least one.
    pub keys: Vec<PublicKey>,
}

/// Why a file is not a fleet's public face.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// Not JSON of this form.
    #[error("cannot read the fleet's public keys: {0}; write them with `skerryctl fleet init`")]
    Json(serde_json::Error),
    /// A fleet that nobody can sign for.
    #[error("cannot use the fleet `{name}`: it has no key, so that nothing could be signed for it")]
    NoKey {
        /// The fleet's name.
        name: DnsName,
    },
}

impl FleetTrust {
    /// Reads `fleet.pub`.
    ///
    /// # Errors
    /// See [`FleetError`].
    pub fn from_json(json: &[u8]) -> Result<Self, FleetError> {
        let fleet: Self = serde_json::from_slice(json).map_err(FleetError::Json)?;
        if fleet.keys.is_empty() { Err(FleetError::NoKey { name: fleet.name }) } else { Ok(fleet) }
    }

    /// Writes `fleet.pub`: indented, with a newline at the end.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("names and keys are JSON") + "\n"
    }

    /// Whom a device of this fleet obeys.
    pub fn trust(&self) -> Trust {
        Trust { fleet: self.name.clone(), keyring: Keyring::new(self.keys.iter().copied()) }
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;

    #[test]
    fn fleet_pub_has_these_bytes_and_reads_back() {
        let key = PublicKey::try_from(SigningKey::from_bytes(&[1; 32]).verifying_key()).expect("strong");
        let fleet = FleetTrust { name: "acme".parse().expect("a name"), keys: vec![key] };
        insta::assert_snapshot!(fleet.to_json());
        assert_eq!(FleetTrust::from_json(fleet.to_json().as_bytes()).expect("reads"), fleet);
    }

    #[test]
    fn a_fleet_without_keys_and_unknown_fields_are_refused() {
        for json in [r#"{"name": "acme", "keys": []}"#, r#"{"name": "acme", "keys": [], "key": ""}"#, "{}", ""] {
            assert!(FleetTrust::from_json(json.as_bytes()).is_err(), "{json}");
        }
    }
}
