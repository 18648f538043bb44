//! The decision itself.

use serde_json::{Value, json};

use super::claims::Claims;
use super::recognise::{Recognised, Shown, recognise, rival};
use super::transition::Act;
use super::verdict::{Verdict, refusal_of};
use crate::model::{
    Actor, BY_RULE, Device, DeviceState, Expected, ExpectedKey, Hardware, Label, Labels, Policy, Rule, RuleKind, RuleOutcome,
    Strangers, Time, Token,
};
use crate::tokens::{self, Bearer, TokenError};

/// The audit's word for a device that reports other hardware than before.
pub(crate) const HARDWARE_CHANGED: &str = "device.hardware";

/// Why an admitted device needs somebody.
const CHANGED: &str = "its hardware changed since it was admitted; approve it again if that is right";
/// Why hardware that a waiting device says is not taken over.
const ELSEWHERE: &str = "it says now that it has other hardware than at first, and nothing speaks for that";

/// What a decision goes by.
#[derive(Debug, Clone)]
pub struct Facts {
    /// What the device says.
    pub claims: Claims,
    /// The device, if it called before.
    pub known: Option<Device>,
    /// The token it shows.
    pub token: TokenFact,
    /// Places in manifests that have its id, serial number or MAC address.
    pub places: Vec<Expected>,
    /// The rules, in the order of their names.
    pub rules: Vec<Rule>,
    /// How strangers are dealt with.
    pub policy: Policy,
    /// Devices that wait for approval and proved something.
    pub pending: u64,
    /// The others.
    pub crowd: Crowd,
}

/// Devices that wait, or that a rule turned away, and that showed no join token that counts: anybody can make keys, and read a serial number off
/// a box. The device itself is not among them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Crowd {
    /// In all.
    pub of_all: u64,
    /// For one of the device's places.
    pub of_place: u64,
    /// From where the device calls.
    pub of_neighbour: u64,
}

impl Crowd {
    /// For one place: the box itself, one with the same label, and one more.
    const PER_PLACE: u64 = 3;
    /// Of one neighbour, which may be a whole site.
    const PER_NEIGHBOUR: u64 = 100;

    /// They have room of their own: they take none of those that proved something. Whoever lets strangers wait has said that any number of them may,
    /// also from one address.
    fn is_full(self, policy: &Policy) -> bool {
        let limit = u64::from(policy.pending_limit);
        self.of_place >= Self::PER_PLACE
            || match policy.strangers {
                Strangers::Refuse => self.of_neighbour >= Self::PER_NEIGHBOUR || self.of_all >= limit.div_ceil(4),
                Strangers::Wait => self.of_all >= limit,
            }
    }
}

/// The token a device shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenFact {
    /// None.
    NotShown,
    /// One that nobody made.
    Unknown,
    /// This one.
    Found(Box<Token>),
}

/// What follows.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// What the device is told.
    pub verdict: Verdict,
    /// The device as it is from now on; none: nothing is kept of it.
    pub device: Option<Device>,
    /// The token that is used up by one, by its id.
    pub use_token: Option<String>,
    /// The place the device takes.
    pub take_place: Option<ExpectedKey>,
    /// What the audit says.
    pub notes: Vec<Note>,
}

/// A line for the audit.
#[derive(Debug, Clone, PartialEq)]
pub struct Note {
    /// Who caused it.
    pub actor: Actor,
    /// What was done.
    pub action: &'static str,
    /// What else there is to know.
    pub details: Value,
}

/// Decides.
pub fn decide(facts: &Facts, now: Time) -> Decision {
    match &facts.known {
        Some(device) => decide_known(facts, device, now),
        None => decide_new(facts, now),
    }
}

fn nothing(verdict: Verdict) -> Decision {
    Decision { verdict, device: None, use_token: None, take_place: None, notes: vec![] }
}

fn decide_known(facts: &Facts, device: &Device, now: Time) -> Decision {
    if let Some(refusal) = refusal_of(device.state, &device.reason) {
        return nothing(refusal);
    }
    let mut device = device.clone();
    let stays = !may_say_other_hardware(facts, &device, now);
    let mut notes = refresh(&mut device, &facts.claims, stays, now);
    if device.state == DeviceState::Admitted {
        let verdict = Verdict::admitted(device.name.as_deref());
        return Decision { verdict, device: Some(device), use_token: None, take_place: None, notes };
    }
    let place = recognise(shown(facts, &device), &facts.places);
    // A token shown later counts as one shown at first; one that does not count changes nothing for a device that waits already.
    let may_join = device.token.is_none() && !stays;
    let late = if may_join { judged_token(facts, &device, place.as_ref(), now).unwrap_or(None) } else { None };
    let late = late.cloned();
    notes.extend(late.as_ref().map(|token| Note {
        actor: Actor::Device(device.id.clone()),
        action: "device.token",
        details: json!({ "token": token.id }),
    }));
    join(&mut device, &facts.claims, late.as_ref(), place.as_ref());
    let (verdict, take_place, more) = settle(facts, &mut device, place.as_ref(), now);
    if stays && device.state == DeviceState::Pending {
        device.reason = ELSEWHERE.to_owned();
    }
    notes.extend(more);
    Decision { verdict, device: Some(device), use_token: late.map(|token| token.id), take_place, notes }
}

fn decide_new(facts: &Facts, now: Time) -> Decision {
    let mut device = newcomer(&facts.claims, now);
    let place = recognise(shown(facts, &device), &facts.places);
    let token = match judged_token(facts, &device, place.as_ref(), now) {
        Ok(token) => token.cloned(),
        // Whoever has a place, or comes where strangers wait, is none the worse for it: a person decides.
        Err(_) if place.is_some() || facts.policy.strangers == Strangers::Wait => None,
        Err(error) => return nothing(error.into()),
    };
    let is_announced = token.is_some() || place.is_some();
    if !is_announced && facts.policy.strangers == Strangers::Refuse {
        return nothing(TokenError::Unknown.into());
    }
    join(&mut device, &facts.claims, token.as_ref(), place.as_ref());
    let (verdict, take_place, more) = settle(facts, &mut device, place.as_ref(), now);
    let is_proved = is_proved(&device, place.as_ref());
    let is_full = match is_proved {
        true => facts.pending >= u64::from(facts.policy.pending_limit),
        false => facts.crowd.is_full(&facts.policy),
    };
    match device.state {
        DeviceState::Pending if is_full => return nothing(Verdict::busy()),
        // Of somebody who only made a key nothing is kept: he is told the same when he calls again.
        DeviceState::Refused | DeviceState::Quarantined if !is_proved => return nothing(verdict),
        DeviceState::Pending | DeviceState::Admitted | DeviceState::Refused | DeviceState::Quarantined | DeviceState::Removed => {
        }
    }
    let details = json!({
        "serials": device.serials, "macs": device.macs, "board": device.release.board, "version": device.release.version,
        "token": token.as_ref().map(|token| &token.id), "place": place.as_ref().and_then(|found| found.place.key()).map(|key| key.to_string()),
    });
    let mut notes = vec![Note { actor: Actor::Device(device.id.clone()), action: "device.enrol", details }];
    notes.extend(more);
    Decision { verdict, device: Some(device), use_token: token.map(|token| token.id), take_place, notes }
}

/// A device that called for the first time.
fn newcomer(claims: &Claims, now: Time) -> Device {
    Device {
        id: claims.id.clone(),
        public_key: claims.key,
        name: claims.name.clone(),
        state: DeviceState::Pending,
        reason: String::new(),
        site: String::new(),
        fleet: claims.fleet.clone(),
        release: claims.release.clone(),
        serials: claims.serials(),
        macs: claims.macs(),
        pinned: None,
        labels: Labels::new(),
        groups: vec![],
        first_seen: now,
        last_seen: now,
        last_address: Some(claims.address),
        config_generation: claims.config_generation,
        config_digest: claims.config_digest.clone(),
        healthy: false,
        phase: String::new(),
        status: None,
        resources: None,
        inventory: claims.inventory.clone(),
        inventory_digest: claims.inventory_digest.clone(),
        token: None,
        admitted_by: None,
    }
}

/// Whether a known device may say that it has other hardware than before. One that waits and proved nothing is counted for the place whose hardware it
/// said at first; another place is for it only if that has room. Else a few keys would open one place after the other.
fn may_say_other_hardware(facts: &Facts, device: &Device, now: Time) -> bool {
    if !says_other_hardware(&facts.claims, device) || is_vouched_for(facts, now) {
        return true;
    }
    let said = newcomer(&facts.claims, now);
    let is_expected = recognise(shown(facts, &said), &facts.places).is_some();
    facts.crowd.of_place < Crowd::PER_PLACE && (is_expected || facts.policy.strangers == Strangers::Wait)
}

/// Whether a device says now that it has other hardware.
pub(crate) fn says_other_hardware(claims: &Claims, device: &Device) -> bool {
    claims.inventory.is_some() && device.said() != (Hardware { serials: claims.serials(), macs: claims.macs() })
}

/// Takes over what a known device says now, of its hardware only if that does not stay. Other hardware under the same key is told to the audit: a disk
/// may have moved. What it was admitted with stays, until somebody approves it again.
fn refresh(device: &mut Device, claims: &Claims, stays: bool, now: Time) -> Vec<Note> {
    device.last_seen = now;
    device.last_address = Some(claims.address);
    device.release = claims.release.clone();
    device.fleet = claims.fleet.clone();
    device.config_generation = claims.config_generation;
    device.config_digest = claims.config_digest.clone();
    let Some(inventory) = claims.inventory.as_ref().filter(|_| !stays) else { return vec![] };
    let (serials, macs) = (claims.serials(), claims.macs());
    let moved = (serials != device.serials || macs != device.macs) && device.inventory.is_some();
    let details = json!({ "before": [device.serials, device.macs], "after": [serials, macs] });
    if device.state == DeviceState::Admitted && device.pinned.is_none() {
        device.pinned = Some(device.said());
    }
    device.inventory = Some(inventory.clone());
    device.inventory_digest = claims.inventory_digest.clone();
    (device.serials, device.macs) = (serials, macs);
    if device.hardware_changed() {
        device.reason = CHANGED.to_owned();
    } else if device.reason == CHANGED {
        device.reason = String::new();
    }
    let note = Note { actor: Actor::Device(device.id.clone()), action: HARDWARE_CHANGED, details };
    moved.then_some(note).into_iter().collect()
}

fn shown<'a>(facts: &'a Facts, device: &'a Device) -> Shown<'a> {
    Shown { id: &device.id, serials: &device.serials, macs: &device.macs, board: &facts.claims.release.board }
}

/// The token that counts; none: none was shown.
fn judged_token<'a>(
    facts: &'a Facts,
    device: &Device,
    place: Option<&Recognised<'_>>,
    now: Time,
) -> Result<Option<&'a Token>, TokenError> {
    let none = Labels::new();
    let labels = place.map_or(&none, |found| &found.place.labels);
    let bearer = Bearer { serials: &device.serials, macs: &device.macs, labels };
    match &facts.token {
        TokenFact::NotShown => Ok(None),
        TokenFact::Unknown => Err(TokenError::Unknown),
        TokenFact::Found(token) => tokens::judge(token, bearer, now).map(|()| Some(&**token)),
    }
}

/// The device was heard before as more than somebody with a key, or is now: it shows a token that counts, or has a key that was made beforehand. All
/// others are a crowd, and bounded as one.
pub(crate) fn is_vouched_for(facts: &Facts, now: Time) -> bool {
    if facts.known.as_ref().is_some_and(|device| !device.is_unproven()) {
        return true;
    }
    let device = newcomer(&facts.claims, now);
    let place = recognise(shown(facts, &device), &facts.places);
    place.as_ref().is_some_and(|found| found.by_key) || matches!(judged_token(facts, &device, place.as_ref(), now), Ok(Some(_)))
}

/// Gives a device what its token and its place give it. What a person gave it already stays.
fn join(device: &mut Device, claims: &Claims, token: Option<&Token>, place: Option<&Recognised<'_>>) {
    if let Some(token) = token {
        device.token = Some(token.id.clone());
        give(device, &token.labels, &token.groups);
    }
    if let Some(Recognised { place, .. }) = place {
        give(device, &place.labels, &[]);
        if place.name.is_some() && (device.name.is_none() || device.name == claims.name) {
            device.name = place.name.clone();
        }
        if device.site.is_empty() {
            device.site = place.site.clone();
        }
    }
}

fn give(device: &mut Device, labels: &Labels, groups: &[String]) {
    for (key, value) in labels {
        device.labels.entry(key.clone()).or_insert_with(|| value.clone());
    }
    for group in groups.iter().filter(|group| !device.groups.contains(group)).cloned().collect::<Vec<_>>() {
        device.groups.push(group);
    }
}

/// Admits a waiting device if somebody who claimed it or a rule says so; else says for what it waits.
fn settle(
    facts: &Facts,
    device: &mut Device,
    place: Option<&Recognised<'_>>,
    now: Time,
) -> (Verdict, Option<ExpectedKey>, Vec<Note>) {
    match settled(facts, device, place) {
        Settled::Admitted { by, rule } => {
            let by_key = place.is_some_and(|found| found.by_key);
            let details = json!({ "admittedBy": by, "token": device.token, "byKey": by_key });
            device.admit(by);
            let note = Note { actor: Actor::Rule(rule), action: Act::Approve.as_str(), details };
            return (Verdict::admitted(device.name.as_deref()), place.and_then(|found| found.place.key()), vec![note]);
        }
        Settled::TurnedAway { act, rule } => {
            (device.state, device.reason) = (act.target(), format!("{BY_RULE}{rule}"));
            if let Some(refusal) = refusal_of(device.state, &device.reason) {
                let details = json!({ "token": device.token });
                return (refusal, None, vec![Note { actor: Actor::Rule(rule), action: act.as_str(), details }]);
            }
        }
        Settled::Waits => {}
    }
    device.reason = match rival(shown(facts, device), &facts.places) {
        Some(other) => format!("its place in the manifest was taken by device {}", &other.as_str()[..16]),
        None if !is_proved(device, place) => match judged_token(facts, device, place, now) {
            Ok(_) => "it showed no join token".to_owned(),
            Err(error) => format!("its join token does not count ({})", error.code()),
        },
        None => String::new(),
    };
    let message = format!("waiting for approval of device {}", &device.id.as_str()[..16]);
    (Verdict::pending(message, device.first_seen, now), None, vec![])
}

/// What becomes of a device that waits.
enum Settled {
    Admitted { by: String, rule: String },
    TurnedAway { act: Act, rule: String },
    Waits,
}

/// The device showed more than what anybody may say of himself: a token, or a key that was made beforehand.
fn is_proved(device: &Device, place: Option<&Recognised<'_>>) -> bool {
    device.token.is_some() || place.is_some_and(|found| found.by_key)
}

/// A claim first, then the first rule that fits. To be turned away nobody needs to prove anything.
fn settled(facts: &Facts, device: &mut Device, place: Option<&Recognised<'_>>) -> Settled {
    let proved = is_proved(device, place);
    if let Some(by) = place.and_then(|found| found.place.claimed_by.clone()).filter(|_| proved) {
        return Settled::Admitted { by, rule: "claim".to_owned() };
    }
    let may = |rule: &Rule| rule.outcome != RuleOutcome::Admit || proved || rule.without_token;
    let Some(rule) = facts.rules.iter().find(|rule| may(rule) && applies(rule, device, place)) else { return Settled::Waits };
    let act = match rule.outcome {
        RuleOutcome::Refuse => Act::Refuse,
        RuleOutcome::Quarantine => Act::Quarantine,
        RuleOutcome::Admit => {
            give(device, &rule.labels, &rule.groups);
            return Settled::Admitted { by: Actor::Rule(rule.name.clone()).to_string(), rule: rule.name.clone() };
        }
    };
    Settled::TurnedAway { act, rule: rule.name.clone() }
}

fn applies(rule: &Rule, device: &Device, place: Option<&Recognised<'_>>) -> bool {
    match &rule.kind {
        RuleKind::Manifest => place.is_some(),
        RuleKind::Serials(serials) => device.serials.iter().any(|serial| serials.contains(serial)),
        RuleKind::Label(Label { key, value }) => device.labels.get(key) == Some(value),
    }
}
