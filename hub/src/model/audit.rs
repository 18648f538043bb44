//! One line of the audit, and which lines somebody asks for.

use machine_config::DeviceId;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::time::Time;

/// Something that was done. Lines are numbered without gaps, and each carries the hash of the one before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry {
    /// Its number, from 1.
    pub seq: i64,
    /// When.
    pub at: Time,
    /// Who: `admin-token`, `user:kim`, `token:NAME`, `device:ID`, `rule:NAME`, `host`.
    pub actor: String,
    /// What, such as `device.approve`.
    pub action: String,
    /// Which device, if one.
    #[schema(value_type = Option<String>)]
    pub device: Option<DeviceId>,
    /// From where; empty: the hub's own host.
    pub address: String,
    /// What else there is to know. No secret stands here.
    #[schema(value_type = Object)]
    pub details: serde_json::Value,
    /// Hash of the line before it, hexadecimal; zeros for the first.
    pub previous: String,
    /// Hash of this line, hexadecimal.
    pub hash: String,
}

/// Which lines of the audit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuditFilter {
    /// About this device.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    #[param(value_type = Option<String>)]
    pub device: Option<DeviceId>,
    /// By this actor, as it is written.
    #[serde(default)]
    pub actor: Option<String>,
    /// Whose action begins with this: `device.`.
    #[serde(default)]
    pub action: Option<String>,
    /// Older than this number.
    #[serde(default)]
    pub before: Option<i64>,
    /// How many at most; 0: a hundred.
    #[serde(default)]
    pub limit: u32,
}
