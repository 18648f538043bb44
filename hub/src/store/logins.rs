//! Logins in browsers: cookies as hashes.

use machine_config::types::Secret;
use serde_json::json;

use super::Store;
use super::error::StoreError;
use super::query;
use super::tokens::random;
use super::tx::Tx;
use crate::model::people::Login;
use crate::model::{By, Time};
use crate::tokens;

/// How a login's cookie begins.
const PREFIX: &str = "skl_";
/// A login that counts: not of somebody who is locked out.
const LOGIN: &str = "SELECT logins.* FROM logins \
                     LEFT JOIN users ON logins.user_name LIKE 'user:%' AND users.name = SUBSTR(logins.user_name, 6) \
                     WHERE logins.hash = $1 AND logins.expires_at > $2 AND (users.locked IS NULL OR users.locked = 0)";

impl Store {
    /// Begins a login, and gives its cookie's text. Logins that are over are forgotten.
    ///
    /// # Errors
    /// The database failed.
    pub async fn create_login(&self, login: Login, by: &By) -> Result<Secret, StoreError> {
        let (text, by) = (new_text()?, by.clone());
        self.write(move |tx| {
            Box::pin(async move {
                begin(tx, &text, login, &by).await?;
                Ok(text)
            })
        })
        .await
    }

    /// The login with this cookie, if it counts now.
    ///
    /// # Errors
    /// The database failed.
    pub async fn login(&self, text: &str, now: Time) -> Result<Option<Login>, StoreError> {
        let statement = sqlx::query(LOGIN);
        let statement = statement.bind(tokens::hash(text).to_vec()).bind(now.millis());
        query::find(&mut *self.reader().await?, statement, "look for a login", |row| {
            Ok(Login {
                user: row.text("user_name")?,
                role: row.word("role")?,
                csrf: row.text("csrf")?,
                created_at: row.time("created_at")?,
                expires_at: row.time("expires_at")?,
            })
        })
        .await
    }

    /// Whether the login whose cookie has this hash counts now.
    ///
    /// # Errors
    /// The database failed.
    pub async fn login_counts(&self, hash: &[u8; 32], now: Time) -> Result<bool, StoreError> {
        let statement = sqlx::query(LOGIN);
        let statement = statement.bind(hash.to_vec()).bind(now.millis());
        Ok(query::find(&mut *self.reader().await?, statement, "look for a login", |row| row.text("user_name")).await?.is_some())
    }

    /// Ends one login.
    ///
    /// # Errors
    /// The database failed.
    pub async fn end_login(&self, text: &str, by: &By) -> Result<(), StoreError> {
        let delete = sqlx::query("DELETE FROM logins WHERE hash = $1").bind(tokens::hash(text).to_vec());
        let by = by.clone();
        self.write(move |tx| {
            Box::pin(async move {
                match tx.run(delete, "end a login").await? {
                    0 => Ok(()),
                    _ => tx.audit(&by, "login.end", None, json!({})).await,
                }
            })
        })
        .await
    }

    /// Ends all logins of a person: they were locked out, or their role changed.
    ///
    /// # Errors
    /// The database failed.
    pub async fn end_logins_of(&self, user: &str, by: &By) -> Result<(), StoreError> {
        let (user, by) = (user.to_owned(), by.clone());
        self.write(move |tx| Box::pin(async move { end_all(tx, &user, &by).await })).await
    }
}

/// A new cookie's text.
pub(super) fn new_text() -> Result<Secret, StoreError> {
    Ok(tokens::text(PREFIX, &random()?))
}

/// Begins a login with this cookie, within a write.
pub(super) async fn begin(tx: &mut Tx, text: &Secret, login: Login, by: &By) -> Result<(), StoreError> {
    let old = sqlx::query("DELETE FROM logins WHERE expires_at <= $1").bind(by.at.millis());
    tx.run(old, "begin a login").await?;
    let insert =
        sqlx::query("INSERT INTO logins (hash, user_name, role, csrf, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)")
            .bind(tokens::hash(text.expose()).to_vec())
            .bind(login.user.clone())
            .bind(login.role.as_str())
            .bind(login.csrf)
            .bind(login.created_at.millis())
            .bind(login.expires_at.millis());
    tx.run(insert, "begin a login").await?;
    tx.audit(by, "login.begin", None, json!({ "user": login.user, "role": login.role })).await
}

/// Ends all logins of a person, within a write.
pub(super) async fn end_all(tx: &mut Tx, user: &str, by: &By) -> Result<(), StoreError> {
    let delete = sqlx::query("DELETE FROM logins WHERE user_name = $1").bind(user.to_owned());
    let ended = tx.run(delete, "end a person's logins").await?;
    tx.audit(by, "login.end-all", None, json!({ "user": user, "ended": ended })).await
}
