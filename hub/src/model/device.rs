//! A device as the hub knows it.

use std::net::IpAddr;

use machine_config::types::{Digest, MacAddress};
use machine_config::{DeviceFacts, DeviceId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::inventory::Inventory;
use super::label::Labels;
use super::listed::words;
use super::status::{Status, Use};
use super::time::Time;

/// How a device stands with the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum DeviceState {
    /// It called and waits for approval.
    Pending,
    /// It is served.
    Admitted,
    /// Somebody refused it. It may be approved later.
    Refused,
    /// It was served, and is not until somebody approves it again.
    Quarantined,
    /// Its key is revoked, for good.
    Removed,
}

words!(DeviceState {
    Pending => "pending",
    Admitted => "admitted",
    Refused => "refused",
    Quarantined => "quarantined",
    Removed => "removed",
});

/// How the reason begins that a rule leaves.
pub(crate) const BY_RULE: &str = "by rule ";

/// What a device runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Release {
    /// Of Skerry.
    pub version: String,
    /// The board its image was built for.
    pub board: String,
    /// Such as `x86_64`.
    pub architecture: String,
    /// The kernel's own version.
    pub kernel: String,
    /// dm-verity root of the running image, hexadecimal: names the image's content.
    pub runtime_root_hash: String,
}

/// What a device is recognised by, besides its key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Hardware {
    /// Serial numbers of system, board, chassis.
    pub serials: Vec<String>,
    /// MAC addresses of its wired ports.
    #[schema(value_type = Vec<String>)]
    pub macs: Vec<MacAddress>,
}

/// One device. Everything it says of itself is its own claim, but for the key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    /// SHA-256 of its public key.
    #[schema(value_type = String)]
    pub id: DeviceId,
    /// Its Ed25519 key; proved at each call.
    #[serde(with = "hex_key")]
    #[schema(value_type = String)]
    pub public_key: [u8; 32],
    /// What the hub calls it. Not unique: two devices with one name are flagged, not refused.
    pub name: Option<String>,
    /// How it stands.
    pub state: DeviceState,
    /// Why it stands so, for people.
    pub reason: String,
    /// Where it is; empty: nobody said.
    pub site: String,
    /// The fleet it says it obeys.
    pub fleet: String,
    /// What it runs.
    pub release: Release,
    /// Serial numbers of system, board, chassis.
    pub serials: Vec<String>,
    /// MAC addresses of its wired ports.
    #[schema(value_type = Vec<String>)]
    pub macs: Vec<MacAddress>,
    /// What these two were when somebody admitted it; none: nobody did. A configuration that is for a serial number or a MAC address is offered to
    /// the device that had it then, not to one that says it has it later.
    pub pinned: Option<Hardware>,
    /// Labels.
    pub labels: Labels,
    /// Groups.
    pub groups: Vec<String>,
    /// When it called first.
    pub first_seen: Time,
    /// When it was heard last.
    pub last_seen: Time,
    /// Where it called from last.
    #[schema(value_type = Option<String>)]
    pub last_address: Option<IpAddr>,
    /// Generation of the configuration it accepted last; 0: none.
    pub config_generation: u64,
    /// SHA-256 of that configuration's file.
    #[schema(value_type = Option<String>)]
    pub config_digest: Option<Digest>,
    /// It says it is healthy.
    pub healthy: bool,
    /// The boot phase it is in.
    pub phase: String,
    /// What it reported last.
    pub status: Option<Status>,
    /// The use of its resources, at its last heartbeat.
    pub resources: Option<Use>,
    /// Its hardware.
    pub inventory: Option<Inventory>,
    /// SHA-256 of the inventory as the device encoded it, hexadecimal; empty: none was given.
    pub inventory_digest: String,
    /// The join token it came with, by the token's id.
    pub token: Option<String>,
    /// Who admitted it: `user:kim`, `rule:NAME`.
    pub admitted_by: Option<String>,
}

impl Device {
    /// The hardware it says it has.
    pub fn said(&self) -> Hardware {
        Hardware { serials: self.serials.clone(), macs: self.macs.clone() }
    }

    /// The hardware by which it is judged: what it was admitted with; before that, what it says.
    pub fn known(&self) -> Hardware {
        self.pinned.clone().unwrap_or_else(|| self.said())
    }

    /// Whether it says it has other hardware than it was admitted with. Approving it again confirms that.
    pub fn hardware_changed(&self) -> bool {
        self.pinned.as_ref().is_some_and(|pinned| *pinned != self.said())
    }

    /// Whether somebody stands for it: it was admitted, or showed a join token. Anybody can make a key and call with any serial number.
    pub fn is_vouched(&self) -> bool {
        match self.state {
            DeviceState::Admitted => true,
            // Also a rule quarantines.
            DeviceState::Quarantined => self.is_proved(),
            DeviceState::Pending => self.token.is_some(),
            DeviceState::Refused | DeviceState::Removed => false,
        }
    }

    /// Nothing is known of it but that somebody made a key, and no person decided about it. A key that was made beforehand is not looked at here.
    pub fn is_unproven(&self) -> bool {
        let is_undecided = match self.state {
            DeviceState::Pending => true,
            DeviceState::Refused | DeviceState::Quarantined => self.reason.starts_with(BY_RULE),
            DeviceState::Admitted | DeviceState::Removed => false,
        };
        is_undecided && !self.is_proved()
    }

    /// It showed a join token, or was admitted once.
    fn is_proved(&self) -> bool {
        self.token.is_some() || self.pinned.is_some() || self.admitted_by.is_some()
    }

    /// Admits it, with the hardware that it has now.
    pub fn admit(&mut self, by: String) {
        self.state = DeviceState::Admitted;
        self.reason = String::new();
        self.admitted_by = Some(by);
        self.pinned = Some(self.said());
    }

    /// What a configuration's target is compared with.
    pub fn facts(&self) -> DeviceFacts {
        let Hardware { serials, macs } = self.known();
        DeviceFacts { device_id: self.id.clone(), serials, macs }
    }

    /// What to call it in a line for people: its name, or the beginning of its id.
    pub fn title(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.id.as_str()[..16])
    }
}

/// A key as 64 hexadecimal digits.
mod hex_key {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(key: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(key))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = hex::decode(&text).map_err(D::Error::custom)?;
        bytes.try_into().map_err(|_| D::Error::custom("a key has 32 bytes"))
    }
}
