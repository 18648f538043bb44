//! Enrolment in the database: the facts are read and the decision written inside one write of the lane, so that nothing comes between.

use std::time::Duration;

use machine_config::DeviceId;
use machine_config::types::MacAddress;
use sqlx::AnyConnection;

use super::error::StoreError;
use super::tx::Tx;
use super::{Store, deliveries, devices, expected, query, refusals, rules, settings, tokens, unproven};
use crate::enrol::{
    Attempt, Claims, Crowd, Decision, Facts, HARDWARE_CHANGED, Note, TokenFact, Verdict, decide, is_vouched_for,
    says_other_hardware,
};
use crate::model::{By, Device, DeviceState, Policy, Time};
use crate::tokens::TokenError;

const HOUR: Duration = Duration::from_secs(3600);
/// Changes of its hardware that are audited in an hour: a device may say something else at each call.
const CHANGES_PER_HOUR: i64 = 6;

/// What a device that has just said who it is should be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Greeting {
    /// How it stands; none: it never called.
    pub state: Option<DeviceState>,
    /// Its join token.
    pub ask_token: bool,
    /// Its inventory.
    pub ask_inventory: bool,
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq)]
pub struct Enrolled {
    /// What to tell the device.
    pub verdict: Verdict,
    /// The device as it is now; none: nothing is kept of it.
    pub device: Option<Device>,
    /// How it stood before; none: it never called.
    pub before: Option<DeviceState>,
}

impl Store {
    /// What to ask a device that proved this key, and says that its inventory has this digest.
    ///
    /// # Errors
    /// The database failed.
    pub async fn greet(&self, id: &DeviceId, inventory_digest: &[u8]) -> Result<Greeting, StoreError> {
        let statement = sqlx::query("SELECT state, inventory_digest, token FROM devices WHERE id = $1").bind(id.to_string());
        let known = query::find(&mut *self.reader().await?, statement, "greet a device", |row| {
            Ok((row.word::<DeviceState>("state")?, row.text("inventory_digest")?, row.opt_text("token")?))
        })
        .await?;
        Ok(match known {
            None => Greeting { state: None, ask_token: true, ask_inventory: true },
            Some((state, digest, token)) => {
                let is_heard = matches!(state, DeviceState::Pending | DeviceState::Admitted);
                Greeting {
                    state: Some(state),
                    ask_token: state == DeviceState::Pending && token.is_none(),
                    ask_inventory: is_heard && digest != hex::encode(inventory_digest),
                }
            }
        })
    }

    /// Decides about a call whose key was proved, and remembers what follows.
    ///
    /// # Errors
    /// The database failed; the device is to be told to come back later.
    pub async fn enrol(&self, attempt: &Attempt, now: Time) -> Result<Enrolled, StoreError> {
        self.enrol_claims(Claims::from(attempt), now).await
    }

    /// The same, for whoever has cut it already to what is kept. Only that waits for its turn to write, not a message of many megabytes.
    ///
    /// # Errors
    /// The database failed; the device is to be told to come back later.
    pub async fn enrol_claims(&self, claims: Claims, now: Time) -> Result<Enrolled, StoreError> {
        self.write(move |tx| Box::pin(enrol(tx, claims, now))).await
    }
}

async fn enrol(tx: &mut Tx, claims: Claims, now: Time) -> Result<Enrolled, StoreError> {
    let facts = gather(tx.conn(), claims, now).await?;
    let mut decision = decide(&facts, now);
    // What was read under the lane's lock still holds; the condition in the statement is the second guard, for whoever takes the first away.
    if let Some(token) = &decision.use_token
        && !tokens::use_one(tx, token).await?
    {
        decision = Decision { verdict: TokenError::Used.into(), device: None, use_token: None, take_place: None, notes: vec![] };
    }
    carry_out(tx, &facts, &decision, now).await?;
    Ok(Enrolled { verdict: decision.verdict, device: decision.device, before: facts.known.map(|device| device.state) })
}

async fn gather(conn: &mut AnyConnection, claims: Claims, now: Time) -> Result<Facts, StoreError> {
    let known = devices::find(conn, &claims.id).await?;
    if known.as_ref().is_some_and(|device| device.public_key != claims.key) {
        return Err(StoreError::Corrupt { what: "public_key", message: format!("device {} has another key", claims.id) });
    }
    let mut facts = Facts {
        claims,
        known,
        token: TokenFact::NotShown,
        places: vec![],
        rules: vec![],
        policy: Policy::default(),
        pending: 0,
        crowd: Crowd::default(),
    };
    // A device that is settled is decided about by its state alone.
    if facts.known.as_ref().is_some_and(|device| device.state != DeviceState::Pending) {
        return Ok(facts);
    }
    facts.policy = settings::policy(conn).await?;
    facts.token = match &facts.claims.token {
        None => TokenFact::NotShown,
        Some(hash) => tokens::by_hash(conn, hash).await?.map_or(TokenFact::Unknown, |token| TokenFact::Found(Box::new(token))),
    };
    let (serials, macs) = shown(&facts);
    facts.places = expected::matching(conn, &facts.claims.id, &serials, &macs).await?;
    facts.rules = rules::all(conn).await?;
    if is_vouched_for(&facts, now) {
        facts.pending = if facts.known.is_none() { unproven::count_others(conn).await? } else { 0 };
    } else if facts.known.as_ref().is_none_or(|device| says_other_hardware(&facts.claims, device)) {
        facts.crowd = unproven::crowd(conn, &facts.places, &facts.claims).await?;
    }
    Ok(facts)
}

/// Serial numbers and MAC addresses: as told now, and as told before.
fn shown(facts: &Facts) -> (Vec<String>, Vec<MacAddress>) {
    let (mut serials, mut macs) = (facts.claims.serials(), facts.claims.macs());
    if let Some(device) = &facts.known {
        serials.extend(device.serials.iter().filter(|serial| !facts.claims.serials().contains(serial)).cloned());
        macs.extend(device.macs.iter().filter(|mac| !facts.claims.macs().contains(mac)).cloned());
    }
    (serials, macs)
}

async fn carry_out(tx: &mut Tx, facts: &Facts, decision: &Decision, now: Time) -> Result<(), StoreError> {
    let address = facts.claims.address.to_string();
    if let Verdict::Refused { code, .. } = &decision.verdict {
        refusals::note(tx, &facts.claims.id, code, &address, now).await?;
    }
    let Some(device) = &decision.device else { return Ok(()) };
    devices::save(tx, device, facts.known.as_ref()).await?;
    if let Some(place) = &decision.take_place {
        expected::take(tx, place, &device.id).await?;
    }
    for Note { actor, action, details } in &decision.notes {
        if *action == HARDWARE_CHANGED && tx.audited(&device.id, action, None, now.before(HOUR)).await? >= CHANGES_PER_HOUR {
            continue;
        }
        tx.audit(&By::new(actor.clone(), address.clone(), now), action, Some(&device.id), details.clone()).await?;
    }
    let reported = facts.known.as_ref().and_then(|known| known.config_digest.as_ref());
    match &device.config_digest {
        Some(digest) if reported != Some(digest) => deliveries::running(tx, &device.id, digest, now).await,
        Some(_) | None => Ok(()),
    }
}
