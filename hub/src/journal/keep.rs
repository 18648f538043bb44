//! Following the audit into the journal.

use std::time::Duration;

use tokio::sync::watch;
use tracing::{error, warn};

use super::file::{Journal, JournalError};
use super::line::{Fact, Line};
use crate::model::{AuditEntry, Time};
use crate::store::{AuditPlace, CarriedOver, FollowError, Store, StoreError};

/// How often other processes' writes are looked for.
const POLL: Duration = Duration::from_secs(1);
/// The shortest pause between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// Why journal and database do not come together.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// The database failed.
    #[error("cannot bring the hub's journal and its database together")]
    Store(#[from] StoreError),
    /// The file failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// Carries the journal into the database. The answer is the number of the audit's line behind which the journal goes on: where it ended, or, when
/// the database is an older one, where that ends.
///
/// # Errors
/// One of them failed; the hub must not serve with a database that knows less than the journal.
pub async fn begin(store: &Store, journal: &mut Journal, now: Time) -> Result<i64, BeginError> {
    let head = *store.committed().borrow();
    journal.check(head)?;
    let CarriedOver { devices, tokens, api_tokens } = store.carry_over(journal.take_facts(), now).await?;
    if let Some(line) = journal.cut()? {
        warn!(line, "a line of the hub's journal was not written whole; it and those behind it are taken from the audit again");
    }
    if devices + tokens + api_tokens > 0 || journal.last() > head {
        warn!(
            devices,
            tokens,
            api_tokens,
            "the database is older than the hub's journal: removed devices, used and revoked join tokens and revoked API tokens are so again; who was \
             locked and which devices were refused or quarantined since it was made is not"
        );
    }
    if journal.last() > head {
        journal.add(&[Line { seq: head, fact: Fact::Restored }])?;
    }
    Ok(journal.last())
}

/// Why the journal is not kept.
#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error(transparent)]
    Follow(#[from] FollowError),
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// Keeps the journal until it is told to stop. What stood in the audit behind `seq` while no process kept it is made up for. It ends by itself
/// when another database was put in place: at the next start the journal is carried into that.
pub async fn keep(store: Store, mut journal: Journal, seq: i64, mut stop: watch::Receiver<bool>) {
    let mut place = AuditPlace::behind(seq);
    let mut committed = store.committed();
    committed.mark_changed();
    loop {
        let stopped = tokio::select! {
            _ = committed.changed() => false,
            () = tokio::time::sleep(POLL) => false,
            _ = stop.wait_for(|stop| *stop) => true,
        };
        // Once more after the last write of a process that stops.
        match read(&store, &mut journal, &mut place).await {
            Ok(()) => {}
            Err(error @ KeepError::Follow(FollowError::Replaced { .. })) => {
                return error!(error = &error as &dyn std::error::Error, "the journal is not kept any more");
            }
            Err(error) => warn!(error = &error as &dyn std::error::Error, "the journal is behind; trying again"),
        }
        if stopped {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Goes on from a place as far as everything before was kept.
async fn read(store: &Store, journal: &mut Journal, place: &mut AuditPlace) -> Result<(), KeepError> {
    loop {
        let changes = store.changes_behind(place).await?;
        let mut lines = Vec::new();
        for entry in &changes.lines {
            let fact = fact(store, entry).await.map_err(FollowError::from)?;
            lines.extend(fact.map(|fact| Line { seq: entry.seq, fact }));
        }
        journal.add(&lines)?;
        *place = changes.until;
        if changes.lines.is_empty() {
            return Ok(());
        }
    }
}

/// What of a line of the audit no older database may undo.
async fn fact(store: &Store, entry: &AuditEntry) -> Result<Option<Fact>, StoreError> {
    let token = || entry.details.get("token").and_then(|token| token.as_str()).map(str::to_owned);
    Ok(match (entry.action.as_str(), &entry.device) {
        ("device.remove", Some(device)) => {
            let known = store.device(device).await?;
            known.map(|known| Fact::Removed { device: known.id, key: known.public_key })
        }
        ("device.enrol" | "device.token", Some(device)) => token().map(|token| Fact::Used { token, device: device.clone() }),
        ("token.revoke", None) => token().map(|token| Fact::Revoked { token }),
        ("api-token.revoke", None) => token().map(|token| Fact::ApiRevoked { token }),
        _ => None,
    })
}
