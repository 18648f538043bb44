//! A database that somebody put in place of a newer one: what the journal knows better is carried into it.

use std::collections::{BTreeMap, BTreeSet};

use machine_config::DeviceId;
use serde_json::json;

use super::error::StoreError;
use super::tx::Tx;
use super::{Store, devices, states};
use crate::enrol::Act;
use crate::journal::Fact;
use crate::model::{Actor, By, Device, DeviceState, Labels, Release, Time};

/// What the database did not know any more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CarriedOver {
    /// Devices that are removed again.
    pub devices: u64,
    /// Join tokens that are used up or revoked again.
    pub tokens: u64,
}

/// The facts of a journal, each once.
#[derive(Default)]
struct Facts {
    removed: BTreeMap<DeviceId, [u8; 32]>,
    used: BTreeMap<String, BTreeSet<DeviceId>>,
    revoked: BTreeSet<String>,
}

impl Store {
    /// Removes the devices, and uses up and revokes the tokens that a journal says are so; those that are already, and tokens that the database does
    /// not know, are left alone. A removed device that it does not know is entered as removed.
    ///
    /// # Errors
    /// The database failed.
    pub async fn carry_over(&self, facts: Vec<Fact>, now: Time) -> Result<CarriedOver, StoreError> {
        let mut sorted = Facts::default();
        for fact in facts {
            match fact {
                Fact::Removed { device, key } => {
                    sorted.removed.insert(device, key);
                }
                Fact::Used { token, device } => {
                    sorted.used.entry(token).or_default().insert(device);
                }
                Fact::Revoked { token } => {
                    sorted.revoked.insert(token);
                }
                Fact::Restored => {}
            }
        }
        let by = By::new(Actor::Host, "", now);
        self.write(move |tx| Box::pin(async move { carry_over(tx, sorted, &by).await })).await
    }
}

async fn carry_over(tx: &mut Tx, facts: Facts, by: &By) -> Result<CarriedOver, StoreError> {
    let mut carried = CarriedOver::default();
    for (id, key) in facts.removed {
        carried.devices += u64::from(remove(tx, &id, key, by).await?);
    }
    for (token, users) in facts.used {
        carried.tokens += use_up(tx, &token, users.len() as u64, by).await?;
    }
    for token in facts.revoked {
        let revoke = sqlx::query("UPDATE tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL");
        let changed = tx.run(revoke.bind(token.clone()).bind(by.at.millis()), "revoke a join token again").await?;
        if changed > 0 {
            tx.audit(by, "token.revoke", None, json!({ "token": token, "journal": true })).await?;
        }
        carried.tokens += changed;
    }
    Ok(carried)
}

/// Whether it had to be.
async fn remove(tx: &mut Tx, id: &DeviceId, key: [u8; 32], by: &By) -> Result<bool, StoreError> {
    const REASON: &str = "it was removed before an older copy of the database was put in place";
    match devices::find(tx.conn(), id).await? {
        Some(device) if device.state == DeviceState::Removed => Ok(false),
        Some(_) => states::change(tx, Act::Remove, id, REASON.to_owned(), by).await.map(|_| true),
        None => {
            devices::save(tx, &removed(id.clone(), key, REASON, by.at), None).await?;
            tx.audit(by, Act::Remove.as_str(), Some(id), json!({ "reason": REASON })).await?;
            Ok(true)
        }
    }
}

/// A device of which nothing is known but that its key is revoked.
fn removed(id: DeviceId, public_key: [u8; 32], reason: &str, at: Time) -> Device {
    Device {
        id,
        public_key,
        name: None,
        state: DeviceState::Removed,
        reason: reason.to_owned(),
        site: String::new(),
        fleet: String::new(),
        release: Release::default(),
        serials: vec![],
        macs: vec![],
        pinned: None,
        labels: Labels::new(),
        groups: vec![],
        first_seen: at,
        last_seen: at,
        last_address: None,
        config_generation: 0,
        config_digest: None,
        healthy: false,
        phase: String::new(),
        status: None,
        resources: None,
        inventory: None,
        inventory_digest: String::new(),
        token: None,
        admitted_by: None,
    }
}

/// Takes the uses away that the database does not know of.
async fn use_up(tx: &mut Tx, token: &str, users: u64, by: &By) -> Result<u64, StoreError> {
    let users = i64::try_from(users).unwrap_or(i64::MAX);
    let update = sqlx::query(
        "UPDATE tokens SET uses_left = CASE WHEN uses_left > $2 - uses THEN uses_left - ($2 - uses) ELSE 0 END, uses = $2 \
         WHERE id = $1 AND uses < $2",
    );
    let changed = tx.run(update.bind(token.to_owned()).bind(users), "use a join token up again").await?;
    if changed > 0 {
        tx.audit(by, "token.used", None, json!({ "token": token, "uses": users, "journal": true })).await?;
    }
    Ok(changed)
}
