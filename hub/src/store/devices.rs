//! Devices: reading and writing their rows, and the edits of people.

use machine_config::DeviceId;
use machine_config::types::{HostName, MacAddress};
use serde_json::json;
use sqlx::AnyConnection;

use super::error::StoreError;
use super::query::{self, Statement};
use super::row::{Fields, json};
use super::tx::Tx;
use super::{Store, unproven};
use crate::model::text::bounded;
use crate::model::{By, Device, Labels, Release, Use, check_groups, check_labels};

/// A statement for devices' columns, with those of their presence.
macro_rules! select {
    ($end:literal) => {
        concat!(
            "SELECT d.*, p.last_seen, p.last_address, p.load_percent, p.memory_mib, p.data_mib ",
            "FROM devices d JOIN presence p ON p.device = d.id",
            $end
        )
    };
}

/// The same without conditions.
pub(super) const SELECT: &str = select!("");

/// What a person changes of a device; what is none stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Edit {
    /// Its name, one that a host may have; empty: none.
    pub name: Option<String>,
    /// Where it is.
    pub site: Option<String>,
    /// All its labels.
    pub labels: Option<Labels>,
    /// All its groups.
    pub groups: Option<Vec<String>>,
}

pub(super) fn read_device(row: &Fields<'_>) -> Result<Device, StoreError> {
    let load_percent: Option<u32> = row.opt_count("load_percent")?;
    let resources = match load_percent {
        Some(load_percent) => {
            Some(Use { load_percent, memory_available_mib: row.count("memory_mib")?, data_available_mib: row.count("data_mib")? })
        }
        None => None,
    };
    Ok(Device {
        id: row.word("id")?,
        public_key: row.hash("public_key")?,
        name: row.opt_text("name")?,
        state: row.word("state")?,
        reason: row.text("reason")?,
        site: row.text("site")?,
        fleet: row.text("fleet")?,
        release: Release {
            version: row.text("version")?,
            board: row.text("board")?,
            architecture: row.text("architecture")?,
            kernel: row.text("kernel")?,
            runtime_root_hash: row.text("runtime_root_hash")?,
        },
        serials: row.json("serials")?,
        macs: row.json("macs")?,
        pinned: row.opt_json("pinned")?,
        labels: row.json("labels")?,
        groups: row.json("device_groups")?,
        first_seen: row.time("first_seen")?,
        last_seen: row.time("last_seen")?,
        last_address: row.opt_word("last_address")?,
        config_generation: row.count("config_generation")?,
        config_digest: row.opt_word("config_digest")?,
        healthy: row.truth("healthy")?,
        phase: row.text("phase")?,
        status: row.opt_json("status")?,
        resources,
        inventory: row.opt_json("inventory")?,
        inventory_digest: row.text("inventory_digest")?,
        token: row.opt_text("token")?,
        admitted_by: row.opt_text("admitted_by")?,
    })
}

/// The device with this id.
pub(super) async fn find(conn: &mut AnyConnection, id: &DeviceId) -> Result<Option<Device>, StoreError> {
    query::find(conn, sqlx::query(select!(" WHERE d.id = $1")).bind(id.to_string()), "read a device", read_device).await
}

/// The device with this id, which must be there.
pub(super) async fn require(conn: &mut AnyConnection, id: &DeviceId) -> Result<Device, StoreError> {
    find(conn, id).await?.ok_or_else(|| StoreError::Missing { what: "device", name: id.to_string() })
}

/// The devices, at most some dozens, with this fact that are not removed: those that somebody stands for first, so that no crowd hides them.
async fn with_fact(conn: &mut AnyConnection, kind: &'static str, value: &str) -> Result<Vec<Device>, StoreError> {
    let statement = sqlx::query(select!(
        " JOIN device_facts f ON f.device = d.id WHERE f.kind = $1 AND f.value = $2 AND d.state <> 'removed' \
          ORDER BY CASE WHEN d.pinned IS NULL AND d.token IS NULL THEN 1 ELSE 0 END, d.id LIMIT 50"
    ));
    query::list(conn, statement.bind(kind).bind(value.to_owned()), "look for devices", read_device).await
}

/// The devices with this serial number: those that were admitted with it, and of those that wait, those that say so.
pub(super) async fn with_serial(conn: &mut AnyConnection, serial: &str) -> Result<Vec<Device>, StoreError> {
    let mut found = with_fact(conn, "serial", serial).await?;
    found.retain(|device| device.known().serials.iter().any(|known| known == serial));
    Ok(found)
}

/// The devices with this MAC address, in the same way.
pub(super) async fn with_mac(conn: &mut AnyConnection, mac: &MacAddress) -> Result<Vec<Device>, StoreError> {
    let mut found = with_fact(conn, "mac", mac.as_str()).await?;
    found.retain(|device| device.known().macs.contains(mac));
    Ok(found)
}

/// The devices with this name that are not removed, in the same order.
pub(super) async fn with_name(conn: &mut AnyConnection, name: &str) -> Result<Vec<Device>, StoreError> {
    let statement = sqlx::query(select!(
        " WHERE d.name = $1 AND d.state <> 'removed' \
          ORDER BY CASE WHEN d.pinned IS NULL AND d.token IS NULL THEN 1 ELSE 0 END, d.id LIMIT 50"
    ));
    query::list(conn, statement.bind(name.to_owned()), "look for devices", read_device).await
}

/// Writes a device as it is now; `before` is how it was, none: it is new. What did not change is not written.
pub(super) async fn save(tx: &mut Tx, device: &Device, before: Option<&Device>) -> Result<(), StoreError> {
    let is_same = before.is_some_and(|before| {
        let Device { last_seen, last_address, resources, .. } = before.clone();
        *before == Device { last_seen, last_address, resources, ..device.clone() }
            && unproven::neighbour_of(before) == unproven::neighbour_of(device)
    });
    if !is_same {
        tx.run(upsert(device), "write a device").await?;
        let facts = |device: &Device| (device.said(), device.pinned.clone(), device.labels.clone(), device.groups.clone());
        if before.is_none_or(|before| facts(before) != facts(device)) {
            save_facts(tx, device, before.is_some()).await?;
        }
    }
    let presence = sqlx::query(
        "INSERT INTO presence (device, last_seen, last_address) VALUES ($1, $2, $3) \
         ON CONFLICT (device) DO UPDATE SET last_seen = excluded.last_seen, last_address = excluded.last_address",
    );
    let address = device.last_address.map(|address| address.to_string());
    tx.run(presence.bind(device.id.to_string()).bind(device.last_seen.millis()).bind(address), "write when a device was seen")
        .await?;
    Ok(())
}

fn upsert(device: &Device) -> Statement {
    let release = &device.release;
    sqlx::query(
        "INSERT INTO devices (id, public_key, name, state, reason, site, fleet, version, board, architecture, kernel, runtime_root_hash, \
            serials, macs, labels, device_groups, first_seen, config_generation, config_digest, healthy, phase, status, inventory, \
            inventory_digest, token, admitted_by, pinned, neighbour) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28) \
         ON CONFLICT (id) DO UPDATE SET name = excluded.name, state = excluded.state, reason = excluded.reason, site = excluded.site, \
            fleet = excluded.fleet, version = excluded.version, board = excluded.board, architecture = excluded.architecture, \
            kernel = excluded.kernel, runtime_root_hash = excluded.runtime_root_hash, serials = excluded.serials, macs = excluded.macs, \
            labels = excluded.labels, device_groups = excluded.device_groups, config_generation = excluded.config_generation, \
            config_digest = excluded.config_digest, healthy = excluded.healthy, phase = excluded.phase, status = excluded.status, \
            inventory = excluded.inventory, inventory_digest = excluded.inventory_digest, token = excluded.token, \
            admitted_by = excluded.admitted_by, pinned = excluded.pinned, neighbour = excluded.neighbour",
    )
    .bind(device.id.to_string())
    .bind(device.public_key.to_vec())
    .bind(device.name.clone())
    .bind(device.state.as_str())
    .bind(device.reason.clone())
    .bind(device.site.clone())
    .bind(device.fleet.clone())
    .bind(release.version.clone())
    .bind(release.board.clone())
    .bind(release.architecture.clone())
    .bind(release.kernel.clone())
    .bind(release.runtime_root_hash.clone())
    .bind(json(&device.serials))
    .bind(json(&device.macs))
    .bind(json(&device.labels))
    .bind(json(&device.groups))
    .bind(device.first_seen.millis())
    .bind(i64::try_from(device.config_generation).unwrap_or(i64::MAX))
    .bind(device.config_digest.as_ref().map(ToString::to_string))
    .bind(i64::from(device.healthy))
    .bind(device.phase.clone())
    .bind(device.status.as_ref().map(json))
    .bind(device.inventory.as_ref().map(json))
    .bind(device.inventory_digest.clone())
    .bind(device.token.clone())
    .bind(device.admitted_by.clone())
    .bind(device.pinned.as_ref().map(json))
    .bind(unproven::neighbour_of(device))
}

async fn save_facts(tx: &mut Tx, device: &Device, is_known: bool) -> Result<(), StoreError> {
    if is_known {
        let delete = sqlx::query("DELETE FROM device_facts WHERE device = $1").bind(device.id.to_string());
        tx.run(delete, "write what a device is found by").await?;
    }
    // What it says, for people who look for it, and what it was admitted with, which counts.
    let hardware = [device.said(), device.known()];
    let serials = hardware.iter().flat_map(|hardware| &hardware.serials).map(|serial| ("serial", serial.clone()));
    let macs = hardware.iter().flat_map(|hardware| &hardware.macs).map(|mac| ("mac", mac.to_string()));
    let labels = device.labels.iter().map(|(key, value)| ("label", format!("{key}={value}")));
    let groups = device.groups.iter().map(|group| ("group", group.clone()));
    for (kind, value) in serials.chain(macs).chain(labels).chain(groups) {
        let insert = sqlx::query("INSERT INTO device_facts (device, kind, value) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING");
        tx.run(insert.bind(device.id.to_string()).bind(kind).bind(value), "write what a device is found by").await?;
    }
    Ok(())
}

impl Store {
    /// The device with this id.
    ///
    /// # Errors
    /// The database failed.
    pub async fn device(&self, id: &DeviceId) -> Result<Option<Device>, StoreError> {
        find(&mut *self.reader().await?, id).await
    }

    /// Devices with this name, of which there should be one. Removed ones do not count.
    ///
    /// # Errors
    /// The database failed.
    pub async fn devices_named(&self, name: &str) -> Result<Vec<Device>, StoreError> {
        with_name(&mut *self.reader().await?, name).await
    }

    /// Changes what people say of a device.
    ///
    /// # Errors
    /// There is no such device, or a value cannot be.
    pub async fn edit_device(&self, id: &DeviceId, edit: Edit, by: &By) -> Result<Device, StoreError> {
        check(&edit)?;
        let (id, by) = (id.clone(), by.clone());
        self.write(move |tx| Box::pin(async move { apply_edit(tx, &id, edit, &by).await })).await
    }
}

fn check(edit: &Edit) -> Result<(), StoreError> {
    edit.labels.as_ref().map_or(Ok(()), check_labels)?;
    edit.groups.as_ref().map_or(Ok(()), |groups| check_groups(groups))?;
    let name = edit.name.as_deref().filter(|name| !name.is_empty());
    let wrong = name.and_then(|name| name.parse::<HostName>().err());
    wrong.map_or(Ok(()), |error| Err(StoreError::Invalid { what: "the name", why: error.to_string() }))
}

async fn apply_edit(tx: &mut Tx, id: &DeviceId, edit: Edit, by: &By) -> Result<Device, StoreError> {
    let before = require(tx.conn(), id).await?;
    let mut device = before.clone();
    if let Some(name) = edit.name {
        device.name = Some(name).filter(|name| !name.is_empty());
    }
    if let Some(site) = edit.site {
        device.site = bounded(&site, 128);
    }
    device.labels = edit.labels.unwrap_or(device.labels);
    device.groups = edit.groups.unwrap_or(device.groups);
    device.groups.sort();
    device.groups.dedup();
    save(tx, &device, Some(&before)).await?;
    let details =
        |device: &Device| json!({ "name": device.name, "site": device.site, "labels": device.labels, "groups": device.groups });
    tx.audit(by, "device.edit", Some(id), json!({ "before": details(&before), "after": details(&device) })).await?;
    Ok(device)
}
