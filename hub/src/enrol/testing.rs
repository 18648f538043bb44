//! Devices for tests.

use machine_config::types::Secret;
use machine_config::{DeviceId, SigningKey};

use super::claims::Attempt;
use crate::model::{Device, DeviceState, Labels, Release, Time};

/// A device's key.
pub(crate) fn key(number: u32) -> SigningKey {
    let mut seed = [7; 32];
    seed[..4].copy_from_slice(&number.to_le_bytes());
    SigningKey::from_bytes(&seed)
}

/// A device that waits.
pub(crate) fn device(number: u32) -> Device {
    let key = key(number).verifying_key();
    Device {
        id: DeviceId::of(&key),
        public_key: key.to_bytes(),
        name: None,
        state: DeviceState::Pending,
        reason: String::new(),
        site: String::new(),
        fleet: String::new(),
        release: Release::default(),
        serials: vec![],
        macs: vec![],
        pinned: None,
        labels: Labels::new(),
        groups: vec![],
        first_seen: Time::from_millis(0),
        last_seen: Time::from_millis(0),
        last_address: None,
        config_generation: 0,
        config_digest: None,
        healthy: false,
        phase: String::new(),
        status: None,
        resources: None,
        inventory: None,
        inventory_digest: String::new(),
        token: None,
        admitted_by: None,
    }
}

/// A call of a device with a serial number of its own.
pub(crate) fn attempt(number: u32, token: Option<&str>) -> Attempt {
    let nic = api::v1::Nic { name: "eth0".into(), mac: mac(number), ..Default::default() };
    let hardware =
        api::v1::HardwareResponse { serial: format!("S{number}"), nics: vec![nic], cpu_count: 4, ..Default::default() };
    Attempt {
        key: key(number).verifying_key(),
        name: format!("box-{number}"),
        fleet: "acme".into(),
        release: api::hub::v1::Release { version: "0.1.0".into(), board: "nuc".into(), ..Default::default() },
        config_generation: 0,
        config_digest: String::new(),
        token: token.map(|text| Secret::from(text.to_owned())),
        inventory: Some((hardware, [1; 32])),
        address: "192.0.2.7".parse().expect("an address"),
    }
}

/// The MAC address of its port.
pub(crate) fn mac(number: u32) -> String {
    let [a, b, c, d] = number.to_be_bytes();
    format!("52:54:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}
