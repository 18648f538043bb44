//! The database's form: numbered steps, each applied once, in order, in one transaction. A database that a later program made is left alone.

use sqlx::{AnyConnection, AssertSqlSafe, Row};

use super::backend::Backend;
use super::error::{Doing, StoreError};
use crate::model::Time;

/// One step: what both databases share, then what each needs of its own.
struct Step {
    shared: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
}

/// All steps; the first makes version 1.
const STEPS: &[Step] = &[
    Step {
        shared: include_str!("schema/001.sql"),
        sqlite: include_str!("schema/001.sqlite.sql"),
        postgres: include_str!("schema/001.postgres.sql"),
    },
    Step { shared: include_str!("schema/002.sql"), sqlite: "", postgres: "" },
    Step { shared: include_str!("schema/003.sql"), sqlite: "", postgres: "" },
    Step { shared: include_str!("schema/004.sql"), sqlite: "", postgres: "" },
    Step { shared: include_str!("schema/005.sql"), sqlite: "", postgres: "" },
];

/// The version this program makes and reads.
pub(super) fn known() -> i64 {
    i64::try_from(STEPS.len()).expect("a few steps")
}

impl Step {
    fn text(&self, backend: Backend) -> String {
        let own = match backend {
            Backend::Sqlite => self.sqlite,
            Backend::Postgres => self.postgres,
        };
        format!("{}\n{own}", self.shared).replace("{blob}", backend.blob())
    }
}

/// Brings the database to the form this program knows.
///
/// # Errors
/// [`StoreError::Newer`] for a database of a later program.
pub(super) async fn apply(conn: &mut AnyConnection, backend: Backend, now: Time) -> Result<(), StoreError> {
    steps(conn, backend, now, STEPS.len()).await
}

/// The first of the steps, so many: a test makes the database of an earlier program.
pub(super) async fn steps(conn: &mut AnyConnection, backend: Backend, now: Time, count: usize) -> Result<(), StoreError> {
    let create = "CREATE TABLE IF NOT EXISTS schema_versions (version BIGINT NOT NULL PRIMARY KEY, at BIGINT NOT NULL)";
    sqlx::query(create).execute(&mut *conn).await.doing("make the table of versions")?;
    let row = sqlx::query("SELECT COALESCE(MAX(version), 0) AS found FROM schema_versions").fetch_one(&mut *conn).await;
    let found: i64 = row.and_then(|row| row.try_get("found")).doing("read the database's version")?;
    if found > known() {
        return Err(StoreError::Newer { found, known: known() });
    }
    for (version, step) in (1..).zip(&STEPS[..count]).filter(|(version, _)| *version > found) {
        sqlx::raw_sql(AssertSqlSafe(step.text(backend))).execute(&mut *conn).await.doing("bring the database to a newer form")?;
        let insert = sqlx::query("INSERT INTO schema_versions (version, at) VALUES ($1, $2)");
        insert.bind(version).bind(now.millis()).execute(&mut *conn).await.doing("note the database's version")?;
    }
    Ok(())
}
