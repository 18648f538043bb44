//! One session with one device, from the challenge to its end: what happens goes in, what is to be done comes out. Pure: no clock, no
//! randomness, no I/O.
//!
//! Until its key is proven a device is a stranger and gets nothing but a challenge. Out of turn, too much, too fast, or about something that
//! never was: each ends the session, and only this one.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use api::hub::PROTOCOL;
use api::hub::v1::{
    Admitted, Answer, Ask, Challenge, ConfigOffer, ConfigOutcome, Heartbeat, HeartbeatReceived, Hello, Pending, Refused,
    TunnelClose, TunnelCredit, TunnelData, TunnelOpen, Verdict, device_message, hub_message, verdict,
};

use super::allowance::Allowance;
use super::event::{Action, Attempt, Decision, Dismissal, End, Event, Offer, Wanted};
use super::proof::{Channel, ProofError, Proven, prove};
use super::tunnels::{TunnelFault, Tunnels};
use crate::config::AFTER_REFUSAL;
use crate::model::text::bounded;

/// How often a device is asked for a sign of life: often enough to keep addresses translated, seldom enough for a metered link.
pub const HEARTBEAT: Duration = Duration::from_secs(150);
/// A device without a sign of life for this long is gone: two heartbeats were lost, and a minute of grace.
const SILENCE: Duration = Duration::from_secs(2 * HEARTBEAT.as_secs() + 60);
/// Time to prove the key.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// Time to answer what was asked.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// Time for the database to say who is who.
const STORE_TIMEOUT: Duration = Duration::from_secs(30);
/// When to come again after the database failed, or after a message that makes no sense.
const RETRY_SECONDS: u32 = 60;
/// Messages outside tunnels that a device may send at once, and the pause after which it may send one more.
const BURST: u32 = 60;
const PAUSE: Duration = Duration::from_secs(1);
/// Bytes of a device's reason to close a tunnel, which the audit keeps for good.
const REASON_BYTES: usize = 256;
/// Events in one message.
const MAX_EVENTS: usize = 512;
/// Offers that are not answered yet.
const MAX_OFFERS: usize = 4;
/// What a device answers when it cannot judge an offer at the moment. Every other code is its refusal, also one that a later device has more.
const PASSING: [&str; 6] = ["not-ready", "store", "busy", "unavailable", "superseded", "defect"];
/// The pause before it is asked again, which doubles each time up to [`AFTER_REFUSAL`]: an offer may have 256 KiB.
const AFTER_PASSING: Duration = Duration::from_secs(60);
/// The pause after the database failed: a removal may be what could not be read.
const AFTER_FAILURE: Duration = Duration::from_secs(5);
/// What the clocks of the session and of the database may differ by.
const GRACE: Duration = Duration::from_secs(5);
/// Looks that are due later, at most.
const MAX_LOOKS: usize = 16;

#[derive(Debug)]
enum Phase {
    Greeting,
    Looking(Proven, Box<Hello>),
    Asking(Proven, Box<Hello>, Wanted),
    Deciding(Proven),
    Admitted(Box<Live>),
    Over,
}

#[derive(Debug)]
struct Live {
    heartbeat: u64,
    offers: BTreeSet<String>,
    /// What it accepted in this session; it may not have reported yet that it runs it.
    accepted: Option<String>,
    tunnels: Tunnels,
    allowance: Allowance,
    /// When to look again what the device is to get.
    looks: BTreeSet<Instant>,
    /// Offers in a row that it could not judge.
    passed: u32,
    /// Something could not be written; the session's entry in the database may be what is missing.
    unwritten: bool,
}

/// The hub's side of one session.
#[derive(Debug)]
pub struct Machine {
    channel: Channel,
    phase: Phase,
    /// When the device, or the store, must have said something.
    due: Instant,
}

type Actions = Vec<Action>;

fn end(why: End) -> Actions {
    vec![Action::End(why)]
}

fn refusal(code: &str, message: String, retry_seconds: u32) -> Action {
    let kind = verdict::Kind::Refused(Refused { code: code.to_owned(), message, retry_seconds });
    Action::Send(hub_message::Kind::Verdict(Verdict { kind: Some(kind) }))
}

impl Machine {
    /// Begins with the challenge.
    pub fn begin(now: Instant, channel: Channel) -> (Self, Actions) {
        let challenge = Challenge { nonce: channel.nonce.to_vec(), protocol: PROTOCOL };
        let machine = Self { channel, phase: Phase::Greeting, due: now + HELLO_TIMEOUT };
        (machine, vec![Action::Send(hub_message::Kind::Challenge(challenge))])
    }

    /// What follows from what happened. Nothing does once the session is over, but the answer to whoever still wants a tunnel.
    pub fn on_event(&mut self, now: Instant, event: Event) -> Actions {
        let mut actions = match event {
            Event::Device(kind) => self.said(now, *kind),
            Event::Looked(wanted) => self.looked(now, wanted),
            Event::Decided(decision) => self.decided(now, decision),
            Event::StoreFailed => self.store_failed(now),
            Event::Dismiss(why) => self.dismissed(why),
            Event::Tick => self.tick(now),
            Event::Offer(offer) => self.live().map_or_else(Vec::new, |live| live.offer(offer)),
            Event::Open { request, who } => self.open(now, request, who),
            Event::FromOperator { id, data } => self.live().map_or_else(Vec::new, |live| live.operator_sent(id, data)),
            Event::Taken { id, bytes } => self.live().map_or_else(Vec::new, |live| live.taken(id, bytes)),
            Event::Left { id, reason } => self.live().map_or_else(Vec::new, |live| live.left(id, reason)),
        };
        if actions.iter().any(|action| matches!(action, Action::End(_))) {
            let closing = self.live().map_or_else(Vec::new, |live| live.close_all());
            actions.splice(0..0, closing);
            self.phase = Phase::Over;
        }
        actions
    }

    /// When [`Event::Tick`] is due; none: the session is over.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Over => None,
            Phase::Admitted(live) => live.deadline().into_iter().chain([self.due]).min(),
            Phase::Greeting | Phase::Looking(..) | Phase::Asking(..) | Phase::Deciding(_) => Some(self.due),
        }
    }

    /// How much an operator may send into a tunnel now.
    pub fn sendable(&self, id: u32) -> usize {
        match &self.phase {
            Phase::Admitted(live) => live.tunnels.sendable(id),
            Phase::Greeting | Phase::Looking(..) | Phase::Asking(..) | Phase::Deciding(_) | Phase::Over => 0,
        }
    }

    /// Digests of what the device has from this session already: offered and not answered, or accepted.
    pub fn offered(&self) -> Vec<String> {
        match &self.phase {
            Phase::Admitted(live) => live.offers.iter().chain(&live.accepted).cloned().collect(),
            Phase::Greeting | Phase::Looking(..) | Phase::Asking(..) | Phase::Deciding(_) | Phase::Over => Vec::new(),
        }
    }

    fn live(&mut self) -> Option<&mut Live> {
        match &mut self.phase {
            Phase::Admitted(live) => Some(live),
            Phase::Greeting | Phase::Looking(..) | Phase::Asking(..) | Phase::Deciding(_) | Phase::Over => None,
        }
    }

    fn said(&mut self, now: Instant, kind: device_message::Kind) -> Actions {
        match (std::mem::replace(&mut self.phase, Phase::Over), kind) {
            (Phase::Over, _) => Vec::new(),
            (Phase::Greeting, device_message::Kind::Hello(hello)) => self.hello(now, hello),
            (Phase::Asking(proven, hello, wanted), device_message::Kind::Answer(answer)) => {
                self.answer(now, proven, hello, wanted, answer)
            }
            (Phase::Admitted(mut live), kind) => {
                let actions = live.said(now, kind);
                self.phase = Phase::Admitted(live);
                self.due = now + SILENCE;
                actions
            }
            (Phase::Greeting | Phase::Looking(..) | Phase::Asking(..) | Phase::Deciding(_), _) => out_of_turn(),
        }
    }

    fn hello(&mut self, now: Instant, hello: Hello) -> Actions {
        if hello.protocol != PROTOCOL {
            let message = format!("this hub speaks version {PROTOCOL} of the protocol, the device speaks {}", hello.protocol);
            return told("protocol", message);
        }
        match prove(&hello, &self.channel) {
            Ok(proven) => {
                let look = Action::Look { proven: proven.clone(), inventory_digest: hello.inventory_digest.clone() };
                self.phase = Phase::Looking(proven, Box::new(hello));
                self.due = now + STORE_TIMEOUT;
                vec![look]
            }
            Err(error @ (ProofError::Length | ProofError::Key | ProofError::Signature)) => {
                told("proof", format!("the device does not prove its key: {error}"))
            }
        }
    }

    fn looked(&mut self, now: Instant, wanted: Wanted) -> Actions {
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Looking(proven, hello) if wanted.join_token || wanted.inventory => {
                self.phase = Phase::Asking(proven, hello, wanted);
                self.due = now + ANSWER_TIMEOUT;
                let ask = Ask { join_token: wanted.join_token, inventory: wanted.inventory };
                vec![Action::Send(hub_message::Kind::Ask(ask))]
            }
            Phase::Looking(proven, hello) => self.decide(now, Attempt { proven, hello: *hello, answer: None }),
            other @ (Phase::Greeting | Phase::Asking(..) | Phase::Deciding(_) | Phase::Admitted(_) | Phase::Over) => {
                self.phase = other;
                Vec::new()
            }
        }
    }

    fn answer(&mut self, now: Instant, proven: Proven, hello: Box<Hello>, wanted: Wanted, mut answer: Answer) -> Actions {
        // What was not asked for is not looked at.
        if !wanted.join_token {
            answer.join_token.clear();
        }
        if !wanted.inventory {
            answer.inventory = None;
        }
        self.decide(now, Attempt { proven, hello: *hello, answer: Some(answer) })
    }

    fn decide(&mut self, now: Instant, attempt: Attempt) -> Actions {
        self.phase = Phase::Deciding(attempt.proven.clone());
        self.due = now + STORE_TIMEOUT;
        vec![Action::Decide(Box::new(attempt))]
    }

    fn decided(&mut self, now: Instant, decision: Decision) -> Actions {
        let (Phase::Deciding(proven) | Phase::Looking(proven, _)) = &self.phase else { return Vec::new() };
        match decision {
            Decision::Pending { message, retry_seconds } => {
                let kind = verdict::Kind::Pending(Pending { message, retry_seconds });
                let send = Action::Send(hub_message::Kind::Verdict(Verdict { kind: Some(kind) }));
                vec![send, Action::End(End::Told { code: "pending".to_owned() })]
            }
            Decision::Refused { code, message, retry_seconds } => {
                vec![refusal(&code, message, retry_seconds), Action::End(End::Told { code })]
            }
            Decision::Admitted { name } => {
                let admitted = Action::Admitted(proven.clone());
                self.phase = Phase::Admitted(Box::new(Live::begin(now)));
                self.due = now + SILENCE;
                let heartbeat_seconds = HEARTBEAT.as_secs() as u32;
                let kind = verdict::Kind::Admitted(Admitted { heartbeat_seconds, name });
                vec![Action::Send(hub_message::Kind::Verdict(Verdict { kind: Some(kind) })), admitted]
            }
        }
    }

    /// Who is admitted is kept, and looked at again soon.
    fn store_failed(&mut self, now: Instant) -> Actions {
        match &mut self.phase {
            Phase::Looking(..) | Phase::Deciding(_) => store_failed(),
            Phase::Admitted(live) => {
                live.unwritten = true;
                live.look_at(now + AFTER_FAILURE);
                Vec::new()
            }
            Phase::Greeting | Phase::Asking(..) | Phase::Over => Vec::new(),
        }
    }

    fn dismissed(&mut self, why: Dismissal) -> Actions {
        if matches!(self.phase, Phase::Over) {
            return Vec::new();
        }
        match why {
            Dismissal::Verdict { code, message, retry_seconds } => {
                vec![refusal(&code, message, retry_seconds), Action::End(End::Dismissed(code))]
            }
            Dismissal::Superseded => end(End::Dismissed("the device called again".to_owned())),
            Dismissal::Stopping => end(End::Dismissed("the hub stops".to_owned())),
        }
    }

    fn tick(&mut self, now: Instant) -> Actions {
        let late = self.due <= now;
        match &mut self.phase {
            Phase::Over => Vec::new(),
            Phase::Admitted(live) if !late => live.tick(now),
            Phase::Greeting | Phase::Looking(..) | Phase::Asking(..) | Phase::Deciding(_) if !late => Vec::new(),
            Phase::Greeting => end(End::Silent("the proof of its key")),
            Phase::Asking(..) => end(End::Silent("the answer to what it was asked")),
            Phase::Looking(..) | Phase::Deciding(_) => store_failed(),
            Phase::Admitted(_) => end(End::Silent("a heartbeat")),
        }
    }

    fn open(&mut self, now: Instant, request: u64, who: String) -> Actions {
        let Some(live) = self.live() else {
            return vec![Action::NotOpened { request, reason: "the device is not connected".to_owned() }];
        };
        match live.tunnels.begin(now) {
            Ok(id) => vec![Action::Opening { request, id }, Action::Send(hub_message::Kind::TunnelOpen(TunnelOpen { id, who }))],
            Err(full) => vec![Action::NotOpened { request, reason: full.to_string() }],
        }
    }
}

fn out_of_turn() -> Actions {
    let message = "the device said something out of turn";
    vec![refusal("malformed", message.to_owned(), RETRY_SECONDS), Action::End(End::Broken(message.to_owned()))]
}

fn told(code: &str, message: String) -> Actions {
    vec![refusal(code, message, RETRY_SECONDS), Action::End(End::Told { code: code.to_owned() })]
}

fn store_failed() -> Actions {
    let message = "the hub cannot reach its database at the moment".to_owned();
    vec![refusal("busy", message, RETRY_SECONDS), Action::End(End::Store)]
}

fn close_message(id: u32, reason: String) -> Action {
    Action::Send(hub_message::Kind::TunnelClose(TunnelClose { id, reason }))
}

impl Live {
    fn begin(now: Instant) -> Self {
        Self {
            heartbeat: 0,
            offers: BTreeSet::new(),
            accepted: None,
            tunnels: Tunnels::default(),
            allowance: Allowance::new(now, BURST, PAUSE),
            // It may have refused something in a session before this one.
            looks: BTreeSet::from([now + AFTER_REFUSAL + GRACE]),
            passed: 0,
            unwritten: false,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.tunnels.deadline().into_iter().chain(self.looks.first().copied()).min()
    }

    fn look_at(&mut self, at: Instant) {
        self.looks.insert(at);
        if self.looks.len() > MAX_LOOKS {
            self.looks.pop_last();
        }
    }

    fn tick(&mut self, now: Instant) -> Actions {
        let mut actions = self.overdue(now);
        let due = self.looks.len();
        self.looks.retain(|at| *at > now);
        if self.looks.len() < due {
            actions.extend(std::mem::take(&mut self.unwritten).then_some(Action::NoteAgain));
            actions.push(Action::LookAgain);
        }
        actions
    }

    fn said(&mut self, now: Instant, kind: device_message::Kind) -> Actions {
        let tunnelled = matches!(
            kind,
            device_message::Kind::TunnelOpened(_)
                | device_message::Kind::TunnelData(_)
                | device_message::Kind::TunnelCredit(_)
                | device_message::Kind::TunnelClose(_)
        );
        if !tunnelled && !self.allowance.take(now) {
            return end(End::Broken("it sends more messages than a device has reason to".to_owned()));
        }
        match kind {
            device_message::Kind::Hello(_) | device_message::Kind::Answer(_) => out_of_turn(),
            device_message::Kind::Heartbeat(heartbeat) => self.heard(heartbeat),
            device_message::Kind::ConfigOutcome(outcome) => self.outcome(now, outcome),
            device_message::Kind::Events(events) if events.events.len() <= MAX_EVENTS => vec![Action::Happened(events.events)],
            device_message::Kind::Events(_) => end(End::Broken("it sends too many events at once".to_owned())),
            device_message::Kind::TunnelOpened(opened) => self.opened(opened.id),
            device_message::Kind::TunnelData(data) => self.received(data),
            device_message::Kind::TunnelCredit(credit) => match self.tunnels.credited(credit.id, credit.bytes) {
                Ok(()) => Vec::new(),
                Err(fault) => broken(fault),
            },
            device_message::Kind::TunnelClose(close) => self.closed(close),
        }
    }

    fn heard(&mut self, heartbeat: Heartbeat) -> Actions {
        if heartbeat.number <= self.heartbeat {
            return end(End::Broken("its heartbeats do not count upwards".to_owned()));
        }
        self.heartbeat = heartbeat.number;
        let received = HeartbeatReceived { number: heartbeat.number };
        vec![Action::Send(hub_message::Kind::HeartbeatReceived(received)), Action::Heard(Box::new(heartbeat))]
    }

    fn offer(&mut self, offer: Offer) -> Actions {
        let has = self.offers.contains(&offer.digest) || self.accepted.as_ref() == Some(&offer.digest);
        if has || self.offers.len() >= MAX_OFFERS {
            return Vec::new();
        }
        self.offers.insert(offer.digest.clone());
        vec![Action::Send(hub_message::Kind::ConfigOffer(ConfigOffer { config: offer.config, digest: offer.digest }))]
    }

    fn outcome(&mut self, now: Instant, outcome: ConfigOutcome) -> Actions {
        if !self.offers.remove(&outcome.digest) {
            return end(End::Broken("it answers to a configuration that it was not offered".to_owned()));
        }
        if !outcome.accepted && PASSING.contains(&outcome.code.as_str()) {
            self.look_at(now + AFTER_PASSING.saturating_mul(1 << self.passed.min(6)).min(AFTER_REFUSAL));
            self.passed += 1;
            return vec![Action::Postponed(outcome)];
        }
        self.passed = 0;
        if outcome.accepted {
            self.accepted = Some(outcome.digest.clone());
        } else {
            self.look_at(now + AFTER_REFUSAL + GRACE);
        }
        vec![Action::Outcome(outcome)]
    }

    fn opened(&mut self, id: u32) -> Actions {
        match self.tunnels.opened(id) {
            Ok(true) => vec![Action::Opened { id }],
            Ok(false) => Vec::new(),
            Err(fault) => broken(fault),
        }
    }

    fn received(&mut self, data: TunnelData) -> Actions {
        match self.tunnels.received(data.id, data.data.len()) {
            Ok(true) => vec![Action::ToOperator { id: data.id, data: data.data }],
            Ok(false) => Vec::new(),
            Err(fault) => broken(fault),
        }
    }

    fn closed(&mut self, close: TunnelClose) -> Actions {
        match self.tunnels.closed(close.id) {
            Ok(true) => vec![Action::Closed { id: close.id, reason: bounded(&close.reason, REASON_BYTES) }],
            Ok(false) => Vec::new(),
            Err(fault) => broken(fault),
        }
    }

    fn operator_sent(&mut self, id: u32, data: Vec<u8>) -> Actions {
        if !self.tunnels.sent(id, data.len()) {
            return Vec::new();
        }
        vec![Action::Send(hub_message::Kind::TunnelData(TunnelData { id, data }))]
    }

    fn taken(&mut self, id: u32, bytes: u32) -> Actions {
        let credit = self.tunnels.taken(id, bytes).map(|bytes| TunnelCredit { id, bytes });
        credit.map(|credit| Action::Send(hub_message::Kind::TunnelCredit(credit))).into_iter().collect()
    }

    fn left(&mut self, id: u32, reason: String) -> Actions {
        if self.tunnels.end(id) { vec![close_message(id, reason)] } else { Vec::new() }
    }

    fn overdue(&mut self, now: Instant) -> Actions {
        let mut actions = Vec::new();
        for id in self.tunnels.overdue(now) {
            self.tunnels.end(id);
            let reason = "the device did not open the connection in time".to_owned();
            actions.extend([close_message(id, reason.clone()), Action::Closed { id, reason }]);
        }
        actions
    }

    fn close_all(&mut self) -> Actions {
        let reason = "the device's session ended".to_owned();
        let close = |id| Action::Closed { id, reason: reason.clone() };
        let actions = self.tunnels.ids().into_iter().map(close).collect();
        self.tunnels = Tunnels::default();
        actions
    }
}

fn broken(fault: TunnelFault) -> Actions {
    end(End::Broken(fault.to_string()))
}

#[cfg(test)]
mod tests;
