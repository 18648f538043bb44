//! The part of the machine that lives while the hub has admitted the device: heartbeats, reports, configurations, events.

use std::time::{Duration, Instant};

use api::hub::v1::hub_message::Kind;
use api::hub::v1::{ConfigOffer, ConfigOutcome, HeartbeatReceived};

use sha2::{Digest, Sha256};

use super::super::backoff::Chance;
use super::Action;
use super::says::bounded;

/// A heartbeat is answered within this time, or the hub is gone.
pub const HEARTBEAT_ANSWER: Duration = Duration::from_secs(30);
/// Between two messages with events.
pub const EVENTS_SPACING: Duration = Duration::from_secs(30);
/// Between two configurations that are judged.
pub const OFFER_SPACING: Duration = Duration::from_secs(1);
/// Between two reports of a status that changes; it doubles while the changes go on.
const REPORT_SPACING: Duration = Duration::from_secs(5);
/// Heartbeats come this much sooner than asked for, in percent at most, so that devices do not beat together.
const EARLY_PERCENT: u32 = 5;

/// The state of an admitted session.
#[derive(Debug)]
pub(super) struct Admitted {
    /// When it began.
    pub(super) since: Instant,
    /// The status differs from the one reported.
    pub(super) changed: bool,
    /// Events wait.
    pub(super) events_wait: bool,
    /// The settings name another hub: the session ends once the configuration's outcome is told.
    pub(super) leave: bool,
    interval: Duration,
    next_heartbeat: Instant,
    number: u64,
    unanswered: Option<Instant>,
    next_report: Instant,
    report_spacing: Duration,
    next_events: Instant,
    offers: Offers,
}

/// Configurations: one is judged at a time, and the newest of those that came meanwhile waits.
#[derive(Debug)]
struct Offers {
    judging: bool,
    waiting: Option<ConfigOffer>,
    next: Instant,
}

impl Admitted {
    pub(super) fn new(now: Instant, heartbeat_seconds: u32) -> Self {
        Self {
            since: now,
            changed: true,
            events_wait: true,
            leave: false,
            interval: bounded(heartbeat_seconds, 150, 30, 600),
            next_heartbeat: now,
            number: 0,
            unanswered: None,
            next_report: now,
            report_spacing: REPORT_SPACING,
            next_events: now,
            offers: Offers { judging: false, waiting: None, next: now },
        }
    }

    pub(super) fn deadline(&self) -> Instant {
        let heartbeat =
            self.unanswered.unwrap_or(if self.changed { self.next_heartbeat.min(self.next_report) } else { self.next_heartbeat });
        let events = self.events_wait.then_some(self.next_events);
        let offer = (self.offers.waiting.is_some() && !self.offers.judging).then_some(self.offers.next);
        [events, offer].into_iter().flatten().fold(heartbeat, Instant::min)
    }

    pub(super) fn is_judging(&self) -> bool {
        self.offers.judging
    }

    pub(super) fn received(&mut self, now: Instant, kind: Kind, actions: &mut Vec<Action>) -> Result<(), &'static str> {
        match kind {
            Kind::HeartbeatReceived(HeartbeatReceived { number }) => match self.unanswered.take() {
                Some(_) if number == self.number => Ok(()),
                Some(_) | None => Err("the hub answered a heartbeat that was not sent"),
            },
            Kind::ConfigOffer(offer) => {
                if offer.digest != hex::encode(Sha256::digest(&offer.config)) {
                    return Err("the hub offers a configuration with another digest than it names");
                }
                if let Some(older) = self.offers.waiting.replace(offer) {
                    actions.push(Action::SendOutcome(superseded(older)));
                }
                self.judge_next(now, actions);
                Ok(())
            }
            Kind::TunnelOpen(_) | Kind::TunnelData(_) | Kind::TunnelCredit(_) | Kind::TunnelClose(_) => {
                actions.push(Action::Tunnel(kind));
                Ok(())
            }
            Kind::Challenge(_) | Kind::Ask(_) | Kind::Verdict(_) => Err("the hub began anew within a session"),
        }
    }

    fn judge_next(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if self.offers.judging || self.offers.next > now || self.leave {
            return;
        }
        if let Some(offer) = self.offers.waiting.take() {
            self.offers.judging = true;
            self.offers.next = now + OFFER_SPACING;
            actions.push(Action::Judge(offer));
        }
    }

    /// Tells the outcome; false: nothing was being judged.
    pub(super) fn judged(&mut self, outcome: ConfigOutcome, actions: &mut Vec<Action>) -> bool {
        if !std::mem::take(&mut self.offers.judging) {
            return false;
        }
        actions.push(Action::SendOutcome(outcome));
        true
    }

    pub(super) fn tick(&mut self, now: Instant, chance: &mut Chance, actions: &mut Vec<Action>) -> Result<(), &'static str> {
        match self.unanswered {
            Some(until) if until <= now => return Err("the hub does not answer heartbeats"),
            Some(_) => {}
            None => self.beat(now, chance, actions),
        }
        self.judge_next(now, actions);
        if self.events_wait && self.next_events <= now {
            self.events_wait = false;
            self.next_events = now + EVENTS_SPACING;
            actions.push(Action::SendEvents);
        }
        Ok(())
    }

    fn beat(&mut self, now: Instant, chance: &mut Chance, actions: &mut Vec<Action>) {
        let due = self.next_heartbeat <= now;
        let early = self.changed && self.next_report <= now;
        if !due && !early {
            return;
        }
        // A status that keeps changing is told ever more seldom, down to the beat itself.
        self.report_spacing = if self.changed { (self.report_spacing * 2).min(self.interval) } else { REPORT_SPACING };
        self.number += 1;
        self.next_heartbeat = now + chance.part_of(self.interval, 100 - EARLY_PERCENT);
        self.next_report = now + self.report_spacing;
        self.unanswered = Some(now + HEARTBEAT_ANSWER);
        actions.push(Action::SendHeartbeat { number: self.number, report: std::mem::take(&mut self.changed) });
    }
}

fn superseded(offer: ConfigOffer) -> ConfigOutcome {
    ConfigOutcome {
        digest: offer.digest,
        accepted: false,
        code: "superseded".into(),
        message: "another configuration was offered before this one was judged".into(),
        generation: 0,
    }
}
