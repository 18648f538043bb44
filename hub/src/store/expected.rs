//! Devices that are expected, in the database.

use machine_config::types::MacAddress;
use machine_config::{DeviceId, PublicKey};
use serde_json::json;
use sqlx::AnyConnection;

use super::error::StoreError;
use super::query;
use super::row::{Fields, json as to_json};
use super::tx::Tx;
use super::{One, Store, registry, tokens};
use crate::expected::{Announced, merge, read_log, read_manifest};
use crate::model::text::bounded;
use crate::model::{By, Expected, ExpectedKey, MAX_PAGE, Page};

/// What came of an import.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Imported {
    /// Devices that are expected now and were not.
    pub added: u64,
    /// Devices of which more is known now.
    pub updated: u64,
    /// Join tokens that are registered now and were not.
    pub tokens: u64,
    /// Names of devices that will not be recognised: neither key, serial number nor MAC address is known of them.
    pub unrecognisable: Vec<String>,
}

fn read(row: &Fields<'_>) -> Result<Expected, StoreError> {
    Ok(Expected {
        name: row.opt_text("name")?,
        serial: row.opt_text("serial")?,
        mac: row.opt_word("mac")?,
        device_id: row.opt_word("device_id")?,
        board: row.text("board")?,
        fleet: row.text("fleet")?,
        base_sha256: row.text("base_sha256")?,
        image_sha256: row.text("image_sha256")?,
        station: row.opt_word("station")?,
        source: row.word("source")?,
        labels: row.json("labels")?,
        site: row.text("site")?,
        claimed_by: row.opt_text("claimed_by")?,
        taken_by: row.opt_word("taken_by")?,
        imported_at: row.time("imported_at")?,
    })
}

/// Places that have this id, one of these serial numbers or MAC addresses, or this name. A few: keys are unique.
pub(super) async fn matching(
    conn: &mut AnyConnection,
    id: &DeviceId,
    serials: &[String],
    macs: &[MacAddress],
) -> Result<Vec<Expected>, StoreError> {
    const DOING: &str = "look for an expected device";
    let by_id = sqlx::query("SELECT * FROM expected WHERE device_id = $1").bind(id.to_string());
    let mut found = query::list(conn, by_id, DOING, read).await?;
    for serial in serials {
        found.extend(with_serial(conn, serial).await?);
    }
    for mac in macs {
        found.extend(with_mac(conn, mac).await?);
    }
    Ok(found)
}

/// Places with this serial number.
pub(super) async fn with_serial(conn: &mut AnyConnection, serial: &str) -> Result<Vec<Expected>, StoreError> {
    let statement = sqlx::query("SELECT * FROM expected WHERE serial = $1 LIMIT 20").bind(serial.to_owned());
    query::list(conn, statement, "look for an expected device", read).await
}

/// Places with this MAC address.
pub(super) async fn with_mac(conn: &mut AnyConnection, mac: &MacAddress) -> Result<Vec<Expected>, StoreError> {
    let statement = sqlx::query("SELECT * FROM expected WHERE mac = $1 LIMIT 20").bind(mac.to_string());
    query::list(conn, statement, "look for an expected device", read).await
}

/// Places with this name.
pub(super) async fn named(conn: &mut AnyConnection, name: &str) -> Result<Vec<Expected>, StoreError> {
    let statement = sqlx::query("SELECT * FROM expected WHERE name = $1 LIMIT 20").bind(name.to_owned());
    query::list(conn, statement, "look for an expected device", read).await
}

/// Gives a place to a device, unless another has it.
pub(super) async fn take(tx: &mut Tx, key: &ExpectedKey, id: &DeviceId) -> Result<(), StoreError> {
    let statement = sqlx::query("UPDATE expected SET taken_by = $2 WHERE key = $1 AND (taken_by IS NULL OR taken_by = $2)");
    tx.run(statement.bind(key.to_string()).bind(id.to_string()), "give a device its place").await.map(|_| ())
}

/// Adds a place, or what is new of one; true: it was not there.
pub(super) async fn put(tx: &mut Tx, expected: Expected) -> Result<bool, StoreError> {
    const DOING: &str = "write an expected device";
    let Some(key) = expected.key() else {
        return Err(StoreError::Invalid { what: "the expected device", why: "nothing is known of it".into() });
    };
    let found = sqlx::query("SELECT * FROM expected WHERE key = $1").bind(key.to_string());
    let before = query::find(tx.conn(), found, DOING, read).await?;
    let is_new = before.is_none();
    let place = before.map_or(expected.clone(), |before| merge(before, expected));
    tx.run(sqlx::query("DELETE FROM expected WHERE key = $1").bind(key.to_string()), DOING).await?;
    let insert = sqlx::query(
        "INSERT INTO expected (key, name, serial, mac, device_id, board, fleet, base_sha256, image_sha256, station, source, labels, site, \
            claimed_by, taken_by, imported_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
    )
    .bind(key.to_string())
    .bind(place.name)
    .bind(place.serial)
    .bind(place.mac.map(String::from))
    .bind(place.device_id.map(String::from))
    .bind(place.board)
    .bind(place.fleet)
    .bind(place.base_sha256)
    .bind(place.image_sha256)
    .bind(place.station.map(String::from))
    .bind(place.source.as_str())
    .bind(to_json(&place.labels))
    .bind(place.site)
    .bind(place.claimed_by)
    .bind(place.taken_by.map(String::from))
    .bind(place.imported_at.millis());
    tx.run(insert, DOING).await?;
    Ok(is_new)
}

/// Notes a place, and registers its token.
async fn import_one(tx: &mut Tx, announced: Announced, imported: &mut Imported, by: &By) -> Result<(), StoreError> {
    let Announced { place, token } = announced;
    if let Some(ExpectedKey::Name(name)) = place.key() {
        imported.unrecognisable.push(name);
    }
    let registered = match &token {
        Some(hash) => tokens::register(tx, hash, &place, by).await?,
        None => None,
    };
    imported.tokens += u64::from(registered.is_some());
    let details = json!({
        "key": place.key().map(|key| key.to_string()), "name": place.name, "source": place.source, "station": place.station,
        "imageSha256": place.image_sha256, "token": registered,
    });
    let is_new = put(tx, place).await?;
    *(if is_new { &mut imported.added } else { &mut imported.updated }) += 1;
    tx.audit(by, "expected.import", None, details).await
}

impl Store {
    /// Imports a manifest that `imager stamp` wrote, and registers the join token that was made for the device.
    ///
    /// # Errors
    /// It is not believed, or its station is not registered.
    pub async fn import_manifest(&self, file: &[u8], by: &By) -> Result<Imported, StoreError> {
        let stations = registry::stations(&mut *self.reader().await?).await?;
        let announced = read_manifest(file, &stations, by.at)?;
        self.import(vec![announced], by).await
    }

    /// Imports a log that `imager flash --record` wrote.
    ///
    /// # Errors
    /// It is not believed, or one of its stations is not registered.
    pub async fn import_log(&self, file: &[u8], by: &By) -> Result<Imported, StoreError> {
        let stations = registry::stations(&mut *self.reader().await?).await?;
        let announced = read_log(file, &stations, by.at)?.into_iter().map(|place| Announced { place, token: None });
        self.import(announced.collect(), by).await
    }

    async fn import(&self, announced: Vec<Announced>, by: &By) -> Result<Imported, StoreError> {
        let by = by.clone();
        self.write(move |tx| {
            Box::pin(async move {
                let mut imported = Imported::default();
                for one in announced {
                    import_one(tx, one, &mut imported, &by).await?;
                }
                Ok(imported)
            })
        })
        .await
    }

    /// Devices that are expected, by name, in pages.
    ///
    /// # Errors
    /// The database failed.
    pub async fn expected(&self, offset: u64, limit: u32) -> Result<Page<Expected>, StoreError> {
        let mut conn = self.reader().await?;
        let count = sqlx::query("SELECT COUNT(*) AS total FROM expected");
        let total = query::find(&mut conn, count, "count expected devices", |row| row.count("total")).await?.unwrap_or(0);
        let limit = if limit == 0 { 100 } else { limit.min(MAX_PAGE) };
        let list = sqlx::query("SELECT * FROM expected ORDER BY COALESCE(name, '~'), key LIMIT $1 OFFSET $2");
        let list = list.bind(i64::from(limit)).bind(i64::try_from(offset).unwrap_or(i64::MAX));
        Ok(Page { items: query::list(&mut conn, list, "list expected devices", read).await?, total })
    }

    /// Expects a device no longer, by its key (`id:…`, `serial:…`, `mac:…`, `name:…`). A device that called already stays, and so does the join token that
    /// the manifest brought: importing the manifest again could not make a revoked one good.
    ///
    /// # Errors
    /// There is none.
    pub async fn forget_expected(&self, key: &str, by: &By) -> Result<(), StoreError> {
        let statement = sqlx::query("DELETE FROM expected WHERE key = $1").bind(key.to_owned());
        let one = One {
            doing: "forget an expected device",
            what: "the expected device",
            name: key.to_owned(),
            action: "expected.forget",
            device: None,
            details: json!({ "key": key }),
        };
        self.change_one(statement, one, by).await
    }

    /// Believes what a warehouse's bench signs.
    ///
    /// # Errors
    /// The database failed.
    pub async fn register_station(&self, name: &str, key: PublicKey, by: &By) -> Result<(), StoreError> {
        let (name, by) = (bounded(name, 128), by.clone());
        self.write(move |tx| Box::pin(async move { registry::put_station(tx, &name, &key, &by).await })).await
    }
}
