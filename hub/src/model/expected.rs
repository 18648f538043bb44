//! Devices that are known of before they call: from manifests of `imager stamp`, from records of `imager flash`, or because somebody claimed
//! them by the code on the box.

use std::fmt;

use machine_config::types::MacAddress;
use machine_config::{DeviceId, KeyId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::label::Labels;
use super::listed::words;
use super::time::Time;

/// How the hub came to expect a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Source {
    /// A manifest that `imager stamp` signed.
    Manifest,
    /// A record that `imager flash` signed.
    Record,
    /// A person, by the code on the box.
    Claim,
}

words!(Source { Manifest => "manifest", Record => "record", Claim => "claim" });

/// What an expected device is known by, the surest first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExpectedKey {
    /// Its id: the key was made before it.
    Id(DeviceId),
    /// Its serial number.
    Serial(String),
    /// The MAC address of a wired port.
    Mac(MacAddress),
    /// Its name alone, which recognises nobody.
    Name(String),
}

impl fmt::Display for ExpectedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "id:{id}"),
            Self::Serial(serial) => write!(f, "serial:{serial}"),
            Self::Mac(mac) => write!(f, "mac:{mac}"),
            Self::Name(name) => write!(f, "name:{name}"),
        }
    }
}

/// A device that is expected to call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Expected {
    /// What it is called.
    pub name: Option<String>,
    /// Its serial number.
    pub serial: Option<String>,
    /// The MAC address of a wired port.
    #[schema(value_type = Option<String>)]
    pub mac: Option<MacAddress>,
    /// Its id, when its key was made before it.
    #[schema(value_type = Option<String>)]
    pub device_id: Option<DeviceId>,
    /// Its board; empty: unknown.
    pub board: String,
    /// Its fleet; empty: unknown.
    pub fleet: String,
    /// SHA-256 of the image it was stamped from, hexadecimal; empty: unknown.
    pub base_sha256: String,
    /// SHA-256 of its own image, hexadecimal; empty: unknown.
    pub image_sha256: String,
    /// The bench that signed for it.
    #[schema(value_type = Option<String>)]
    pub station: Option<KeyId>,
    /// How the hub came to expect it.
    pub source: Source,
    /// Labels it gets.
    pub labels: Labels,
    /// Where it will be; empty: nobody said.
    pub site: String,
    /// Who claimed it: the device is admitted when it calls. None: nobody did.
    pub claimed_by: Option<String>,
    /// The device that took this place. No other can.
    #[schema(value_type = Option<String>)]
    pub taken_by: Option<DeviceId>,
    /// When it was imported.
    pub imported_at: Time,
}

impl Expected {
    /// A place of which nothing is known yet.
    pub fn blank(source: Source, imported_at: Time) -> Self {
        Self {
            name: None,
            serial: None,
            mac: None,
            device_id: None,
            board: String::new(),
            fleet: String::new(),
            base_sha256: String::new(),
            image_sha256: String::new(),
            station: None,
            source,
            labels: Labels::new(),
            site: String::new(),
            claimed_by: None,
            taken_by: None,
            imported_at,
        }
    }

    /// What it is known by; none: by nothing at all.
    pub fn key(&self) -> Option<ExpectedKey> {
        let id = self.device_id.clone().map(ExpectedKey::Id);
        let serial = || self.serial.clone().map(ExpectedKey::Serial);
        let mac = || self.mac.clone().map(ExpectedKey::Mac);
        id.or_else(serial).or_else(mac).or_else(|| self.name.clone().map(ExpectedKey::Name))
    }
}
