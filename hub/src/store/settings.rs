//! The hub's own settings, and values that are taken out once. What is in them is not told to the audit: some are secrets.

use serde_json::json;
use sqlx::AnyConnection;

use super::Store;
use super::error::StoreError;
use super::query;
use super::row::json as to_json;
use crate::model::{By, Policy, Time};

const POLICY: &str = "policy";

async fn get(conn: &mut AnyConnection, name: &str) -> Result<Option<String>, StoreError> {
    let statement = sqlx::query("SELECT value FROM settings WHERE name = $1").bind(name.to_owned());
    query::find(conn, statement, "read a setting", |row| row.text("value")).await
}

pub(super) async fn policy(conn: &mut AnyConnection) -> Result<Policy, StoreError> {
    let Some(text) = get(conn, POLICY).await? else { return Ok(Policy::default()) };
    serde_json::from_str(&text).map_err(|error| StoreError::Corrupt { what: POLICY, message: error.to_string() })
}

impl Store {
    /// How devices are let in.
    ///
    /// # Errors
    /// The database failed.
    pub async fn policy(&self) -> Result<Policy, StoreError> {
        policy(&mut *self.reader().await?).await
    }

    /// Changes how devices are let in.
    ///
    /// # Errors
    /// The database failed.
    pub async fn put_policy(&self, policy: &Policy, by: &By) -> Result<(), StoreError> {
        self.put_setting(POLICY, &to_json(policy), json!(policy), by).await
    }

    /// A setting by its name.
    ///
    /// # Errors
    /// The database failed.
    pub async fn setting(&self, name: &str) -> Result<Option<String>, StoreError> {
        get(&mut *self.reader().await?, name).await
    }

    /// Writes a setting; `shown` is what the audit says of it.
    ///
    /// # Errors
    /// The database failed.
    pub async fn put_setting(&self, name: &str, value: &str, shown: serde_json::Value, by: &By) -> Result<(), StoreError> {
        let (name, value, by) = (name.to_owned(), value.to_owned(), by.clone());
        self.write(move |tx| {
            Box::pin(async move {
                let put = sqlx::query(
                    "INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                );
                tx.run(put.bind(name.clone()).bind(value), "write a setting").await?;
                tx.audit(&by, "setting.put", None, json!({ "setting": name, "value": shown })).await
            })
        })
        .await
    }

    /// The setting, made of `value` if there is none: of several processes that begin at once, all get the same.
    ///
    /// # Errors
    /// The database failed.
    pub async fn setting_or(&self, name: &str, value: String) -> Result<String, StoreError> {
        let name = name.to_owned();
        self.write(move |tx| {
            Box::pin(async move {
                let insert = sqlx::query("INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING");
                tx.run(insert.bind(name.clone()).bind(value.clone()), "write a setting").await?;
                Ok(get(tx.conn(), &name).await?.unwrap_or(value))
            })
        })
        .await
    }

    /// Keeps a value that is taken out once, until `expires`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn put_once(&self, name: &str, value: &str, now: Time, expires: Time) -> Result<(), StoreError> {
        let (name, value) = (name.to_owned(), value.to_owned());
        self.write(move |tx| {
            Box::pin(async move {
                let old = sqlx::query("DELETE FROM once WHERE expires_at <= $1").bind(now.millis());
                tx.run(old, "keep a value").await?;
                let put = sqlx::query("INSERT INTO once (name, value, expires_at) VALUES ($1, $2, $3)");
                tx.run(put.bind(name).bind(value).bind(expires.millis()), "keep a value").await.map(|_| ())
            })
        })
        .await
    }

    /// Takes such a value out; none: there is none, it was taken, or its time is over.
    ///
    /// # Errors
    /// The database failed.
    pub async fn take_once(&self, name: &str, now: Time) -> Result<Option<String>, StoreError> {
        let name = name.to_owned();
        self.write(move |tx| {
            Box::pin(async move {
                let find = sqlx::query("SELECT value FROM once WHERE name = $1 AND expires_at > $2")
                    .bind(name.clone())
                    .bind(now.millis());
                let value = query::find(tx.conn(), find, "take a value", |row| row.text("value")).await?;
                tx.run(sqlx::query("DELETE FROM once WHERE name = $1").bind(name), "take a value").await?;
                Ok(value)
            })
        })
        .await
    }
}
