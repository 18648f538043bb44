//! Statements on a connection, whether or not in a transaction.

use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AnyConnection};

use super::error::{Doing, StoreError};
use super::row::{Fields, each};

/// A query with its values.
pub(super) type Statement = Query<'static, Any, AnyArguments>;

/// Runs a statement; the number of rows it changed.
pub(super) async fn run(conn: &mut AnyConnection, statement: Statement, doing: &'static str) -> Result<u64, StoreError> {
    statement.execute(conn).await.map(|done| done.rows_affected()).doing(doing)
}

/// What one row says, if there is one.
pub(super) async fn find<T>(
    conn: &mut AnyConnection,
    statement: Statement,
    doing: &'static str,
    read: impl FnOnce(&Fields<'_>) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    let row: Option<AnyRow> = statement.fetch_optional(conn).await.doing(doing)?;
    row.map(|row| read(&Fields(&row))).transpose()
}

/// What each row says.
pub(super) async fn list<T>(
    conn: &mut AnyConnection,
    statement: Statement,
    doing: &'static str,
    read: impl Fn(&Fields<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let rows: Vec<AnyRow> = statement.fetch_all(conn).await.doing(doing)?;
    each(&rows, read)
}
