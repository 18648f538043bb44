//! Join tokens: what lets a device ask to be admitted. The token itself is nowhere here; it is shown once and only its hash is kept.

use machine_config::types::MacAddress;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::label::{Label, Labels};
use super::time::Time;

/// Which devices a token is good for. Every part that is set must fit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Binding {
    /// The device's serial number.
    #[serde(default)]
    pub serial: Option<String>,
    /// The MAC address of one of its wired ports.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub mac: Option<MacAddress>,
    /// A label that an imported manifest gives the device. A device has no labels of its own before it joined.
    #[serde(default)]
    pub label: Option<Label>,
}

/// A join token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Token {
    /// Names it in lists and in the audit. Not secret.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Devices that may still join with it.
    pub uses_left: u32,
    /// Devices that joined with it.
    pub uses: u32,
    /// Which devices it is good for.
    pub binding: Binding,
    /// Labels that a device which joins gets.
    pub labels: Labels,
    /// Groups that a device which joins gets.
    pub groups: Vec<String>,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Time,
    /// When it ends; none: never.
    pub expires_at: Option<Time>,
    /// When it was revoked; none: it was not.
    pub revoked_at: Option<Time>,
}
