//! One transaction: where writes happen. It appends to the audit in the same breath, so that no write is without its line and no line without
//! its write.

use machine_config::DeviceId;
use sqlx::{Any, AnyConnection, AnyPool, Executor, Transaction};

use super::backend::Backend;
use super::error::{Doing, StoreError};
use super::query::{self, Statement};
use super::row::Fields;
use crate::audit::{Head, Line};
use crate::model::{By, Time};

/// An open transaction.
pub(super) struct Tx {
    inner: Transaction<'static, Any>,
    head: Option<Head>,
    /// Some part was begun.
    is_marked: bool,
}

/// Where a write began.
pub(super) struct Mark(Option<Head>);

impl Tx {
    pub(super) async fn begin(pool: &AnyPool, backend: Backend) -> Result<Self, StoreError> {
        let mut inner = pool.begin_with(backend.begin()).await.doing("begin to write")?;
        if let Some(exclude) = backend.exclude() {
            inner.execute(sqlx::raw_sql(exclude)).await.doing("take turns with the hub's other processes")?;
        }
        Ok(Self { inner, head: None, is_marked: false })
    }

    pub(super) fn conn(&mut self) -> &mut AnyConnection {
        &mut self.inner
    }

    /// Begins a part that can be undone. The part before it is kept by that, in the same statement: each costs a way to the database.
    pub(super) async fn mark(&mut self) -> Result<Mark, StoreError> {
        let sql =
            if std::mem::replace(&mut self.is_marked, true) { "RELEASE SAVEPOINT one; SAVEPOINT one" } else { "SAVEPOINT one" };
        self.raw(sql).await?;
        Ok(Mark(self.head.clone()))
    }

    /// Undoes the part.
    pub(super) async fn undo(&mut self, mark: Mark) -> Result<(), StoreError> {
        self.raw("ROLLBACK TO SAVEPOINT one").await?;
        self.head = mark.0;
        Ok(())
    }

    /// Keeps all that was not undone; the number of the audit's last line if one was looked at.
    pub(super) async fn commit(self) -> Result<Option<i64>, StoreError> {
        self.inner.commit().await.doing("commit")?;
        Ok(self.head.map(|head| head.seq))
    }

    async fn raw(&mut self, sql: &'static str) -> Result<(), StoreError> {
        self.inner.execute(sqlx::raw_sql(sql)).await.map(|_| ()).doing("write in parts")
    }

    /// Runs a statement; the number of rows it changed.
    pub(super) async fn run(&mut self, statement: Statement, doing: &'static str) -> Result<u64, StoreError> {
        query::run(&mut self.inner, statement, doing).await
    }

    /// Appends to the audit.
    pub(super) async fn audit(
        &mut self,
        by: &By,
        action: &'static str,
        device: Option<&DeviceId>,
        details: serde_json::Value,
    ) -> Result<(), StoreError> {
        let head = match self.head.take() {
            Some(head) => head,
            None => self.read_head().await?,
        };
        let line = Line { seq: head.seq + 1, by, action, device: device.map(DeviceId::as_str), details: &details.to_string() };
        let hash = line.hash(&head.hash);
        let insert = sqlx::query(
            "INSERT INTO audit (seq, at, actor, action, device, address, details, previous, hash) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(line.seq)
        .bind(by.at.millis())
        .bind(by.actor.to_string())
        .bind(action)
        .bind(device.map(ToString::to_string))
        .bind(by.address.clone())
        .bind(details.to_string())
        .bind(head.hash.to_vec())
        .bind(hash.to_vec());
        self.run(insert, "append to the audit").await?;
        self.head = Some(Head { seq: head.seq + 1, hash });
        Ok(())
    }

    /// How often the audit says this of a device since then; with `details` only where it says the same.
    pub(super) async fn audited(
        &mut self,
        device: &DeviceId,
        action: &'static str,
        details: Option<&serde_json::Value>,
        since: Time,
    ) -> Result<i64, StoreError> {
        let count = sqlx::query(
            "SELECT COUNT(*) AS total FROM audit WHERE device = $1 AND action = $2 AND at > $3 AND ($4 = '' OR details = $4)",
        );
        let count = count.bind(device.to_string()).bind(action).bind(since.millis());
        let count = count.bind(details.map(ToString::to_string).unwrap_or_default());
        query::find(&mut self.inner, count, "look into the audit", |row| row.int("total")).await.map(Option::unwrap_or_default)
    }

    async fn read_head(&mut self) -> Result<Head, StoreError> {
        let last = sqlx::query("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1");
        let read = |row: &Fields<'_>| Ok(Head { seq: row.int("seq")?, hash: row.hash("hash")? });
        query::find(&mut self.inner, last, "read the end of the audit", read).await.map(Option::unwrap_or_default)
    }
}
