//! Claiming a device by the code on its box: an installer stands beside it and says at which site.
//!
//! The code names the device by its id, its serial number or its name. An id is the hash of its key, so a claim by id is an approval. A serial
//! number or a name anybody may use: such a claim approves a device only if it showed a join token; else it sets the site, and the device waits for
//! an operator.

use machine_config::DeviceId;
use serde_json::json;

use super::error::StoreError;
use super::tx::Tx;
use super::{Store, devices, expected};
use crate::model::text::bounded;
use crate::model::{By, Device, DeviceState, Expected, Source};

/// What the code says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimBy {
    /// `/claim/id/…`.
    Id(DeviceId),
    /// `/claim/serial/…`.
    Serial(String),
    /// `/claim/name/…`.
    Name(String),
}

impl ClaimBy {
    fn word(&self) -> (&'static str, &str) {
        match self {
            Self::Id(id) => ("id", id.as_str()),
            Self::Serial(serial) => ("serial number", serial),
            Self::Name(name) => ("name", name),
        }
    }
}

/// A claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// What the code says.
    pub by: ClaimBy,
    /// Where the device is.
    pub site: String,
}

/// What came of a claim.
#[derive(Debug, Clone, PartialEq, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Claimed {
    /// The device called already. It is admitted if its `state` says so.
    Device(Box<Device>),
    /// It has not called yet; it is expected.
    Awaited(Box<Expected>),
}

impl Store {
    /// What a claim by this would find, without claiming it: for the page that asks.
    ///
    /// # Errors
    /// Several devices are meant, or none.
    pub async fn find_claim(&self, by: &ClaimBy) -> Result<Option<Claimed>, StoreError> {
        let mut conn = self.reader().await?;
        if let Some(device) = find_device(&mut conn, by).await? {
            return Ok(Some(Claimed::Device(Box::new(device))));
        }
        Ok(find_place(&mut conn, by).await?.map(|place| Claimed::Awaited(Box::new(place))))
    }

    /// Claims a device for a site.
    ///
    /// # Errors
    /// Several devices are meant, or none; it was claimed for another site; or it is not to be let in.
    pub async fn claim(&self, claim: Claim, by: &By) -> Result<Claimed, StoreError> {
        let site = bounded(&claim.site, 128);
        if site.is_empty() {
            return Err(StoreError::Invalid { what: "the site", why: "say where the device is".into() });
        }
        let by = by.clone();
        self.write(move |tx| Box::pin(async move { carry_out(tx, &claim.by, site, &by).await })).await
    }
}

async fn carry_out(tx: &mut Tx, what: &ClaimBy, site: String, by: &By) -> Result<Claimed, StoreError> {
    match find_device(tx.conn(), what).await? {
        Some(device) => claim_device(tx, what, device, site, by).await.map(|device| Claimed::Device(Box::new(device))),
        None => claim_place(tx, what, site, by).await.map(|place| Claimed::Awaited(Box::new(place))),
    }
}

/// The one of several; whoever claims by a serial number of two boxes must use another code.
fn only<T>(mut found: Vec<T>, what: &ClaimBy) -> Result<Option<T>, StoreError> {
    let (word, name) = what.word();
    match found.len() {
        0 | 1 => Ok(found.pop()),
        count => Err(StoreError::Ambiguous { count: count as u64, what: word, name: bounded(name, 128) }),
    }
}

/// The device that is meant, as far as somebody stands for it. Of those that only say so themselves one is taken if it is alone, and none if the box is
/// expected, whose place is claimed then: nobody gets in an installer's way by saying a serial number.
async fn find_device(conn: &mut sqlx::AnyConnection, what: &ClaimBy) -> Result<Option<Device>, StoreError> {
    let found = match what {
        ClaimBy::Id(id) => return devices::find(conn, id).await,
        ClaimBy::Serial(serial) => devices::with_serial(conn, serial).await?,
        ClaimBy::Name(name) => devices::with_name(conn, name).await?,
    };
    let (vouched, others): (Vec<_>, Vec<_>) = found.into_iter().partition(Device::is_vouched);
    let is_awaited = |place: Expected| place.taken_by.is_none();
    if !vouched.is_empty() || (!others.is_empty() && find_place(conn, what).await?.is_some_and(is_awaited)) {
        return only(vouched, what);
    }
    only(others, what)
}

async fn find_place(conn: &mut sqlx::AnyConnection, what: &ClaimBy) -> Result<Option<Expected>, StoreError> {
    let found = match what {
        ClaimBy::Id(id) => expected::matching(conn, id, &[], &[]).await?,
        ClaimBy::Serial(serial) => expected::with_serial(conn, serial).await?,
        ClaimBy::Name(name) => expected::named(conn, name).await?,
    };
    only(found, what)
}

async fn claim_device(tx: &mut Tx, what: &ClaimBy, before: Device, site: String, by: &By) -> Result<Device, StoreError> {
    if !matches!(before.state, DeviceState::Pending | DeviceState::Admitted) {
        return Err(StoreError::Transition { device: before.id, from: before.state, to: DeviceState::Admitted });
    }
    if !before.site.is_empty() && before.site != site {
        let why = format!("the device is claimed for site `{}` already; ask an operator to move it", before.site);
        return Err(StoreError::Invalid { what: "the site", why });
    }
    let mut device = Device { site, ..before.clone() };
    let is_sure = matches!(what, ClaimBy::Id(_)) || device.token.is_some();
    if device.state == DeviceState::Pending && is_sure {
        device.admit(by.actor.to_string());
    }
    devices::save(tx, &device, Some(&before)).await?;
    tx.audit(by, "device.claim", Some(&device.id), json!({ "by": what.word().0, "site": device.site, "state": device.state }))
        .await?;
    Ok(device)
}

async fn claim_place(tx: &mut Tx, what: &ClaimBy, site: String, by: &By) -> Result<Expected, StoreError> {
    let mut place = match (find_place(tx.conn(), what).await?, what) {
        (Some(place), _) => place,
        (None, ClaimBy::Id(id)) => Expected { device_id: Some(id.clone()), ..Expected::blank(Source::Claim, by.at) },
        (None, ClaimBy::Serial(serial)) => {
            Expected { serial: Some(bounded(serial, 128)), ..Expected::blank(Source::Claim, by.at) }
        }
        (None, ClaimBy::Name(name)) => {
            return Err(StoreError::Missing { what: "a device or manifest named", name: bounded(name, 128) });
        }
    };
    if !place.site.is_empty() && place.site != site {
        let why = format!("the device is claimed for site `{}` already; ask an operator to move it", place.site);
        return Err(StoreError::Invalid { what: "the site", why });
    }
    (place.site, place.claimed_by) = (site, Some(by.actor.to_string()));
    expected::put(tx, place.clone()).await?;
    let key = place.key().map(|key| key.to_string());
    tx.audit(by, "expected.claim", None, json!({ "key": key, "site": place.site })).await?;
    Ok(place)
}
