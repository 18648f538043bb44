//! The hub's processes and the devices' streams they hold.

use std::time::Duration;

use machine_config::DeviceId;
use serde_json::json;

use super::Store;
use super::error::StoreError;
use super::query;
use super::row::Fields;
use super::tx::Tx;
use crate::model::{By, Replica, Stream, Time};

/// How long a process that is not heard of counts as alive; it says so every third of that.
pub const REPLICA_LIFE: Duration = Duration::from_secs(30);

/// The audit's word for a device that called at another process than the one that held it.
pub(crate) const DEVICE_MOVED: &str = "device.moved";
/// Moves of one device that are audited in an hour. The session that it left after more of them ends by its own silence.
const MOVES_PER_HOUR: i64 = 60;

/// Where a device's session counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamPlace {
    /// Where it was opened.
    Here,
    /// At a process that the device called later.
    Elsewhere(Stream),
}

fn read_replica(row: &Fields<'_>) -> Result<Replica, StoreError> {
    Ok(Replica { id: row.text("id")?, address: row.text("address")?, heartbeat_at: row.time("heartbeat_at")? })
}

impl Store {
    /// This process is alive. Processes long gone are forgotten, with their streams.
    ///
    /// # Errors
    /// The database failed.
    pub async fn replica_beat(&self, replica: Replica) -> Result<(), StoreError> {
        const DOING: &str = "say that this process is alive";
        self.write(move |tx| {
            Box::pin(async move {
                let gone = replica.heartbeat_at.before(20 * REPLICA_LIFE).millis();
                let streams = "DELETE FROM streams WHERE replica IN (SELECT id FROM replicas WHERE heartbeat_at < $1)";
                tx.run(sqlx::query(streams).bind(gone), DOING).await?;
                tx.run(sqlx::query("DELETE FROM replicas WHERE heartbeat_at < $1").bind(gone), DOING).await?;
                let put = sqlx::query(
                    "INSERT INTO replicas (id, address, heartbeat_at) VALUES ($1, $2, $3) \
                     ON CONFLICT (id) DO UPDATE SET address = excluded.address, heartbeat_at = excluded.heartbeat_at",
                );
                tx.run(put.bind(replica.id).bind(replica.address).bind(replica.heartbeat_at.millis()), DOING).await.map(|_| ())
            })
        })
        .await
    }

    /// This process ends: it and its streams are forgotten at once.
    ///
    /// # Errors
    /// The database failed.
    pub async fn replica_end(&self, id: &str) -> Result<(), StoreError> {
        const DOING: &str = "say that this process ends";
        let id = id.to_owned();
        self.write(move |tx| {
            Box::pin(async move {
                tx.run(sqlx::query("DELETE FROM streams WHERE replica = $1").bind(id.clone()), DOING).await?;
                tx.run(sqlx::query("DELETE FROM replicas WHERE id = $1").bind(id), DOING).await.map(|_| ())
            })
        })
        .await
    }

    /// The processes that are alive.
    ///
    /// # Errors
    /// The database failed.
    pub async fn replicas(&self, now: Time) -> Result<Vec<Replica>, StoreError> {
        let statement =
            sqlx::query("SELECT * FROM replicas WHERE heartbeat_at >= $1 ORDER BY id").bind(now.before(REPLICA_LIFE).millis());
        query::list(&mut *self.reader().await?, statement, "list processes", read_replica).await
    }

    /// A device's session is held here. Of two at living processes the later one counts, also when the earlier is written after it: its process
    /// waited for the database. That a device left another process is in the audit, which that process follows, and ends the session it left. The
    /// clocks of the hub's processes agree to less than a device's shortest pause between two calls.
    ///
    /// # Errors
    /// The database failed.
    pub async fn stream_open(&self, stream: Stream, by: &By) -> Result<StreamPlace, StoreError> {
        let by = by.clone();
        self.write(move |tx| Box::pin(async move { open(tx, stream, &by).await })).await
    }

    /// That session has ended. A later one of the same device stays.
    ///
    /// # Errors
    /// The database failed.
    pub async fn stream_close(&self, device: &DeviceId, session: &str) -> Result<(), StoreError> {
        let statement = sqlx::query("DELETE FROM streams WHERE device = $1 AND session = $2")
            .bind(device.to_string())
            .bind(session.to_owned());
        self.write(move |tx| Box::pin(async move { tx.run(statement, "note that a device's stream ended").await.map(|_| ()) }))
            .await
    }

    /// Which living process holds this device's session.
    ///
    /// # Errors
    /// The database failed.
    pub async fn stream_of(&self, device: &DeviceId, now: Time) -> Result<Option<(Stream, Replica)>, StoreError> {
        let statement = sqlx::query(
            "SELECT s.device, s.replica, s.session, s.since, r.id, r.address, r.heartbeat_at FROM streams s JOIN replicas r ON r.id = s.replica \
             WHERE s.device = $1 AND r.heartbeat_at >= $2",
        );
        let statement = statement.bind(device.to_string()).bind(now.before(REPLICA_LIFE).millis());
        let read = |row: &Fields<'_>| Ok((read_stream(row)?, read_replica(row)?));
        query::find(&mut *self.reader().await?, statement, "look for a device's stream", read).await
    }
}

async fn open(tx: &mut Tx, stream: Stream, by: &By) -> Result<StreamPlace, StoreError> {
    let before = before(tx, &stream).await?.filter(|before| before.session != stream.session);
    if let Some(later) = before.clone().filter(|before| before.since > stream.since) {
        return Ok(StreamPlace::Elsewhere(later));
    }
    let put = sqlx::query(
        "INSERT INTO streams (device, replica, session, since) VALUES ($1, $2, $3, $4) ON CONFLICT (device) \
         DO UPDATE SET replica = excluded.replica, session = excluded.session, since = excluded.since",
    );
    let put = put.bind(stream.device.to_string()).bind(stream.replica.clone());
    tx.run(put.bind(stream.session.clone()).bind(stream.since.millis()), "note where a device's stream is").await?;
    if let Some(before) = before.filter(|before| before.replica != stream.replica) {
        let hour = by.at.before(Duration::from_secs(3600));
        if tx.audited(&stream.device, DEVICE_MOVED, None, hour).await? < MOVES_PER_HOUR {
            let details = json!({ "from": before.session, "to": stream.session });
            tx.audit(by, DEVICE_MOVED, Some(&stream.device), details).await?;
        }
    }
    Ok(StreamPlace::Here)
}

/// The device's stream at a process that lives. One that was killed and began again at the same address does not.
async fn before(tx: &mut Tx, stream: &Stream) -> Result<Option<Stream>, StoreError> {
    let find = sqlx::query(
        "SELECT s.device, s.replica, s.session, s.since FROM streams s JOIN replicas r ON r.id = s.replica WHERE s.device = $1 \
         AND r.heartbeat_at >= $2 AND (s.replica = $3 OR r.address NOT IN (SELECT address FROM replicas WHERE id = $3))",
    );
    let find = find.bind(stream.device.to_string()).bind(stream.since.before(REPLICA_LIFE).millis()).bind(stream.replica.clone());
    query::find(tx.conn(), find, "look for a device's stream", read_stream).await
}

fn read_stream(row: &Fields<'_>) -> Result<Stream, StoreError> {
    Ok(Stream {
        device: row.word("device")?,
        replica: row.text("replica")?,
        session: row.text("session")?,
        since: row.time("since")?,
    })
}
