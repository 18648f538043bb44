//! The hub's own processes, and which of them holds a device's stream.

use machine_config::DeviceId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::time::Time;

/// One process of the hub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Replica {
    /// Made anew at each start.
    pub id: String,
    /// Where the others reach it: `host:port`.
    pub address: String,
    /// When it was heard last.
    pub heartbeat_at: Time,
}

/// A device's open session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stream {
    /// The device.
    #[schema(value_type = String)]
    pub device: DeviceId,
    /// The process that holds it.
    pub replica: String,
    /// The session, made anew at each.
    pub session: String,
    /// Since when.
    pub since: Time,
}
