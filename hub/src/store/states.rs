//! What people do with devices: approve, refuse, quarantine, remove. Each device is a write of its own: one that cannot be takes no other along.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use machine_config::DeviceId;
use serde_json::json;

use super::error::StoreError;
use super::tx::Tx;
use super::{Store, devices};
use crate::enrol::Act;
use crate::model::text::bounded;
use crate::model::{By, Device};

/// What somebody saw of devices who decides about them: the digests of their inventories. A device that is not there was not looked at.
pub type Seen = BTreeMap<DeviceId, String>;

impl Store {
    /// Does `act` with each of these devices; the answers stand in their order. The device need not be connected, or exist any longer.
    pub async fn change_state(&self, act: Act, ids: &[DeviceId], reason: &str, by: &By) -> Vec<Result<Device, StoreError>> {
        self.change_seen(act, ids, &Seen::new(), reason, by).await
    }

    /// The same by somebody who looked at the devices: one that says something else now than what he has `seen` is not approved.
    pub async fn change_seen(
        &self,
        act: Act,
        ids: &[DeviceId],
        seen: &Seen,
        reason: &str,
        by: &By,
    ) -> Vec<Result<Device, StoreError>> {
        let one = |id: &DeviceId| {
            let seen = seen.get(id).filter(|_| act == Act::Approve).cloned();
            let (id, reason, by) = (id.clone(), bounded(reason, 256), by.clone());
            self.write(move |tx| {
                Box::pin(async move {
                    if let Some(seen) = seen
                        && devices::require(tx.conn(), &id).await?.inventory_digest != seen
                    {
                        return Err(StoreError::Changed { device: id });
                    }
                    change(tx, act, &id, reason, &by).await
                })
            })
        };
        join_all(ids.iter().map(one)).await
    }

    /// Admits one device.
    ///
    /// # Errors
    /// There is none, or it was removed.
    pub async fn approve(&self, id: &DeviceId, by: &By) -> Result<Device, StoreError> {
        self.one(Act::Approve, id, "", by).await
    }

    /// Refuses one device.
    ///
    /// # Errors
    /// There is none, or it is admitted or removed.
    pub async fn refuse(&self, id: &DeviceId, reason: &str, by: &By) -> Result<Device, StoreError> {
        self.one(Act::Refuse, id, reason, by).await
    }

    /// Serves one device no longer, until somebody approves it again.
    ///
    /// # Errors
    /// There is none, or it is not admitted.
    pub async fn quarantine(&self, id: &DeviceId, reason: &str, by: &By) -> Result<Device, StoreError> {
        self.one(Act::Quarantine, id, reason, by).await
    }

    /// Removes one device: its key is revoked for good.
    ///
    /// # Errors
    /// There is none.
    pub async fn remove(&self, id: &DeviceId, reason: &str, by: &By) -> Result<Device, StoreError> {
        self.one(Act::Remove, id, reason, by).await
    }

    async fn one(&self, act: Act, id: &DeviceId, reason: &str, by: &By) -> Result<Device, StoreError> {
        let (id, reason, by) = (id.clone(), bounded(reason, 256), by.clone());
        self.write(move |tx| Box::pin(async move { change(tx, act, &id, reason, &by).await })).await
    }
}

pub(super) async fn change(tx: &mut Tx, act: Act, id: &DeviceId, reason: String, by: &By) -> Result<Device, StoreError> {
    let before = devices::require(tx.conn(), id).await?;
    if !act.is_allowed(before.state) {
        return Err(StoreError::Transition { device: id.clone(), from: before.state, to: act.target() });
    }
    // To approve a device whose hardware changed is to confirm that.
    if before.state == act.target() && !(act == Act::Approve && before.hardware_changed()) {
        return Ok(before);
    }
    let mut device = Device { state: act.target(), reason, ..before.clone() };
    match act {
        Act::Approve => device.admit(by.actor.to_string()),
        Act::Refuse | Act::Quarantine => {}
        Act::Remove => forget(tx, id).await?,
    }
    devices::save(tx, &device, Some(&before)).await?;
    tx.audit(
        by,
        act.as_str(),
        Some(id),
        json!({ "from": before.state, "reason": device.reason, "name": device.name, "hardware": device.pinned }),
    )
    .await?;
    Ok(device)
}

/// What a removed device leaves behind: its own assignments and its stream. The row stays, as the revocation of its key.
async fn forget(tx: &mut Tx, id: &DeviceId) -> Result<(), StoreError> {
    let assignments = sqlx::query("DELETE FROM assignments WHERE kind = 'device' AND value = $1").bind(id.to_string());
    tx.run(assignments, "forget a device's assignments").await?;
    let stream = sqlx::query("DELETE FROM streams WHERE device = $1").bind(id.to_string());
    tx.run(stream, "forget a device's stream").await.map(|_| ())
}
