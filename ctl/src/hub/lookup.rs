//! Which device somebody means: by its whole id, its name, its serial number, or the beginning of its id. Two that fit are told apart by the person,
//! never by the order of a list.

use std::collections::BTreeMap;

use machine_config::types::DeviceId;
use serde::Deserialize;

use super::routes::{self, MAX_PAGE, Query};
use super::{Hub, HubError, Shown};

/// Beginnings of an id count from this length.
const MIN_PREFIX: usize = 8;

/// A device as the hub shows it, as far as it is used here.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Device {
    pub(crate) id: DeviceId,
    #[serde(default)]
    pub(crate) name: Option<String>,
    #[serde(default)]
    pub(crate) state: String,
    #[serde(default)]
    pub(crate) reason: String,
    #[serde(default)]
    pub(crate) site: String,
    #[serde(default)]
    pub(crate) release: Release,
    #[serde(default)]
    pub(crate) serials: Vec<String>,
    #[serde(default)]
    pub(crate) groups: Vec<String>,
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) last_seen: String,
    #[serde(default)]
    pub(crate) config_generation: u64,
    #[serde(default)]
    pub(crate) healthy: bool,
}

/// What it runs.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Release {
    pub(crate) version: String,
    pub(crate) board: String,
}

/// Some of many.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    #[serde(default)]
    pub(crate) total: u64,
}

/// Asks for devices.
pub(crate) async fn devices(hub: &Hub, query: &Query) -> Result<Shown<Page<Device>>, HubError> {
    let path = routes::devices(query);
    Shown::of(hub.get(&path).await?, hub, &path)
}

/// The one device that is meant.
pub(crate) async fn device_named(hub: &Hub, name: &str) -> Result<Device, HubError> {
    let query = Query::default().with("search", Some(name)).with("limit", Some(MAX_PAGE));
    let found = devices(hub, &query).await?.read.items;
    choose(found, name).map_err(|all| {
        let (url, what, name) = (hub.url.clone(), "device", name.to_owned());
        if all.is_empty() { HubError::Unknown { url, what, name } } else { HubError::Several { url, what, name, all } }
    })
}

/// The one that fits; else the ids of those that do. An exact fit counts before the beginning of an id.
fn choose(devices: Vec<Device>, name: &str) -> Result<Device, Vec<String>> {
    let exact = |device: &Device| device.name.as_deref() == Some(name) || device.serials.iter().any(|serial| serial == name);
    let begins = |device: &Device| name.len() >= MIN_PREFIX && device.id.as_str().starts_with(name);
    let (mut fitting, others): (Vec<_>, Vec<_>) = devices.into_iter().partition(exact);
    if fitting.is_empty() {
        fitting = others.into_iter().filter(begins).collect();
    }
    match fitting.len() {
        1 => Ok(fitting.remove(0)),
        _ => Err(fitting.iter().map(|device| device.id.to_string()).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(id: &str, name: &str, serial: &str) -> Device {
        let id = format!("{id:0<64}");
        serde_json::from_value(serde_json::json!({ "id": id, "name": name, "serials": [serial] })).unwrap()
    }

    #[test]
    fn a_device_is_meant_by_name_serial_or_the_beginning_of_its_id_and_never_by_a_guess() {
        let all = || {
            vec![device("abcdef0123", "shop", "FZ1"), device("abcdef0199", "shop-2", "FZ2"), device("77", "abcdef0199", "FZ3")]
        };
        for (name, expected) in
            [("shop", "abcdef0123"), ("FZ2", "abcdef0199"), ("abcdef0123", "abcdef0123"), ("abcdef0199", "77")]
        {
            assert!(choose(all(), name).unwrap().id.as_str().starts_with(expected), "{name}");
        }
        assert_eq!(choose(all(), "sho").unwrap_err(), Vec::<String>::new(), "a part of a name is none");
        assert_eq!(choose(all(), "abcdef01").unwrap_err().len(), 2);
        assert_eq!(choose(all(), "7700000").unwrap_err().len(), 0, "too short");
        let twins = vec![device("1", "shop", "a"), device("2", "shop", "b")];
        assert_eq!(choose(twins, "shop").unwrap_err().len(), 2);
    }
}
