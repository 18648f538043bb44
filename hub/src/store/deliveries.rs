//! How far configurations came, device by device, and what a device is offered next.

use std::time::Duration;

use machine_config::DeviceId;
use machine_config::types::Digest;
use serde_json::json;
use sqlx::AnyConnection;

use super::error::StoreError;
use super::query;
use super::row::Fields;
use super::tx::Tx;
use super::{Store, configs, devices, registry};
use crate::config::{AFTER_REFUSAL, candidates, would_take};
use crate::model::text::bounded;
use crate::model::{Actor, By, Config, Delivery, DeliveryState, DeviceState, MAX_PAGE, Time};

/// How long it is not audited again that the same configuration was offered to the same device, or taken by it.
const AUDITED_AGAIN: Duration = Duration::from_secs(3600);

/// What a device is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Which configuration.
    pub config: Config,
    /// Its file, exact bytes.
    pub bytes: Vec<u8>,
}

fn read(row: &Fields<'_>) -> Result<Delivery, StoreError> {
    let state = match row.text("state")?.as_str() {
        "offered" => DeliveryState::Offered,
        "taken" => DeliveryState::Taken,
        "running" => DeliveryState::Running,
        "refused" => DeliveryState::Refused { code: row.text("code")?, message: row.text("message")? },
        other => {
            return Err(StoreError::Corrupt { what: "state", message: format!("`{}` is no delivery's", bounded(other, 32)) });
        }
    };
    Ok(Delivery { device: row.word("device")?, digest: row.word("digest")?, state, at: row.time("at")? })
}

/// A state's word, code and message.
fn columns(state: &DeliveryState) -> (&'static str, String, String) {
    match state {
        DeliveryState::Offered => ("offered", String::new(), String::new()),
        DeliveryState::Taken => ("taken", String::new(), String::new()),
        DeliveryState::Running => ("running", String::new(), String::new()),
        DeliveryState::Refused { code, message } => ("refused", bounded(code, 64), bounded(message, 512)),
    }
}

async fn put(tx: &mut Tx, device: &DeviceId, digest: &Digest, state: &DeliveryState, at: Time) -> Result<(), StoreError> {
    let (word, code, message) = columns(state);
    let statement = sqlx::query(
        "INSERT INTO deliveries (device, digest, state, code, message, at) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (device, digest) \
         DO UPDATE SET state = excluded.state, code = excluded.code, message = excluded.message, at = excluded.at \
         WHERE NOT (deliveries.state = 'running' AND excluded.state = 'taken')",
    );
    // The report that it runs may be written before the answer that it was taken.
    let statement =
        statement.bind(device.to_string()).bind(digest.to_string()).bind(word).bind(code).bind(message).bind(at.millis());
    tx.run(statement, "note how far a configuration came").await.map(|_| ())
}

/// A device reports that it runs this; if the hub brought it, that is noted.
pub(super) async fn running(tx: &mut Tx, device: &DeviceId, digest: &Digest, at: Time) -> Result<(), StoreError> {
    let statement = sqlx::query(
        "UPDATE deliveries SET state = 'running', code = '', message = '', at = $3 WHERE device = $1 AND digest = $2 AND state <> 'running'",
    );
    let statement = statement.bind(device.to_string()).bind(digest.to_string()).bind(at.millis());
    if tx.run(statement, "note what a device runs").await? > 0 {
        let by = By::new(Actor::Device(device.clone()), "", at);
        tx.audit(&by, "config.running", Some(device), json!({ "digest": digest })).await?;
    }
    Ok(())
}

/// What a device refused later than that.
async fn refused_since(conn: &mut AnyConnection, device: &DeviceId, since: Time) -> Result<Vec<Digest>, StoreError> {
    let statement = sqlx::query("SELECT digest FROM deliveries WHERE device = $1 AND state = 'refused' AND at > $2");
    let statement = statement.bind(device.to_string()).bind(since.millis());
    query::list(conn, statement, "look for refusals", |row| row.word("digest")).await
}

impl Store {
    /// What this device is to be offered now, if anything: the newest that is assigned to it, that it does not have and would take, and did not
    /// refuse within the hour.
    ///
    /// # Errors
    /// The database failed.
    pub async fn to_deliver(&self, id: &DeviceId, now: Time) -> Result<Option<Offer>, StoreError> {
        let mut conn = self.reader().await?;
        let Some(device) = devices::find(&mut conn, id).await?.filter(|device| device.state == DeviceState::Admitted) else {
            return Ok(None);
        };
        let assigned = configs::assigned(&mut conn, &device).await?;
        let possible = candidates(&device, &assigned);
        if possible.is_empty() {
            return Ok(None);
        }
        let refused = refused_since(&mut conn, id, now.before(AFTER_REFUSAL)).await?;
        let fleets = registry::fleets(&mut conn).await?;
        for config in possible.into_iter().filter(|config| !refused.contains(&config.digest)) {
            let Some(bytes) = configs::bytes(&mut conn, &config.digest).await? else { continue };
            let fleet = fleets.iter().find(|fleet| fleet.name.as_str() == config.fleet);
            // What was left behind by a change of the fleet's keys is passed over.
            if fleet.is_some_and(|fleet| would_take(&bytes, fleet, &device).is_ok()) {
                return Ok(Some(Offer { config: config.clone(), bytes }));
            }
        }
        Ok(None)
    }

    /// Notes how far a configuration came on a device: offered by the hub, taken or refused by the device.
    ///
    /// # Errors
    /// The database failed.
    pub async fn record_delivery(
        &self,
        device: &DeviceId,
        digest: &Digest,
        state: DeliveryState,
        by: &By,
    ) -> Result<(), StoreError> {
        let (device, digest, by) = (device.clone(), digest.clone(), by.clone());
        self.write(move |tx| {
            Box::pin(async move {
                put(tx, &device, &digest, &state, by.at).await?;
                // A device that says at each call that it has nothing is offered the same each time.
                let repeats = matches!(state, DeliveryState::Offered | DeliveryState::Taken);
                let action = match &state {
                    DeliveryState::Offered => "config.offer",
                    DeliveryState::Taken => "config.taken",
                    DeliveryState::Refused { .. } => "config.refused",
                    DeliveryState::Running => "config.running",
                };
                let (_, code, message) = columns(&state);
                let details = json!({ "digest": digest, "code": code, "message": message });
                if repeats && tx.audited(&device, action, Some(&details), by.at.before(AUDITED_AGAIN)).await? > 0 {
                    return Ok(());
                }
                tx.audit(&by, action, Some(&device), details).await
            })
        })
        .await
    }

    /// The deliveries of one configuration, the newest first; so many at most.
    ///
    /// # Errors
    /// The database failed.
    pub async fn deliveries(&self, digest: &Digest, limit: u32) -> Result<Vec<Delivery>, StoreError> {
        let statement = sqlx::query("SELECT * FROM deliveries WHERE digest = $1 ORDER BY at DESC, device LIMIT $2");
        let statement = statement.bind(digest.to_string()).bind(i64::from(limit.clamp(1, MAX_PAGE)));
        query::list(&mut *self.reader().await?, statement, "list deliveries", read).await
    }

    /// The deliveries to one device, the newest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn deliveries_of(&self, device: &DeviceId) -> Result<Vec<Delivery>, StoreError> {
        let statement =
            sqlx::query("SELECT * FROM deliveries WHERE device = $1 ORDER BY at DESC, digest LIMIT 100").bind(device.to_string());
        query::list(&mut *self.reader().await?, statement, "list deliveries", read).await
    }
}
