//! What the hub does with devices nobody announced.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What becomes of a device that shows no join token and is in no manifest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Strangers {
    /// It is refused.
    #[default]
    Refuse,
    /// It waits for approval like any other. Anybody who reaches the hub can then fill the queue up to `pendingLimit`.
    Wait,
}

/// How devices are let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    /// Devices without token and manifest.
    pub strangers: Strangers,
    /// Devices waiting for approval at once that proved something; of others a quarter as many, where strangers wait as many. More come back later.
    pub pending_limit: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self { strangers: Strangers::Refuse, pending_limit: 10_000 }
    }
}
