//! Something that happened on a device, as the device told it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::status::time_of;
use super::text::bounded;
use super::time::Time;

/// An event of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceEvent {
    /// When, by the device's clock; none: it did not say.
    pub time: Option<Time>,
    /// Its number since the device started.
    pub sequence: u64,
    /// `phase`, `service`, `config`, `network`, `power`.
    pub kind: String,
    /// The phase or service.
    pub subject: String,
    /// One line for people.
    pub message: String,
    /// When the hub heard of it.
    pub received: Time,
}

impl DeviceEvent {
    /// What is kept of an event.
    pub fn of(event: &api::v1::Event, received: Time) -> Self {
        Self {
            time: event.time.as_ref().map(time_of),
            sequence: event.sequence,
            kind: bounded(&event.kind, 64),
            subject: bounded(&event.subject, 128),
            message: bounded(&event.message, 512),
            received,
        }
    }
}
