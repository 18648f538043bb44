//! Whose signatures count: fleets and stations in the database.

use machine_config::seed::FleetTrust;
use machine_config::{KeyId, PublicKey};
use serde_json::json;
use sqlx::AnyConnection;

use super::error::StoreError;
use super::query;
use super::row::json as to_json;
use super::tx::Tx;
use super::{One, Store};
use crate::model::{By, Fleet, Station};

pub(super) async fn fleets(conn: &mut AnyConnection) -> Result<Vec<Fleet>, StoreError> {
    let statement = sqlx::query("SELECT * FROM fleets ORDER BY name");
    let read = |row: &super::row::Fields<'_>| {
        Ok(Fleet { name: row.word("name")?, keys: row.json("keys")?, updated_at: row.time("updated_at")? })
    };
    query::list(conn, statement, "list fleets", read).await
}

pub(super) async fn stations(conn: &mut AnyConnection) -> Result<Vec<Station>, StoreError> {
    let statement = sqlx::query("SELECT * FROM stations ORDER BY name, id");
    let read = |row: &super::row::Fields<'_>| {
        Ok(Station { name: row.text("name")?, key: row.word("key")?, added_at: row.time("added_at")? })
    };
    query::list(conn, statement, "list stations", read).await
}

pub(super) async fn put_station(tx: &mut Tx, name: &str, key: &PublicKey, by: &By) -> Result<(), StoreError> {
    let statement = sqlx::query(
        "INSERT INTO stations (id, name, key, added_at) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO UPDATE SET name = excluded.name",
    );
    let statement = statement.bind(key.id().to_string()).bind(name.to_owned()).bind(key.to_string()).bind(by.at.millis());
    tx.run(statement, "write a station").await?;
    tx.audit(by, "station.put", None, json!({ "station": key.id(), "name": name })).await
}

impl Store {
    /// Takes configurations that this fleet signs; its keys are replaced by these. The argument is what `fleet.pub` says.
    ///
    /// # Errors
    /// It has no key.
    pub async fn put_fleet(&self, fleet: FleetTrust, by: &By) -> Result<(), StoreError> {
        if fleet.keys.is_empty() {
            return Err(StoreError::Invalid {
                what: "the fleet",
                why: "it has no key, so that nothing could be signed for it".into(),
            });
        }
        let by = by.clone();
        self.write(move |tx| {
            Box::pin(async move {
                let statement = sqlx::query(
                    "INSERT INTO fleets (name, keys, updated_at) VALUES ($1, $2, $3) \
                     ON CONFLICT (name) DO UPDATE SET keys = excluded.keys, updated_at = excluded.updated_at",
                );
                let statement = statement.bind(fleet.name.to_string()).bind(to_json(&fleet.keys)).bind(by.at.millis());
                tx.run(statement, "write a fleet").await?;
                let keys: Vec<KeyId> = fleet.keys.iter().map(PublicKey::id).collect();
                tx.audit(&by, "fleet.put", None, json!({ "fleet": fleet.name, "keys": keys })).await
            })
        })
        .await
    }

    /// All fleets, by name.
    ///
    /// # Errors
    /// The database failed.
    pub async fn fleets(&self) -> Result<Vec<Fleet>, StoreError> {
        fleets(&mut *self.reader().await?).await
    }

    /// Takes no configuration of a fleet any more, and offers none of it. Devices keep what they have.
    ///
    /// # Errors
    /// There is none with this name.
    pub async fn delete_fleet(&self, name: &str, by: &By) -> Result<(), StoreError> {
        let statement = sqlx::query("DELETE FROM fleets WHERE name = $1").bind(name.to_owned());
        let one = One {
            doing: "delete a fleet",
            what: "the fleet",
            name: name.to_owned(),
            action: "fleet.delete",
            device: None,
            details: json!({ "fleet": name }),
        };
        self.change_one(statement, one, by).await
    }

    /// All stations, by name.
    ///
    /// # Errors
    /// The database failed.
    pub async fn stations(&self) -> Result<Vec<Station>, StoreError> {
        stations(&mut *self.reader().await?).await
    }

    /// Believes a station no longer. What it signed before stays.
    ///
    /// # Errors
    /// There is none with this key.
    pub async fn delete_station(&self, id: &KeyId, by: &By) -> Result<(), StoreError> {
        let statement = sqlx::query("DELETE FROM stations WHERE id = $1").bind(id.to_string());
        let one = One {
            doing: "delete a station",
            what: "the station",
            name: id.to_string(),
            action: "station.delete",
            device: None,
            details: json!({ "station": id }),
        };
        self.change_one(statement, one, by).await
    }
}
