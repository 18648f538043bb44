//! Downloads of stamped images on their way: what is stamped, under the hash of the download's own secret name, until it ends.

use machine_config::types::Secret;
use serde_json::Value;

use super::Store;
use super::error::StoreError;
use super::query;
use super::tokens::random;
use crate::model::{By, Time};
use crate::tokens;

/// How a download's name begins.
const PREFIX: &str = "skd_";

fn key(name: &str) -> String {
    format!("download:{}", hex::encode(tokens::hash(name)))
}

/// A new name: 160 random bits.
pub(crate) fn new_name() -> Result<Secret, StoreError> {
    Ok(tokens::text(PREFIX, &random()?))
}

impl Store {
    /// Keeps what a download stamps, until `expires`. `shown` is what the audit says of it.
    ///
    /// # Errors
    /// The database failed.
    pub async fn put_download(
        &self,
        name: &Secret,
        value: String,
        expires: Time,
        shown: Value,
        by: &By,
    ) -> Result<(), StoreError> {
        let (key, by) = (key(name.expose()), by.clone());
        self.write(move |tx| {
            Box::pin(async move {
                let old = sqlx::query("DELETE FROM once WHERE expires_at <= $1").bind(by.at.millis());
                tx.run(old, "keep a download").await?;
                let put = sqlx::query("INSERT INTO once (name, value, expires_at) VALUES ($1, $2, $3)");
                tx.run(put.bind(key).bind(value).bind(expires.millis()), "keep a download").await?;
                tx.audit(&by, "image.download", None, shown).await
            })
        })
        .await
    }

    /// What this download stamps; none: there is none, or it has ended.
    ///
    /// # Errors
    /// The database failed.
    pub async fn download(&self, name: &str, now: Time) -> Result<Option<String>, StoreError> {
        let find = sqlx::query("SELECT value FROM once WHERE name = $1 AND expires_at > $2").bind(key(name)).bind(now.millis());
        query::find(&mut *self.reader().await?, find, "look for a download", |row| row.text("value")).await
    }
}
