//! A database that somebody put in place of a newer one: what the journal knows better is carried into it.

use std::collections::{BTreeMap, BTreeSet};

use machine_config::DeviceId;
use serde_json::json;

use super::error::StoreError;
use super::query::{self, Statement};
use super::row::Fields;
use super::tx::Tx;
use super::{Store, devices, states};
use crate::enrol::Act;
use crate::journal::Fact;
use crate::model::{Actor, By, Device, DeviceState, Labels, Release, Time};

/// Facts that are written at once: other processes' writes come between.
const PIECE: usize = 500;

/// What the database did not know any more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CarriedOver {
    /// Devices that are removed again.
    pub devices: u64,
    /// Join tokens that are used up or revoked again.
    pub tokens: u64,
    /// API tokens that are revoked again.
    pub api_tokens: u64,
}

impl CarriedOver {
    fn add(&mut self, more: Self) {
        let Self { devices, tokens, api_tokens } = more;
        self.devices += devices;
        self.tokens += tokens;
        self.api_tokens += api_tokens;
    }
}

/// The facts of a journal, each once.
#[derive(Default)]
struct Facts {
    removed: BTreeMap<DeviceId, [u8; 32]>,
    used: BTreeMap<String, BTreeSet<DeviceId>>,
    revoked: BTreeSet<String>,
    api_revoked: BTreeSet<String>,
}

/// Something that the database does not know.
enum Missed {
    Removed(DeviceId, [u8; 32]),
    /// By so many devices.
    Used(String, u64),
    Revoked(String),
    ApiRevoked(String),
}

/// What the database knows.
struct Known {
    removed: BTreeSet<String>,
    /// How many devices used a join token, and whether it is revoked.
    tokens: BTreeMap<String, (u64, bool)>,
    /// API tokens that are not revoked.
    api_tokens: BTreeSet<String>,
}

impl Facts {
    fn missed(self, known: &Known) -> Vec<Missed> {
        let removed = self.removed.into_iter().filter(|(id, _)| !known.removed.contains(id.as_str()));
        let used = self.used.into_iter().map(|(token, users)| (token, users.len() as u64));
        let used = used.filter(|(token, users)| known.tokens.get(token).is_some_and(|(uses, _)| uses < users));
        let revoked = self.revoked.into_iter().filter(|token| known.tokens.get(token).is_some_and(|(_, is_revoked)| !is_revoked));
        let api_revoked = self.api_revoked.into_iter().filter(|token| known.api_tokens.contains(token));
        let removed = removed.map(|(id, key)| Missed::Removed(id, key));
        let tokens = used.map(|(token, users)| Missed::Used(token, users)).chain(revoked.map(Missed::Revoked));
        removed.chain(tokens).chain(api_revoked.map(Missed::ApiRevoked)).collect()
    }
}

impl Store {
    /// Removes the devices, and uses up and revokes the tokens that a journal says are so; those that are already, and tokens that the database does
    /// not know, are left alone: of these nothing is written. A removed device that it does not know is entered as removed.
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
                Fact::ApiRevoked { token } => {
                    sorted.api_revoked.insert(token);
                }
                Fact::Restored => {}
            }
        }
        let mut missed = sorted.missed(&self.known().await?).into_iter();
        let mut carried = CarriedOver::default();
        loop {
            let (piece, by): (Vec<Missed>, _) = (missed.by_ref().take(PIECE).collect(), By::new(Actor::Host, "", now));
            if piece.is_empty() {
                return Ok(carried);
            }
            carried.add(self.write(move |tx| Box::pin(async move { carry_over(tx, piece, &by).await })).await?);
        }
    }

    async fn known(&self) -> Result<Known, StoreError> {
        const DOING: &str = "read what is removed and revoked";
        let mut conn = self.reader().await?;
        let removed = sqlx::query("SELECT id FROM devices WHERE state = 'removed'");
        let removed = query::list(&mut conn, removed, DOING, |row| row.text("id")).await?;
        let tokens = sqlx::query("SELECT id, uses, revoked_at FROM tokens");
        let state = |row: &Fields<'_>| Ok((row.text("id")?, (row.count("uses")?, row.opt_int("revoked_at")?.is_some())));
        let tokens = query::list(&mut conn, tokens, DOING, state).await?;
        let api_tokens = sqlx::query("SELECT id FROM api_tokens WHERE revoked_at IS NULL");
        let api_tokens = query::list(&mut conn, api_tokens, DOING, |row| row.text("id")).await?;
        Ok(Known {
            removed: removed.into_iter().collect(),
            tokens: tokens.into_iter().collect(),
            api_tokens: api_tokens.into_iter().collect(),
        })
    }
}

async fn carry_over(tx: &mut Tx, missed: Vec<Missed>, by: &By) -> Result<CarriedOver, StoreError> {
    let mut carried = CarriedOver::default();
    for missed in missed {
        match missed {
            Missed::Removed(id, key) => carried.devices += u64::from(remove(tx, &id, key, by).await?),
            Missed::Used(token, users) => carried.tokens += use_up(tx, &token, users, by).await?,
            Missed::Revoked(token) => {
                let revoke = sqlx::query("UPDATE tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL");
                carried.tokens += revoke_again(tx, revoke, "token.revoke", token, by).await?;
            }
            Missed::ApiRevoked(token) => {
                let revoke = sqlx::query("UPDATE api_tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL");
                carried.api_tokens += revoke_again(tx, revoke, "api-token.revoke", token, by).await?;
            }
        }
    }
    Ok(carried)
}

async fn revoke_again(tx: &mut Tx, revoke: Statement, action: &'static str, token: String, by: &By) -> Result<u64, StoreError> {
    let changed = tx.run(revoke.bind(token.clone()).bind(by.at.millis()), "revoke a token again").await?;
    if changed > 0 {
        tx.audit(by, action, None, json!({ "token": token, "journal": true })).await?;
    }
    Ok(changed)
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
