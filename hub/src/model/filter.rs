//! Which devices somebody asks for, and the answer in pages.

use machine_config::types::Digest;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::device::DeviceState;
use super::label::Label;

/// Entries of one page at most.
pub const MAX_PAGE: u32 = 500;

/// Which devices. What is not set does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DeviceFilter {
    /// In this state. None: in any but removed.
    #[param(inline)]
    pub state: Option<DeviceState>,
    /// Whose name, id, serial number, MAC address or site contains this.
    pub search: String,
    /// With this label.
    #[param(value_type = Option<String>)]
    pub label: Option<Label>,
    /// Of this group.
    pub group: Option<String>,
    /// At this site.
    pub site: Option<String>,
    /// With this board.
    pub board: Option<String>,
    /// Running this version.
    pub version: Option<String>,
    /// That accepted this configuration last.
    #[schema(value_type = Option<String>)]
    #[param(value_type = Option<String>)]
    pub config: Option<Digest>,
    /// Healthy, or not.
    pub healthy: Option<bool>,
    /// Entries before the page.
    pub offset: u64,
    /// Entries of the page; 0: a hundred.
    pub limit: u32,
}

/// Some entries of many.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Page<T> {
    /// These.
    pub items: Vec<T>,
    /// How many there are in all.
    pub total: u64,
}

/// The fleet in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Overview {
    /// Waiting for approval.
    pub pending: u64,
    /// Admitted.
    pub admitted: u64,
    /// Refused.
    pub refused: u64,
    /// Quarantined.
    pub quarantined: u64,
    /// Removed.
    pub removed: u64,
    /// Admitted, and with a session open now.
    pub connected: u64,
    /// Admitted, and not healthy by their last report.
    pub unhealthy: u64,
}
