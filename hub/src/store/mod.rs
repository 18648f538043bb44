//! What the hub remembers: one database, SQLite in its own folder or PostgreSQL shared by several processes. Every write goes through one
//! [`lane`](self) and returns once it is on the disk; every write that somebody causes is in the audit by the same transaction.
//!
//! It decides nothing: enrolment, tokens, configurations and the audit's form are pure functions in their own modules, called inside the
//! transaction that reads their facts and writes their result.

mod assignments;
mod attention;
mod audit;
mod backend;
mod claims;
mod conditions;
mod configs;
mod deliveries;
mod devices;
mod downloads;
mod enrolment;
mod error;
mod events;
mod expected;
mod following;
mod heartbeats;
mod installers;
mod lane;
mod logins;
mod lookup;
mod pages;
mod people;
mod phone_home;
mod query;
mod refusals;
mod registry;
mod replacement;
mod replicas;
mod restored;
mod roles;
mod row;
mod rules;
mod schema;
mod settings;
mod states;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod tokens;
mod tx;
mod unproven;

use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use futures_util::future::BoxFuture;
use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyPool, Executor};
use tokio::sync::watch;

use crate::model::text::bounded;
use crate::model::{By, Time};
use backend::{Backend, Pools};
use error::Doing;
use lane::Lane;
use machine_config::DeviceId;
use query::Statement;
use tx::Tx;

pub use attention::{HeardCounts, RefusedDelivery, SILENT_AFTER};
pub use audit::AuditError;
pub(crate) use downloads::new_name;

pub use claims::{Claim, ClaimBy, Claimed};
pub use deliveries::Offer;
pub use devices::Edit;
pub use enrolment::{Enrolled, Greeting};
pub use error::StoreError;
pub use expected::Imported;
pub use following::{AuditPlace, Changes, FollowError};
pub use heartbeats::Beat;
pub use installers::Installer;
pub use people::{Came, Entry, NewApiToken, PersonChange};
pub use phone_home::{PhoneHome, Proxy};
pub(crate) use replicas::DEVICE_MOVED;
pub use replicas::{REPLICA_LIFE, StreamPlace};
pub use restored::CarriedOver;
pub use rules::NewRule;
pub use states::Seen;
pub use tokens::NewToken;

/// Where SQLite keeps it, in the hub's folder.
const FILE: &str = "hub.db";

/// The hub's memory. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Store {
    /// Where this handle reads: for people, unless it was made [for devices](Self::for_devices).
    pool: AnyPool,
    devices: AnyPool,
    writer: AnyPool,
    lane: Lane,
}

impl Store {
    /// SQLite in this folder, made if it is not there, for the hub's user alone.
    ///
    /// # Errors
    /// The file cannot be made or is no database of this or an earlier version.
    pub async fn open_folder(folder: &Path, now: Time) -> Result<Self, StoreError> {
        let path = folder.join(FILE);
        let made = std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
        made.map_err(sqlx::Error::Io).doing("make the database's file")?;
        let path = path.canonicalize().map_err(sqlx::Error::Io).doing("find the database's file")?;
        let escaped: String = path.as_os_str().as_encoded_bytes().iter().map(|byte| escape(*byte)).collect();
        Self::open(&format!("sqlite://{escaped}?mode=rw"), now).await
    }

    /// The database that is in this folder already: what only looks must not make an empty one where somebody mistyped.
    ///
    /// # Errors
    /// There is none, or it is no database of this or an earlier version.
    pub async fn reopen_folder(folder: &Path, now: Time) -> Result<Self, StoreError> {
        let path = folder.join(FILE);
        if !path.exists() {
            return Err(StoreError::Missing { what: "a hub's database", name: path.display().to_string() });
        }
        Self::open_folder(folder, now).await
    }

    /// The database at this address: `sqlite:…` or `postgres:…`.
    ///
    /// # Errors
    /// It cannot be reached, or is no database of this or an earlier version.
    pub async fn open(url: &str, now: Time) -> Result<Self, StoreError> {
        let backend = Backend::of(url)?;
        let Pools { writer, devices, people: pool } = backend.pools(url).await?;
        let mut tx = writer.begin_with(backend.begin()).await.doing("begin to prepare the database")?;
        if let Some(exclude) = backend.exclude() {
            tx.execute(sqlx::raw_sql(exclude)).await.doing("wait for the hub's other processes")?;
        }
        schema::apply(&mut tx, backend, now).await?;
        tx.commit().await.doing("prepare the database")?;
        let last = sqlx::query("SELECT COALESCE(MAX(seq), 0) AS seq FROM audit");
        let mut conn = writer.acquire().await.doing("open the database")?;
        let seq = query::find(&mut conn, last, "read the end of the audit", |row| row.int("seq")).await?.unwrap_or(0);
        drop(conn);
        Ok(Self { lane: Lane::start(writer.clone(), backend, seq), writer, devices, pool })
    }

    /// The same store, reading over connections that are kept for devices: no search of a person's makes a device wait.
    pub fn for_devices(&self) -> Self {
        Self { pool: self.devices.clone(), ..self.clone() }
    }

    /// The number of the last line of the audit that this process committed; changes with every write that somebody caused. What another process
    /// wrote is found with [`Store::changes_behind`].
    pub fn committed(&self) -> watch::Receiver<i64> {
        self.lane.committed()
    }

    /// Completes when it is told to stop, and when the task that writes has ended by a fault: nothing can be written any more.
    pub async fn writing(self, mut stop: watch::Receiver<bool>) {
        let mut committed = self.lane.committed();
        let ended = async { while committed.changed().await.is_ok() {} };
        tokio::select! {
            () = ended => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }

    /// Closes the database for this process; all handles fail from then on.
    pub async fn close(&self) {
        for pool in [&self.pool, &self.devices, &self.writer] {
            pool.close().await;
        }
    }

    async fn reader(&self) -> Result<PoolConnection<Any>, StoreError> {
        self.pool.acquire().await.doing("read from the database")
    }

    /// Changes the one row that a statement is about, and appends that to the audit.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when there is no such row; `what` and `name` say which.
    async fn change_one(&self, statement: Statement, one: One, by: &By) -> Result<(), StoreError> {
        let by = by.clone();
        self.write(move |tx| {
            Box::pin(async move {
                if tx.run(statement, one.doing).await? == 0 {
                    return Err(StoreError::Missing { what: one.what, name: bounded(&one.name, 128) });
                }
                tx.audit(&by, one.action, one.device.as_ref(), one.details).await
            })
        })
        .await
    }

    async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, StoreError>> + Send + 'static,
    {
        self.lane.write(work).await
    }
}

/// A row that is there or is missing, and what the audit says when it was changed.
struct One {
    doing: &'static str,
    what: &'static str,
    name: String,
    action: &'static str,
    device: Option<DeviceId>,
    details: serde_json::Value,
}

/// A byte of a path in an address.
fn escape(byte: u8) -> String {
    let plain = byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    if plain { char::from(byte).to_string() } else { format!("%{byte:02X}") }
}
