//! Following the audit: what was written behind a place in it. Somebody may put an older database in place while the hub runs; who followed the
//! newer one by its numbers alone would hear nothing more, or miss the first lines of what is written now.

use super::Store;
use super::audit::read;
use super::error::StoreError;
use super::query;
use crate::model::AuditEntry;

/// Lines read at once.
const PIECE: i64 = 2000;

/// How far somebody followed the audit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditPlace {
    seq: i64,
    /// What the line there is known by, once it was seen.
    hash: Option<String>,
}

impl AuditPlace {
    /// Behind the line with this number; 0: before all.
    pub fn behind(seq: i64) -> Self {
        Self { seq, hash: None }
    }

    fn at(entry: &AuditEntry) -> Self {
        Self { seq: entry.seq, hash: Some(entry.hash.clone()) }
    }

    fn is(&self, entry: &AuditEntry) -> bool {
        entry.seq == self.seq && self.hash.as_ref().is_none_or(|hash| *hash == entry.hash)
    }
}

/// What was written behind a place.
#[derive(Debug)]
pub struct Changes {
    /// The lines, oldest first.
    pub lines: Vec<AuditEntry>,
    /// Where to go on.
    pub until: AuditPlace,
}

/// Why the audit cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It is not the audit that was followed.
    #[error(
        "cannot follow the audit: another database was put in place while this process ran, in which line {seq} of the audit is missing or another one; \
         this process must be started again"
    )]
    Replaced {
        /// The number of the line that was seen last.
        seq: i64,
    },
}

impl Store {
    /// What was written behind this place, by whichever process: how a process learns of approvals, removals and assignments made at another one.
    ///
    /// # Errors
    /// The database failed, or is not the one that was followed.
    pub async fn changes_behind(&self, place: &AuditPlace) -> Result<Changes, FollowError> {
        let statement = sqlx::query("SELECT * FROM audit WHERE seq >= $1 ORDER BY seq LIMIT $2").bind(place.seq).bind(PIECE + 1);
        let mut lines = query::list(&mut *self.reader().await?, statement, "follow the audit", read).await?;
        let until = lines.last().map(AuditPlace::at).unwrap_or_default();
        if place.seq > 0 {
            // The line at the place itself; it was seen.
            if !lines.first().is_some_and(|line| place.is(line)) {
                return Err(FollowError::Replaced { seq: place.seq });
            }
            lines.remove(0);
        }
        Ok(Changes { lines, until })
    }
}
