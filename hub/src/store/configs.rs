//! Uploaded configurations in the database.

use machine_config::schema::Target;
use machine_config::types::Digest;
use serde_json::json;
use sqlx::AnyConnection;

use super::error::StoreError;
use super::query;
use super::row::{Fields, json as to_json};
use super::tx::Tx;
use super::{Store, devices, expected, registry};
use crate::config::{UploadError, check_devices, describe, judge_upload};
use crate::model::{By, Config, Device, Expected, Rollout};

pub(super) fn read(row: &Fields<'_>) -> Result<Config, StoreError> {
    Ok(Config {
        digest: row.word("digest")?,
        size: row.count("size")?,
        fleet: row.text("fleet")?,
        name: row.text("name")?,
        generation: row.count("generation")?,
        target: row.text("target")?,
        key_id: row.word("key_id")?,
        uploaded_by: row.text("uploaded_by")?,
        uploaded_at: row.time("uploaded_at")?,
    })
}

/// A statement for all columns but the bytes.
macro_rules! select {
    ($end:literal) => {
        concat!(
            "SELECT c.digest, c.size, c.fleet, c.name, c.generation, c.target, c.key_id, c.uploaded_by, c.uploaded_at FROM configs c",
            $end
        )
    };
}

pub(super) async fn find(conn: &mut AnyConnection, digest: &Digest) -> Result<Option<Config>, StoreError> {
    let statement = sqlx::query(select!(" WHERE c.digest = $1")).bind(digest.to_string());
    query::find(conn, statement, "read a configuration", read).await
}

pub(super) async fn bytes(conn: &mut AnyConnection, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
    let statement = sqlx::query("SELECT bytes FROM configs WHERE digest = $1").bind(digest.to_string());
    query::find(conn, statement, "read a configuration's file", |row| row.bytes("bytes")).await
}

/// The configurations that are assigned to this device by its id, a group or a label.
pub(super) async fn assigned(conn: &mut AnyConnection, device: &Device) -> Result<Vec<Config>, StoreError> {
    let statement = sqlx::query(select!(
        " JOIN assignments a ON a.digest = c.digest WHERE (a.kind = 'device' AND a.value = $1) OR EXISTS (SELECT 1 FROM device_facts f \
         WHERE f.device = $1 AND f.kind = a.kind AND f.value = a.value AND f.kind IN ('group', 'label'))"
    ));
    query::list(conn, statement.bind(device.id.to_string()), "look for a device's configurations", read).await
}

impl Store {
    /// Takes a signed configuration that a device of this hub would take.
    ///
    /// # Errors
    /// [`StoreError::Upload`] with the device's own reason.
    pub async fn put_config(&self, file: &[u8], by: &By) -> Result<Config, StoreError> {
        let (file, by) = (file.to_vec(), by.clone());
        self.write(move |tx| Box::pin(async move { put(tx, &file, &by).await })).await
    }

    /// All configurations, the newest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn configs(&self) -> Result<Vec<Config>, StoreError> {
        let statement = sqlx::query(select!(" ORDER BY c.uploaded_at DESC, c.digest"));
        query::list(&mut *self.reader().await?, statement, "list configurations", read).await
    }

    /// The configuration with this digest.
    ///
    /// # Errors
    /// The database failed.
    pub async fn config(&self, digest: &Digest) -> Result<Option<Config>, StoreError> {
        find(&mut *self.reader().await?, digest).await
    }

    /// Its file, exact bytes, with the fleet's secrets.
    ///
    /// # Errors
    /// The database failed.
    pub async fn config_bytes(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        bytes(&mut *self.reader().await?, digest).await
    }

    /// Deletes a configuration that is assigned to nobody.
    ///
    /// # Errors
    /// There is none, or it is assigned.
    pub async fn delete_config(&self, digest: &Digest, by: &By) -> Result<(), StoreError> {
        let (digest, by) = (digest.clone(), by.clone());
        self.write(move |tx| Box::pin(async move { delete(tx, &digest, &by).await })).await
    }

    /// How far a configuration came.
    ///
    /// # Errors
    /// The database failed.
    pub async fn rollout(&self, digest: &Digest) -> Result<Rollout, StoreError> {
        let statement = sqlx::query("SELECT state, COUNT(*) AS total FROM deliveries WHERE digest = $1 GROUP BY state");
        let read = |row: &Fields<'_>| Ok((row.text("state")?, row.count::<u64>("total")?));
        let counts =
            query::list(&mut *self.reader().await?, statement.bind(digest.to_string()), "count deliveries", read).await?;
        let of = |state: &str| counts.iter().find(|(name, _)| name == state).map_or(0, |(_, total)| *total);
        Ok(Rollout { running: of("running"), taken: of("taken"), offered: of("offered"), refused: of("refused") })
    }
}

async fn put(tx: &mut Tx, file: &[u8], by: &By) -> Result<Config, StoreError> {
    let fleets = registry::fleets(tx.conn()).await?;
    let (verified, fleet) = judge_upload(file, &fleets)?;
    if let Some(known) = find(tx.conn(), verified.digest()).await? {
        return Ok(known);
    }
    let target = &verified.content().target;
    let (mut devices, places) = meant(tx.conn(), target).await?;
    if devices.is_empty() && places.is_empty() && target.any != Some(true) {
        return Err(UploadError::Target { target: describe(target) }.into());
    }
    // What somebody says who only made a key does not keep a configuration from the one it is for.
    devices.retain(Device::is_vouched);
    check_devices(file, fleet, &devices)?;
    let metadata = &verified.content().metadata;
    let config = Config {
        digest: verified.digest().clone(),
        size: file.len() as u64,
        fleet: fleet.name.to_string(),
        name: metadata.name.to_string(),
        generation: metadata.generation.get(),
        target: describe(target),
        key_id: verified.key_id().clone(),
        uploaded_by: by.actor.to_string(),
        uploaded_at: by.at,
    };
    insert(tx, &config, target, file).await?;
    let details = json!({
        "digest": config.digest, "name": config.name, "fleet": config.fleet, "generation": config.generation, "target": config.target,
        "key": config.key_id,
    });
    tx.audit(by, "config.put", None, details).await?;
    Ok(config)
}

/// Devices and places that a target may mean. For `any` nobody in particular.
async fn meant(conn: &mut AnyConnection, target: &Target) -> Result<(Vec<Device>, Vec<Expected>), StoreError> {
    let Target { serial, device_id, mac, any: _ } = target;
    if let Some(id) = device_id {
        let device = devices::find(conn, id).await?.filter(|device| device.state != crate::model::DeviceState::Removed);
        return Ok((device.into_iter().collect(), expected::matching(conn, id, &[], &[]).await?));
    }
    if let Some(serial) = serial {
        return Ok((devices::with_serial(conn, serial).await?, expected::with_serial(conn, serial).await?));
    }
    if let Some(mac) = mac {
        return Ok((devices::with_mac(conn, mac).await?, expected::with_mac(conn, mac).await?));
    }
    Ok((vec![], vec![]))
}

async fn insert(tx: &mut Tx, config: &Config, target: &Target, file: &[u8]) -> Result<(), StoreError> {
    let statement = sqlx::query(
        "INSERT INTO configs (digest, bytes, size, fleet, name, generation, target, target_json, key_id, uploaded_by, uploaded_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(config.digest.to_string())
    .bind(file.to_vec())
    .bind(i64::try_from(config.size).unwrap_or(i64::MAX))
    .bind(config.fleet.clone())
    .bind(config.name.clone())
    .bind(i64::try_from(config.generation).map_err(|_| StoreError::Invalid { what: "the generation", why: "it is too large".into() })?)
    .bind(config.target.clone())
    .bind(to_json(target))
    .bind(config.key_id.to_string())
    .bind(config.uploaded_by.clone())
    .bind(config.uploaded_at.millis());
    tx.run(statement, "write a configuration").await.map(|_| ())
}

async fn delete(tx: &mut Tx, digest: &Digest, by: &By) -> Result<(), StoreError> {
    let text = digest.to_string();
    let assigned = sqlx::query("SELECT COUNT(*) AS total FROM assignments WHERE digest = $1").bind(text.clone());
    if query::find(tx.conn(), assigned, "count assignments", |row| row.int("total")).await? != Some(0) {
        let why = "it is assigned; take that back first";
        return Err(StoreError::InUse { what: "configuration", name: text, why });
    }
    if tx.run(sqlx::query("DELETE FROM configs WHERE digest = $1").bind(text.clone()), "delete a configuration").await? == 0 {
        return Err(StoreError::Missing { what: "the configuration", name: text });
    }
    tx.audit(by, "config.delete", None, json!({ "digest": digest })).await
}
