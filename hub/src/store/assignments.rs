//! Whom configurations are assigned to.

use machine_config::types::Digest;
use serde_json::json;

use super::error::StoreError;
use super::query;
use super::row::Fields;
use super::tx::Tx;
use super::{One, Store, configs, devices};
use crate::model::{AssignTo, Assignment, By};

fn read(row: &Fields<'_>) -> Result<Assignment, StoreError> {
    let text = format!("{}:{}", row.text("kind")?, row.text("value")?);
    let to = text
        .parse()
        .map_err(|error: crate::model::AssignToError| StoreError::Corrupt { what: "value", message: error.to_string() })?;
    Ok(Assignment { digest: row.word("digest")?, to, by: row.text("assigned_by")?, at: row.time("at")? })
}

impl Store {
    /// Assigns a configuration. Devices that are connected are offered it at once, others when they call.
    ///
    /// # Errors
    /// There is no such configuration or device.
    pub async fn assign(&self, digest: &Digest, to: AssignTo, by: &By) -> Result<(), StoreError> {
        let (digest, by) = (digest.clone(), by.clone());
        self.write(move |tx| Box::pin(async move { assign(tx, &digest, &to, &by).await })).await
    }

    /// Takes an assignment back. Devices keep what they have accepted.
    ///
    /// # Errors
    /// There is no such assignment.
    pub async fn unassign(&self, digest: &Digest, to: AssignTo, by: &By) -> Result<(), StoreError> {
        let statement = sqlx::query("DELETE FROM assignments WHERE digest = $1 AND kind = $2 AND value = $3");
        let statement = statement.bind(digest.to_string()).bind(to.kind()).bind(to.value());
        let one = One {
            doing: "take an assignment back",
            what: "the assignment to",
            name: to.to_string(),
            action: "config.unassign",
            device: device_of(&to).cloned(),
            details: json!({ "digest": digest, "to": to }),
        };
        self.change_one(statement, one, by).await
    }

    /// Assignments of one configuration, or of all.
    ///
    /// # Errors
    /// The database failed.
    pub async fn assignments(&self, digest: Option<&Digest>) -> Result<Vec<Assignment>, StoreError> {
        let statement = match digest {
            Some(digest) => {
                sqlx::query("SELECT * FROM assignments WHERE digest = $1 ORDER BY kind, value").bind(digest.to_string())
            }
            None => sqlx::query("SELECT * FROM assignments ORDER BY at DESC, kind, value"),
        };
        query::list(&mut *self.reader().await?, statement, "list assignments", read).await
    }
}

fn device_of(to: &AssignTo) -> Option<&machine_config::DeviceId> {
    match to {
        AssignTo::Device(id) => Some(id),
        AssignTo::Group(_) | AssignTo::Label(_) => None,
    }
}

async fn assign(tx: &mut Tx, digest: &Digest, to: &AssignTo, by: &By) -> Result<(), StoreError> {
    if configs::find(tx.conn(), digest).await?.is_none() {
        return Err(StoreError::Missing { what: "the configuration", name: digest.to_string() });
    }
    if let Some(id) = device_of(to) {
        devices::require(tx.conn(), id).await?;
    }
    let insert = sqlx::query(
        "INSERT INTO assignments (digest, kind, value, assigned_by, at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
    );
    let insert = insert.bind(digest.to_string()).bind(to.kind()).bind(to.value()).bind(by.actor.to_string()).bind(by.at.millis());
    tx.run(insert, "write an assignment").await?;
    // Whoever refused it is asked again: that is why somebody assigns it once more.
    let retry = sqlx::query("DELETE FROM deliveries WHERE digest = $1 AND state = 'refused'").bind(digest.to_string());
    tx.run(retry, "write an assignment").await?;
    tx.audit(by, "config.assign", device_of(to), json!({ "digest": digest, "to": to })).await
}
