//! The audit in the database: reading it and proving it.

use std::cmp::Reverse;

use machine_config::DeviceId;
use serde_json::Value as Json;
use sqlx::AnyConnection;

use super::Store;
use super::conditions::{Conditions, Value};
use super::error::StoreError;
use super::query::{self, Statement};
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

pub(super) fn read(row: &Fields<'_>) -> Result<AuditEntry, StoreError> {
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

/// Which actions.
#[derive(Debug, Clone, Copy)]
enum Action<'a> {
    /// Those that begin so; none: all.
    Begins(Option<&'a str>),
    /// This one.
    Is(&'a str),
}

fn limit(filter: &AuditFilter) -> u32 {
    if filter.limit == 0 { 100 } else { filter.limit.min(MAX_PAGE) }
}

fn statement(filter: &AuditFilter, action: Action<'_>) -> Statement {
    let mut all = Conditions::default();
    all.add_text("device = ?", filter.device.as_ref().map(ToString::to_string));
    all.add_text("actor = ?", filter.actor.clone().filter(|actor| !actor.is_empty()));
    match action {
        Action::Is(action) => all.add("action = ?", Value::Text(action.to_owned())),
        // An expression has no index: the lines of one device or actor are gone through, not those of an action.
        Action::Begins(Some(prefix)) => all.add("SUBSTR(action, 1, LENGTH(?)) = ?", Value::Text(prefix.to_owned())),
        Action::Begins(None) => {}
    }
    if let Some(before) = filter.before {
        all.add("seq < ?", Value::Int(before));
    }
    all.statement("SELECT * FROM audit", &format!("ORDER BY seq DESC LIMIT {}", limit(filter)))
}

/// The actions that stand in the audit: the program has some dozens of words for them.
async fn actions(conn: &mut AnyConnection) -> Result<Vec<String>, StoreError> {
    let mut found = Vec::<String>::new();
    loop {
        let next = match found.last() {
            Some(last) => sqlx::query("SELECT MIN(action) AS action FROM audit WHERE action > $1").bind(last.clone()),
            None => sqlx::query("SELECT MIN(action) AS action FROM audit"),
        };
        match query::find(conn, next, "read the audit", |row| row.opt_text("action")).await?.flatten() {
            Some(action) => found.push(action),
            None => return Ok(found),
        }
    }
}

impl Store {
    /// Lines of the audit, the newest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn audit(&self, filter: &AuditFilter) -> Result<Vec<AuditEntry>, StoreError> {
        let mut conn = self.reader().await?;
        let prefix = filter.action.as_deref().filter(|prefix| !prefix.is_empty());
        let is_narrow = filter.device.is_some() || filter.actor.as_ref().is_some_and(|actor| !actor.is_empty());
        let Some(prefix) = prefix.filter(|_| !is_narrow) else {
            return query::list(&mut conn, statement(filter, Action::Begins(prefix)), "read the audit", read).await;
        };
        // Of each action that begins so the newest, and of those the newest: no line is read that is not asked for, however many there are.
        let mut lines = Vec::new();
        for action in actions(&mut conn).await?.iter().filter(|action| action.starts_with(prefix)) {
            lines.extend(query::list(&mut conn, statement(filter, Action::Is(action)), "read the audit", read).await?);
        }
        lines.sort_unstable_by_key(|line| Reverse(line.seq));
        lines.truncate(limit(filter) as usize);
        Ok(lines)
    }

    /// Appends a line that no other write makes: a tunnel that opened or closed, a sign-in. No secret may stand in `details`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn note(&self, by: &By, action: &'static str, device: Option<&DeviceId>, details: Json) -> Result<(), StoreError> {
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
