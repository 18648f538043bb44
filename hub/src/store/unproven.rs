//! Devices that wait, or that a rule turned away, and of which nothing is proved but that somebody made a key: no join token, and no key that was made
//! beforehand. They are counted, so that nobody fills the queue with them, and forgotten when they do not call any more.

use std::time::Duration;

use machine_config::DeviceId;
use serde_json::json;
use sqlx::{AnyConnection, AssertSqlSafe};

use super::Store;
use super::error::StoreError;
use super::query;
use super::tx::Tx;
use crate::enrol::{Claims, Crowd};
use crate::listen::neighbour;
use crate::model::{Actor, By, Device, Expected, Time};

/// How long one that does not call is kept.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// So many are forgotten in one write; the audit names them.
const AT_ONCE: i64 = 200;
const DOING: &str = "count devices that wait";
const FORGETTING: &str = "forget devices that do not call";

/// What stands in the device's row: where it calls from, while nothing of it is proved.
pub(super) fn neighbour_of(device: &Device) -> Option<String> {
    device.last_address.filter(|_| device.is_unproven()).map(|address| neighbour(address).to_string())
}

/// How many others there are: in all, for one of these places as far as its hardware is what the device says now, and from where it calls.
pub(super) async fn crowd(conn: &mut AnyConnection, places: &[Expected], claims: &Claims) -> Result<Crowd, StoreError> {
    let own = claims.id.to_string();
    let mut crowd = Crowd::default();
    let (serials, macs) = (claims.serials(), claims.macs());
    let is_said = |place: &&Expected| {
        place.serial.as_ref().is_some_and(|serial| serials.contains(serial))
            || place.mac.as_ref().is_some_and(|mac| macs.contains(mac))
    };
    for place in places.iter().filter(is_said) {
        let mac = place.mac.as_ref().map(|mac| ("mac", mac.to_string()));
        for (kind, value) in place.serial.clone().map(|serial| ("serial", serial)).into_iter().chain(mac) {
            let count = sqlx::query(
                "SELECT COUNT(*) AS total FROM device_facts f JOIN devices d ON d.id = f.device \
                 WHERE f.kind = $1 AND f.value = $2 AND d.neighbour IS NOT NULL AND d.id <> $3",
            );
            let count =
                query::find(conn, count.bind(kind).bind(value).bind(own.clone()), DOING, |row| row.count("total")).await?;
            crowd.of_place = crowd.of_place.max(count.unwrap_or(0));
        }
    }
    let from = neighbour(claims.address).to_string();
    let count =
        sqlx::query("SELECT COUNT(*) AS total FROM devices WHERE neighbour = $1 AND id <> $2").bind(from).bind(own.clone());
    crowd.of_neighbour = query::find(conn, count, DOING, |row| row.count("total")).await?.unwrap_or(0);
    let count = sqlx::query(
        "SELECT COUNT(*) AS total FROM devices d WHERE d.neighbour IS NOT NULL AND d.id <> $1 \
         AND NOT EXISTS (SELECT 1 FROM expected e WHERE e.device_id = d.id)",
    );
    crowd.of_all = query::find(conn, count.bind(own), DOING, |row| row.count("total")).await?.unwrap_or(0);
    Ok(crowd)
}

/// How many wait and are none of these.
pub(super) async fn count_others(conn: &mut AnyConnection) -> Result<u64, StoreError> {
    let count = sqlx::query(
        "SELECT COUNT(*) AS total FROM devices d WHERE d.state = 'pending' \
         AND (d.neighbour IS NULL OR EXISTS (SELECT 1 FROM expected e WHERE e.device_id = d.id))",
    );
    Ok(query::find(conn, count, DOING, |row| row.count("total")).await?.unwrap_or(0))
}

impl Store {
    /// Forgets those that did not call for a day, some hundreds at most; how many. Those that a rule turned away are not heard, and forgotten a day
    /// later. Those for which somebody did something stay: a claim, an edit, a configuration, a refusal.
    ///
    /// # Errors
    /// The database failed.
    pub async fn forget_unproven(&self, now: Time) -> Result<usize, StoreError> {
        self.write(move |tx| Box::pin(async move { forget(tx, now).await })).await
    }
}

async fn forget(tx: &mut Tx, now: Time) -> Result<usize, StoreError> {
    let find = sqlx::query(
        "SELECT d.id FROM devices d JOIN presence p ON p.device = d.id \
         WHERE d.state IN ('pending', 'refused', 'quarantined') AND d.token IS NULL AND d.pinned IS NULL AND d.admitted_by IS NULL \
         AND p.last_seen < $1 \
         AND NOT EXISTS (SELECT 1 FROM expected e WHERE e.device_id = d.id) \
         AND NOT EXISTS (SELECT 1 FROM assignments a WHERE a.kind = 'device' AND a.value = d.id) \
         AND NOT EXISTS (SELECT 1 FROM audit x WHERE x.device = d.id AND x.actor NOT LIKE 'rule:%' \
         AND x.action IN ('device.edit', 'device.claim', 'device.refuse', 'device.quarantine', 'device.approve')) LIMIT $2",
    );
    let find = find.bind(now.before(KEPT).millis()).bind(AT_ONCE);
    let ids: Vec<DeviceId> = query::list(tx.conn(), find, FORGETTING, |row| row.word("id")).await?;
    for id in &ids {
        for (table, column) in
            [("device_events", "device"), ("device_facts", "device"), ("presence", "device"), ("devices", "id")]
        {
            let delete = sqlx::query(AssertSqlSafe(format!("DELETE FROM {table} WHERE {column} = $1")));
            tx.run(delete.bind(id.to_string()), FORGETTING).await?;
        }
    }
    if !ids.is_empty() {
        tx.audit(&By::new(Actor::Host, "", now), "device.forget", None, json!({ "devices": ids })).await?;
    }
    Ok(ids.len())
}
