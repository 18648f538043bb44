//! Who calls, as apid says: for the event log, not for decisions.

use std::fmt;

use tonic::metadata::MetadataMap;

/// A caller's name and role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Caller {
    name: String,
    role: String,
}

impl Caller {
    /// Reads the metadata apid adds; without it the caller came over the socket itself.
    pub(super) fn of(metadata: &MetadataMap) -> Self {
        let word = |key| metadata.get(key).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Self {
            name: word(api::PEER_METADATA).unwrap_or_else(|| "local".to_owned()),
            role: word(api::ROLE_METADATA).unwrap_or_else(|| "root".to_owned()),
        }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.role)
    }
}
