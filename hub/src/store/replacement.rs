//! Putting device B in the place of device A: what people gave A moves to B, A is removed, and the configuration is drafted for signing.

use machine_config::DeviceId;
use serde_json::json;

use super::error::StoreError;
use super::tx::Tx;
use super::{Store, configs, devices, registry, states};
use crate::config::{draft, judge_upload};
use crate::enrol::Act;
use crate::model::{By, Device, DeviceState};

impl Store {
    /// Puts `new` in the place of `old`: name, site, labels, groups and the assignments to groups and labels that follow from them move; `new` is
    /// admitted if it was not, `old` is removed for good. What was assigned to `old` by its id was signed for it: sign the [draft](Self::replacement_draft), upload
    /// and assign that.
    ///
    /// # Errors
    /// One of them is not there, or was removed, or both are one.
    pub async fn replace(&self, old: &DeviceId, new: &DeviceId, by: &By) -> Result<Device, StoreError> {
        let (old, new, by) = (old.clone(), new.clone(), by.clone());
        self.write(move |tx| Box::pin(async move { replace(tx, &old, &new, &by).await })).await
    }

    /// The configuration of `old` as YAML, unsigned, with its secrets: aimed at `new`, its generation raised. It can be asked for before and after the
    /// replacement.
    ///
    /// # Errors
    /// The hub does not have the configuration, or `new` cannot be named in its target.
    pub async fn replacement_draft(&self, old: &DeviceId, new: &DeviceId) -> Result<String, StoreError> {
        let mut conn = self.reader().await?;
        let (old, new) = (devices::require(&mut conn, old).await?, devices::require(&mut conn, new).await?);
        let missing = || StoreError::Missing { what: "the configuration of device", name: old.id.to_string() };
        let digest = match &old.config_digest {
            Some(digest) => digest.clone(),
            None => {
                configs::assigned(&mut conn, &old)
                    .await?
                    .into_iter()
                    .max_by_key(|config| config.generation)
                    .ok_or_else(missing)?
                    .digest
            }
        };
        let bytes = configs::bytes(&mut conn, &digest).await?.ok_or_else(missing)?;
        let fleets = registry::fleets(&mut conn).await?;
        let (config, _) = judge_upload(&bytes, &fleets)?;
        draft(config.content(), &old, &new).map_err(|error| StoreError::Invalid { what: "the draft", why: error.to_string() })
    }
}

async fn replace(tx: &mut Tx, old: &DeviceId, new: &DeviceId, by: &By) -> Result<Device, StoreError> {
    let (leaving, before) = (devices::require(tx.conn(), old).await?, devices::require(tx.conn(), new).await?);
    if old == new {
        return Err(StoreError::Invalid { what: "the replacement", why: "a device cannot take its own place".into() });
    }
    if leaving.state == DeviceState::Removed || before.state == DeviceState::Removed {
        let device = if leaving.state == DeviceState::Removed { old } else { new };
        return Err(StoreError::Transition { device: device.clone(), from: DeviceState::Removed, to: DeviceState::Admitted });
    }
    let details = json!({ "old": old, "new": new, "name": leaving.name, "labels": leaving.labels, "groups": leaving.groups, "site": leaving.site });
    tx.audit(by, "device.replace", Some(new), details).await?;
    let mut labels = before.labels.clone();
    labels.extend(leaving.labels.clone());
    let heir = Device { name: leaving.name, site: leaving.site, labels, groups: leaving.groups, ..before.clone() };
    devices::save(tx, &heir, Some(&before)).await?;
    move_assignments(tx, old, new, by).await?;
    let reason = format!("replaced by device {}", &new.as_str()[..16]);
    states::change(tx, Act::Remove, old, reason, by).await?;
    // Who puts it in a place has not looked whether the hardware is right that it says now: that is confirmed by approving it.
    if before.state == DeviceState::Admitted {
        return Ok(heir);
    }
    states::change(tx, Act::Approve, new, String::new(), by).await
}

/// Those by id move too: what was signed for any device fits the new one, and the rest it is not offered.
async fn move_assignments(tx: &mut Tx, old: &DeviceId, new: &DeviceId, by: &By) -> Result<(), StoreError> {
    let copy = sqlx::query(
        "INSERT INTO assignments (digest, kind, value, assigned_by, at) SELECT digest, kind, $2, $3, $4 FROM assignments \
         WHERE kind = 'device' AND value = $1 ON CONFLICT DO NOTHING",
    );
    let copy = copy.bind(old.to_string()).bind(new.to_string()).bind(by.actor.to_string()).bind(by.at.millis());
    tx.run(copy, "move a device's assignments").await.map(|_| ())
}
