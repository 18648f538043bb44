//! The hub's processes and the devices' streams they hold.

use std::time::Duration;

use machine_config::DeviceId;

use super::Store;
use super::error::StoreError;
use super::query;
use super::row::Fields;
use crate::model::{Replica, Stream, Time};

/// How long a process that is not heard of counts as alive; it says so every third of that.
pub const REPLICA_LIFE: Duration = Duration::from_secs(30);

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

    /// A device's session is held here. Of two the later one counts, also when the earlier is written after it: its process waited for the
    /// database. The one that was known before, wherever it was, is the answer. The clocks of the hub's processes agree to less than a device's
    /// shortest pause between two calls.
    ///
    /// # Errors
    /// The database failed.
    pub async fn stream_open(&self, stream: Stream) -> Result<Option<Stream>, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let find = sqlx::query("SELECT * FROM streams WHERE device = $1").bind(stream.device.to_string());
                let before = query::find(tx.conn(), find, "look for a device's stream", read_stream).await?;
                let put = sqlx::query(
                    "INSERT INTO streams (device, replica, session, since) VALUES ($1, $2, $3, $4) ON CONFLICT (device) \
                     DO UPDATE SET replica = excluded.replica, session = excluded.session, since = excluded.since WHERE streams.since <= excluded.since",
                );
                let put =
                    put.bind(stream.device.to_string()).bind(stream.replica).bind(stream.session).bind(stream.since.millis());
                tx.run(put, "note where a device's stream is").await?;
                Ok(before)
            })
        })
        .await
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

fn read_stream(row: &Fields<'_>) -> Result<Stream, StoreError> {
    Ok(Stream {
        device: row.word("device")?,
        replica: row.text("replica")?,
        session: row.text("session")?,
        since: row.time("since")?,
    })
}
