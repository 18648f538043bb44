//! Calls that were refused. Each device's reason is audited once a day, and only so many a minute, an hour, and of one neighbour: an audit that
//! strangers can fill is no use to anybody, and it cannot be shortened. The rest is counted.

use machine_config::DeviceId;
use serde_json::json;

use super::Store;
use super::error::StoreError;
use super::query;
use super::row::Fields;
use super::tx::Tx;
use crate::listen::neighbour;
use crate::model::{Actor, By, Time};
use std::time::Duration;

/// How long a refusal is remembered, and so not audited again.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);
/// New refusals that are audited in a minute.
const PER_MINUTE: i64 = 100;
/// In an hour.
const PER_HOUR: i64 = 300;
/// In an hour of one neighbour.
const OF_ONE_PER_HOUR: i64 = 60;
/// Under which the rest is counted.
const UNNAMED: &str = "";

/// Notes that a device was refused; `code` stands in the protocol.
pub(super) async fn note(tx: &mut Tx, id: &DeviceId, code: &str, address: &str, now: Time) -> Result<(), StoreError> {
    let by = By::new(Actor::Device(id.clone()), address, now);
    if is_new(tx, id.as_str(), code, address, now).await? {
        let unnamed = take_unnamed(tx).await?;
        tx.audit(&by, "device.refused", Some(id), json!({ "code": code, "unrecordedBefore": unnamed })).await?;
    }
    Ok(())
}

/// Counts it; whether it is to be audited.
async fn is_new(tx: &mut Tx, device: &str, code: &str, address: &str, now: Time) -> Result<bool, StoreError> {
    const DOING: &str = "note a refusal";
    let address = address.parse().map_or_else(|_| address.to_owned(), |address| neighbour(address).to_string());
    let again =
        sqlx::query("UPDATE refusals SET count = count + 1, address = $3 WHERE device = $1 AND code = $2 AND first_at > $4");
    let since = now.before(REMEMBERED).millis();
    let again = again.bind(device.to_owned()).bind(code.to_owned()).bind(address.clone()).bind(since);
    if tx.run(again, DOING).await? > 0 {
        return Ok(false);
    }
    tx.run(sqlx::query("DELETE FROM refusals WHERE first_at <= $1 AND device <> ''").bind(since), DOING).await?;
    let is_room = is_room(tx, &address, now).await?;
    let (name, code) = if is_room { (device, code) } else { (UNNAMED, UNNAMED) };
    let insert = sqlx::query(
        "INSERT INTO refusals (device, code, count, first_at, address) VALUES ($1, $2, 1, $3, $4) \
         ON CONFLICT (device, code) DO UPDATE SET count = refusals.count + 1",
    );
    tx.run(insert.bind(name.to_owned()).bind(code.to_owned()).bind(now.millis()).bind(address), DOING).await?;
    Ok(is_room)
}

/// Whether one more of this neighbour is audited.
async fn is_room(tx: &mut Tx, neighbour: &str, now: Time) -> Result<bool, StoreError> {
    let count = sqlx::query(
        "SELECT COUNT(CASE WHEN first_at > $1 THEN 1 END) AS minute, COUNT(*) AS hour, COUNT(CASE WHEN address = $2 THEN 1 END) AS own \
         FROM refusals WHERE first_at > $3 AND device <> ''",
    );
    let (minute, hour) = (now.before(Duration::from_secs(60)), now.before(Duration::from_secs(3600)));
    let count = count.bind(minute.millis()).bind(neighbour.to_owned()).bind(hour.millis());
    let read = |row: &Fields<'_>| {
        Ok(row.int("minute")? < PER_MINUTE && row.int("hour")? < PER_HOUR && row.int("own")? < OF_ONE_PER_HOUR)
    };
    Ok(query::find(tx.conn(), count, "count refusals", read).await?.unwrap_or(true))
}

/// How many were only counted since this was asked last.
async fn take_unnamed(tx: &mut Tx) -> Result<i64, StoreError> {
    const DOING: &str = "count refusals";
    let count = sqlx::query("SELECT count FROM refusals WHERE device = '' AND code = ''");
    let Some(count) = query::find(tx.conn(), count, DOING, |row| row.int("count")).await? else { return Ok(0) };
    tx.run(sqlx::query("DELETE FROM refusals WHERE device = '' AND code = ''"), DOING).await?;
    Ok(count)
}

impl Store {
    /// Notes a call that was refused before anything was decided: no proof, another protocol, nonsense. `claimed` is who the caller says it is, which
    /// proves nothing: it stands in the details, not as the one who acted.
    ///
    /// # Errors
    /// The database failed.
    pub async fn record_refusal(
        &self,
        claimed: Option<&DeviceId>,
        code: &'static str,
        address: &str,
        now: Time,
    ) -> Result<(), StoreError> {
        let by = By::new(Actor::Stranger, address, now);
        let claimed = claimed.cloned();
        self.write(move |tx| {
            Box::pin(async move {
                // Strangers are told apart by address: whoever has no key can claim any id.
                if is_new(tx, &format!("address:{}", by.address), code, &by.address, by.at).await? {
                    let unnamed = take_unnamed(tx).await?;
                    tx.audit(
                        &by,
                        "device.refused",
                        None,
                        json!({ "code": code, "claims": claimed, "unrecordedBefore": unnamed }),
                    )
                    .await?;
                }
                Ok(())
            })
        })
        .await
    }
}
