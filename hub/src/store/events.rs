//! Devices' events in the database: the last few of each.

use machine_config::DeviceId;

use super::Store;
use super::error::StoreError;
use super::query;
use super::row::Fields;
use crate::model::DeviceEvent;

/// Events that are kept of one device.
const KEPT: i64 = 200;
/// Events of one write at most; the newest count.
const MAX_EVENTS: usize = 100;

fn read(row: &Fields<'_>) -> Result<DeviceEvent, StoreError> {
    Ok(DeviceEvent {
        time: row.opt_time("at")?,
        sequence: row.count("sequence")?,
        kind: row.text("kind")?,
        subject: row.text("subject")?,
        message: row.text("message")?,
        received: row.time("received")?,
    })
}

impl Store {
    /// Keeps what a device told of.
    ///
    /// # Errors
    /// The database failed.
    pub async fn record_events(&self, device: &DeviceId, events: Vec<DeviceEvent>) -> Result<(), StoreError> {
        const DOING: &str = "keep a device's events";
        let device = device.to_string();
        self.write(move |tx| {
            Box::pin(async move {
                let passed = events.len().saturating_sub(MAX_EVENTS);
                for event in events.into_iter().skip(passed) {
                    let insert = sqlx::query(
                        "INSERT INTO device_events (device, received, sequence, at, kind, subject, message) VALUES ($1, $2, $3, $4, $5, $6, $7)",
                    )
                    .bind(device.clone())
                    .bind(event.received.millis())
                    .bind(i64::try_from(event.sequence).unwrap_or(i64::MAX))
                    .bind(event.time.map(crate::model::Time::millis))
                    .bind(event.kind)
                    .bind(event.subject)
                    .bind(event.message);
                    tx.run(insert, DOING).await?;
                }
                let prune = sqlx::query(
                    "DELETE FROM device_events WHERE device = $1 AND received < (SELECT received FROM device_events WHERE device = $1 \
                     ORDER BY received DESC, sequence DESC LIMIT 1 OFFSET $2)",
                );
                tx.run(prune.bind(device).bind(KEPT - 1), DOING).await.map(|_| ())
            })
        })
        .await
    }

    /// What a device told of last, the newest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn events(&self, device: &DeviceId, limit: u32) -> Result<Vec<DeviceEvent>, StoreError> {
        let statement =
            sqlx::query("SELECT * FROM device_events WHERE device = $1 ORDER BY received DESC, sequence DESC LIMIT $2");
        let statement = statement.bind(device.to_string()).bind(i64::from(limit).clamp(1, KEPT));
        query::list(&mut *self.reader().await?, statement, "list a device's events", read).await
    }
}
