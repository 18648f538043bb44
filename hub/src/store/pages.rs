//! Lists for people, a page at a time: however many there are, one request holds a bounded part of them.

use sqlx::AssertSqlSafe;

use super::error::StoreError;
use super::row::Fields;
use super::{Store, configs, people, query, tokens};
use crate::model::people::{ApiToken, User};
use crate::model::{Config, MAX_PAGE, Page, Token};

/// A configuration without its file.
const CONFIG: &str = "digest, size, fleet, name, generation, target, key_id, uploaded_by, uploaded_at";
/// Entries of a page when nobody says how many.
const USUAL: u32 = 100;

impl Store {
    /// `columns`, `table` and `order` are ours, never anybody's words.
    async fn page<T>(
        &self,
        [columns, table, order]: [&'static str; 3],
        (offset, limit): (u64, u32),
        read: impl Fn(&Fields<'_>) -> Result<T, StoreError>,
    ) -> Result<Page<T>, StoreError> {
        let mut conn = self.reader().await?;
        let count = sqlx::query(AssertSqlSafe(format!("SELECT COUNT(*) AS total FROM {table}")));
        let total = query::find(&mut conn, count, "count entries", |row| row.count("total")).await?.unwrap_or(0);
        let limit = if limit == 0 { USUAL } else { limit.min(MAX_PAGE) };
        let list = format!("SELECT {columns} FROM {table} ORDER BY {order} LIMIT $1 OFFSET $2");
        let list = sqlx::query(AssertSqlSafe(list)).bind(i64::from(limit)).bind(i64::try_from(offset).unwrap_or(i64::MAX));
        Ok(Page { items: query::list(&mut conn, list, "list entries", read).await?, total })
    }

    /// Join tokens, the newest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn tokens_page(&self, offset: u64, limit: u32) -> Result<Page<Token>, StoreError> {
        self.page(["*", "tokens", "created_at DESC, id"], (offset, limit), tokens::read).await
    }

    /// Configurations, the newest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn configs_page(&self, offset: u64, limit: u32) -> Result<Page<Config>, StoreError> {
        self.page([CONFIG, "configs", "uploaded_at DESC, digest"], (offset, limit), configs::read).await
    }

    /// People, by name.
    ///
    /// # Errors
    /// The database failed.
    pub async fn users_page(&self, offset: u64, limit: u32) -> Result<Page<User>, StoreError> {
        self.page(["*", "users", "name"], (offset, limit), people::read_user).await
    }

    /// API tokens, the newest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn api_tokens_page(&self, offset: u64, limit: u32) -> Result<Page<ApiToken>, StoreError> {
        self.page(["*", "api_tokens", "created_at DESC, id"], (offset, limit), people::read_token).await
    }
}
