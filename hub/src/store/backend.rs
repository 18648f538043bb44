//! The two databases, and everything in which they differ.

use sqlx::any::AnyPoolOptions;
use sqlx::{AnyPool, Executor};

use super::error::{Doing, StoreError};

/// Connections of one process with which devices are read.
const DEVICES: u32 = 4;
/// And those of people: a search may take one for long.
const PEOPLE: u32 = 3;

/// The connections of one process, kept apart so that nobody waits for somebody else's.
pub(super) struct Pools {
    /// The one that writes.
    pub(super) writer: AnyPool,
    /// Reading for devices.
    pub(super) devices: AnyPool,
    /// Reading for people.
    pub(super) people: AnyPool,
}

/// Which database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Backend {
    Sqlite,
    Postgres,
}

impl Backend {
    /// By the beginning of an address.
    pub(super) fn of(url: &str) -> Result<Self, StoreError> {
        match url.split(':').next() {
            Some("sqlite") => Ok(Self::Sqlite),
            Some("postgres" | "postgresql") => Ok(Self::Postgres),
            Some(_) | None => Err(StoreError::Url),
        }
    }

    /// The type of bytes.
    pub(super) const fn blob(self) -> &'static str {
        match self {
            Self::Sqlite => "BLOB",
            Self::Postgres => "BYTEA",
        }
    }

    /// How a transaction that writes begins.
    pub(super) const fn begin(self) -> &'static str {
        match self {
            // Takes the lock at once: a transaction that reads first and writes later could not be waited for.
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::Postgres => "BEGIN ISOLATION LEVEL READ COMMITTED",
        }
    }

    /// What makes sure that no other process of the hub writes until the transaction ends; the number is ours alone.
    pub(super) const fn exclude(self) -> Option<&'static str> {
        match self {
            Self::Sqlite => None,
            Self::Postgres => Some("SELECT pg_advisory_xact_lock(7440001)"),
        }
    }

    /// What each new connection is told.
    const fn prepare(self) -> &'static str {
        match self {
            Self::Sqlite => {
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 15000; PRAGMA foreign_keys = ON; \
                 PRAGMA temp_store = MEMORY; PRAGMA cache_size = -4000;"
            }
            // A process whose host is gone must not keep the others from writing until TCP gives it up.
            Self::Postgres => {
                "SET synchronous_commit = on; SET statement_timeout = '30s'; SET lock_timeout = '20s'; \
                 SET idle_in_transaction_session_timeout = '10s';"
            }
        }
    }

    /// Opens it; connections for reading are made when they are needed.
    pub(super) async fn pools(self, url: &str) -> Result<Pools, StoreError> {
        const DOING: &str = "open the database";
        sqlx::any::install_default_drivers();
        Ok(Pools {
            writer: self.options(1).connect(url).await.doing(DOING)?,
            devices: self.options(DEVICES).connect_lazy(url).doing(DOING)?,
            people: self.options(PEOPLE).connect_lazy(url).doing(DOING)?,
        })
    }

    fn options(self, connections: u32) -> AnyPoolOptions {
        let prepare = self.prepare();
        AnyPoolOptions::new()
            .max_connections(connections)
            .after_connect(move |conn, _| Box::pin(async move { conn.execute(sqlx::raw_sql(prepare)).await.map(|_| ()) }))
    }
}
