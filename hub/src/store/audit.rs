//! The audit in the database: reading it, proving it, and following what changes.

use serde_json::Value;
use sqlx::AssertSqlSafe;

use machine_config::DeviceId;

use super::Store;
use super::error::StoreError;
use super::query;
use super::row::Fields;
use crate::audit::{Chain, ChainError, Proof};
use crate::model::{AuditEntry, AuditFilter, By, MAX_PAGE};

/// Lines read at once.
const PIECE: i64 = 2000;

/// Why the audit is not proved.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// It cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It is not whole.
    #[error(transparent)]
    Chain(#[from] ChainError),
}

fn read(row: &Fields<'_>) -> Result<AuditEntry, StoreError> {
    Ok(AuditEntry {
        seq: row.int("seq")?,
        at: row.time("at")?,
        actor: row.text("actor")?,
        action: row.text("action")?,
        device: row.opt_word("device")?,
        address: row.text("address")?,
        details: row.json("details")?,
        previous: hex::encode(row.bytes("previous")?),
        hash: hex::encode(row.bytes("hash")?),
    })
}

impl Store {
    /// Lines of the audit, the newest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn audit(&self, filter: &AuditFilter) -> Result<Vec<AuditEntry>, StoreError> {
        let limit = if filter.limit == 0 { 100 } else { filter.limit.min(MAX_PAGE) };
        let text = format!(
            "SELECT * FROM audit WHERE ($1 = '' OR device = $1) AND ($2 = '' OR actor = $2) AND ($3 = '' OR action LIKE $3) AND seq < $4 \
             ORDER BY seq DESC LIMIT {limit}"
        );
        let prefix = filter.action.as_ref().map(|action| action.replace(['%', '_'], "") + "%");
        let statement = sqlx::query(AssertSqlSafe(text))
            .bind(filter.device.as_ref().map(ToString::to_string).unwrap_or_default())
            .bind(filter.actor.clone().unwrap_or_default())
            .bind(prefix.unwrap_or_default())
            .bind(filter.before.unwrap_or(i64::MAX));
        query::list(&mut *self.reader().await?, statement, "read the audit", read).await
    }

    /// What was written after this line, by whichever process, oldest first: how a process learns of approvals, removals and assignments made at
    /// another one.
    ///
    /// # Errors
    /// The database failed.
    pub async fn changes_after(&self, seq: i64) -> Result<Vec<AuditEntry>, StoreError> {
        let statement = sqlx::query("SELECT * FROM audit WHERE seq > $1 ORDER BY seq LIMIT $2").bind(seq).bind(PIECE);
        query::list(&mut *self.reader().await?, statement, "follow the audit", read).await
    }

    /// Appends a line that no other write makes: a tunnel that opened or closed, a sign-in. No secret may stand in `details`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn note(&self, by: &By, action: &'static str, device: Option<&DeviceId>, details: Value) -> Result<(), StoreError> {
        let (by, device) = (by.clone(), device.cloned());
        self.write(move |tx| Box::pin(async move { tx.audit(&by, action, device.as_ref(), details).await })).await
    }

    /// Proves the whole audit; with `holds` also that a line with this hash is in it.
    ///
    /// # Errors
    /// The first line that is not believed.
    pub async fn verify_audit(&self, holds: Option<&str>) -> Result<Proof, AuditError> {
        let mut chain = Chain::default();
        let mut held = holds.is_none();
        loop {
            let statement =
                sqlx::query("SELECT * FROM audit WHERE seq > $1 ORDER BY seq LIMIT $2").bind(chain.proof().lines).bind(PIECE);
            let exact = |row: &Fields<'_>| Ok((read(row)?, row.text("details")?));
            let lines = query::list(&mut *self.reader().await?, statement, "read the audit", exact).await?;
            if lines.is_empty() {
                break;
            }
            for (entry, details) in &lines {
                chain.follow(entry, details)?;
                held = held || holds == Some(&entry.hash);
            }
        }
        match holds {
            Some(hash) if !held => Err(ChainError::End { hash: crate::model::text::bounded(hash, 64) }.into()),
            Some(_) | None => Ok(chain.proof()),
        }
    }
}
