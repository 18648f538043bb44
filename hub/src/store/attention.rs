//! What needs somebody: devices that are not heard any more, and configurations that devices refused. For the first page.

use std::time::Duration;

use machine_config::DeviceId;
use machine_config::types::Digest;

use super::Store;
use super::devices::{SELECT, read_device};
use super::error::StoreError;
use super::query;
use crate::model::{Device, MAX_PAGE, Time};

/// An admitted device that was not heard for so long is silent: it missed three heartbeats.
pub const SILENT_AFTER: Duration = Duration::from_secs(600);

/// A configuration that a device refused last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedDelivery {
    /// The device.
    pub device: DeviceId,
    /// What the hub calls it.
    pub name: Option<String>,
    /// The configuration.
    pub digest: Digest,
    /// The refusal's stable code.
    pub code: String,
    /// The same for people.
    pub message: String,
    /// When.
    pub at: Time,
}

/// Admitted devices by when they were heard last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HeardCounts {
    /// Within [`SILENT_AFTER`].
    pub minutes: u64,
    /// Earlier, within the hour.
    pub hour: u64,
    /// Earlier, within the day.
    pub day: u64,
    /// Earlier than that.
    pub longer: u64,
}

impl Store {
    /// Admitted devices that were heard last before this moment, the longest silent first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn silent_devices(&self, before: Time, limit: u32) -> Result<Vec<Device>, StoreError> {
        let text = format!("{SELECT} WHERE d.state = 'admitted' AND p.last_seen < $1 ORDER BY p.last_seen LIMIT $2");
        let statement = sqlx::query(sqlx::AssertSqlSafe(text)).bind(before.millis()).bind(i64::from(limit.min(MAX_PAGE)));
        query::list(&mut *self.reader().await?, statement, "look for silent devices", read_device).await
    }

    /// What admitted devices refused, the newest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn refused_deliveries(&self, limit: u32) -> Result<Vec<RefusedDelivery>, StoreError> {
        let statement = sqlx::query(
            "SELECT r.device, d.name, r.digest, r.code, r.message, r.at FROM deliveries r JOIN devices d ON d.id = r.device \
             WHERE r.state = 'refused' AND d.state = 'admitted' ORDER BY r.at DESC, r.device LIMIT $1",
        );
        query::list(&mut *self.reader().await?, statement.bind(i64::from(limit.min(MAX_PAGE))), "look for refusals", |row| {
            Ok(RefusedDelivery {
                device: row.word("device")?,
                name: row.opt_text("name")?,
                digest: row.word("digest")?,
                code: row.text("code")?,
                message: row.text("message")?,
                at: row.time("at")?,
            })
        })
        .await
    }

    /// How many admitted devices were heard when.
    ///
    /// # Errors
    /// The database failed.
    pub async fn heard_counts(&self, now: Time) -> Result<HeardCounts, StoreError> {
        let statement = sqlx::query(
            "SELECT COUNT(*) AS total, COUNT(CASE WHEN p.last_seen >= $1 THEN 1 END) AS minutes, \
             COUNT(CASE WHEN p.last_seen >= $2 THEN 1 END) AS hour, COUNT(CASE WHEN p.last_seen >= $3 THEN 1 END) AS day \
             FROM devices d JOIN presence p ON p.device = d.id WHERE d.state = 'admitted'",
        );
        let ends = [SILENT_AFTER, Duration::from_secs(3600), Duration::from_secs(86_400)];
        let statement = ends.iter().fold(statement, |statement, end| statement.bind(now.before(*end).millis()));
        let mut conn = self.reader().await?;
        let counts = query::find(&mut conn, statement, "count devices by when they were heard", |row| {
            let (minutes, hour, day, total): (u64, u64, u64, u64) =
                (row.count("minutes")?, row.count("hour")?, row.count("day")?, row.count("total")?);
            let more = |all: u64, fewer: u64| all.saturating_sub(fewer);
            Ok(HeardCounts { minutes, hour: more(hour, minutes), day: more(day, hour), longer: more(total, day) })
        });
        Ok(counts.await?.unwrap_or_default())
    }
}
