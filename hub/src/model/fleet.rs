//! Whose signatures count: fleets sign configurations, stations sign manifests. The hub holds the public halves only.

use machine_config::types::DnsName;
use machine_config::{Keyring, PublicKey, Trust};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::time::Time;

/// A fleet whose configurations the hub takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Fleet {
    /// Its name.
    #[schema(value_type = String)]
    pub name: DnsName,
    /// The keys that sign for it, 64 hexadecimal digits each.
    #[schema(value_type = Vec<String>)]
    pub keys: Vec<PublicKey>,
    /// When it was registered, or its keys changed.
    pub updated_at: Time,
}

impl Fleet {
    /// Whom a device of this fleet obeys.
    pub fn trust(&self) -> Trust {
        Trust { fleet: self.name.clone(), keyring: Keyring::new(self.keys.iter().copied()) }
    }
}

/// A warehouse's bench whose manifests and records the hub believes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Station {
    /// What people call it.
    pub name: String,
    /// Its key, 64 hexadecimal digits.
    #[schema(value_type = String)]
    pub key: PublicKey,
    /// When it was registered.
    pub added_at: Time,
}
