//! The state machine of phone home: what to do about each event, without doing it. Clock and chance are arguments.
//!
//! It holds one connection at most, and always has a deadline or something under way, unless no hub is configured. Before the hub has
//! admitted the device it takes from it a challenge, a question and a verdict, in this order; whatever else comes ends the connection.

use std::time::{Duration, Instant};

use api::hub::v1::hub_message::Kind;
use api::hub::v1::{ConfigOffer, ConfigOutcome, Verdict, verdict};
use api::internal::HubState;

use super::backoff::{Backoff, Chance};
use super::node::HubReport;
use super::settings::Target;

mod admitted;
mod says;

use admitted::Admitted;
pub use admitted::{EVENTS_SPACING, HEARTBEAT_ANSWER, OFFER_SPACING};
use says::{one_line, refused_pause};

/// Time for name, proxy, TCP, TLS and the opening of the call.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(120);
/// Time for the hub's challenge, for the device's own proof, and for its verdict.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Time for what was said last to reach the hub, before the connection is closed.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// A session that lived this long was a good one: the pauses begin anew behind it.
const GOOD_SESSION: Duration = Duration::from_secs(60);

/// What a hub says that has no room at the moment.
const BUSY: &str = "busy";

/// Between a change of the device's addresses and the next call, at most.
const HURRY: Duration = Duration::from_secs(4);

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The settings name this hub; none: no hub.
    Settings(Option<Target>),
    /// The connection asked for is there.
    Connected,
    /// The hub said something.
    Received(Option<Kind>),
    /// The proof asked for is ready to be sent.
    Proved,
    /// A configuration was judged.
    Judged(ConfigOutcome),
    /// The status differs from the one last reported.
    StatusChanged,
    /// The device has other addresses than before: what could not be reached may be in reach now.
    NetworkChanged,
    /// Events wait.
    EventsWaiting,
    /// The connection ended or did not come about; one line says why.
    Lost(String),
    /// The deadline is reached.
    Tick,
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Connect to this one of the target's addresses.
    Connect(usize),
    /// Drop the connection, finished or not, and all that was under way for it.
    Disconnect,
    /// Say no more, and let the connection end when all is sent.
    Finish,
    /// Have the nonce signed and make the greeting.
    Prove([u8; api::hub::NONCE_BYTES]),
    /// Send the greeting.
    SendHello,
    /// Answer what was asked.
    SendAnswer {
        /// The join token.
        join_token: bool,
        /// The inventory.
        inventory: bool,
    },
    /// Send a heartbeat.
    SendHeartbeat {
        /// Counts from 1.
        number: u64,
        /// With the status.
        report: bool,
    },
    /// Have a configuration judged.
    Judge(ConfigOffer),
    /// Tell what became of it.
    SendOutcome(ConfigOutcome),
    /// Send the events that wait.
    SendEvents,
    /// Do what the hub says about a tunnel.
    Tunnel(Kind),
    /// Tell the device how it stands.
    Report(HubReport),
}

/// Phone home of one device.
#[derive(Debug)]
pub struct Machine {
    target: Option<Target>,
    phase: Phase,
    /// The address to try now, and how many failed since the last pause.
    address: usize,
    failed: usize,
    backoff: Backoff,
    chance: Chance,
    reported: Option<HubReport>,
}

#[derive(Debug)]
enum Phase {
    Off,
    /// `failed`: because of a failure, not because the hub said so.
    Waiting {
        until: Instant,
        failed: bool,
    },
    Connecting {
        until: Instant,
    },
    Challenge {
        until: Instant,
    },
    Proving {
        until: Instant,
    },
    Verdict {
        until: Instant,
        asked: bool,
    },
    Admitted(Box<Admitted>),
    Closing {
        until: Instant,
        next: Instant,
    },
}

impl Machine {
    /// Of a device without a hub yet. The seed differs from device to device and from boot to boot.
    pub fn new(seed: u64) -> Self {
        Self {
            target: None,
            phase: Phase::Off,
            address: 0,
            failed: 0,
            backoff: Backoff::default(),
            chance: Chance::new(seed),
            reported: None,
        }
    }

    /// When to come with [`Event::Tick`]; none: something must happen first.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Off => None,
            Phase::Waiting { until, .. }
            | Phase::Connecting { until }
            | Phase::Challenge { until }
            | Phase::Proving { until }
            | Phase::Verdict { until, .. }
            | Phase::Closing { until, .. } => Some(*until),
            Phase::Admitted(admitted) => Some(admitted.deadline()),
        }
    }

    /// Whether the hub has admitted the device in the present connection.
    pub fn is_admitted(&self) -> bool {
        matches!(self.phase, Phase::Admitted(_))
    }

    /// The next step.
    pub fn on_event(&mut self, now: Instant, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Settings(target) => self.settings(now, target, &mut actions),
            Event::Connected => self.connected(now, &mut actions),
            Event::Received(kind) => self.received(now, kind, &mut actions),
            Event::Proved => self.proved(now, &mut actions),
            Event::Judged(outcome) => self.judged(now, outcome, &mut actions),
            Event::StatusChanged => self.with_admitted(|admitted| admitted.changed = true),
            Event::NetworkChanged => self.hurry(now),
            Event::EventsWaiting => self.with_admitted(|admitted| admitted.events_wait = true),
            Event::Lost(reason) => self.lost(now, reason, &mut actions),
            Event::Tick => {}
        }
        self.tick(now, &mut actions);
        actions
    }

    fn with_admitted(&mut self, change: impl FnOnce(&mut Admitted)) {
        if let Phase::Admitted(admitted) = &mut self.phase {
            change(admitted);
        }
    }

    /// Cuts a pause short that follows a failure; one that the hub asked for stays.
    fn hurry(&mut self, now: Instant) {
        if let Phase::Waiting { until, failed: true } = &mut self.phase {
            *until = (*until).min(now + self.chance.part_of(HURRY, 50));
        }
    }

    fn settings(&mut self, now: Instant, target: Option<Target>, actions: &mut Vec<Action>) {
        if self.target == target {
            return;
        }
        self.target = target;
        (self.address, self.failed, self.reported) = (0, 0, None);
        self.backoff.reset();
        match &mut self.phase {
            // What became of the configuration that brought the change is told first.
            Phase::Admitted(admitted) if admitted.is_judging() => admitted.leave = true,
            Phase::Closing { next, .. } => *next = now,
            Phase::Off | Phase::Waiting { .. } => self.begin(now, actions),
            Phase::Connecting { .. }
            | Phase::Challenge { .. }
            | Phase::Proving { .. }
            | Phase::Verdict { .. }
            | Phase::Admitted(_) => {
                actions.push(Action::Disconnect);
                self.begin(now, actions);
            }
        }
    }

    /// Connects to the present address. No connection is open.
    fn begin(&mut self, now: Instant, actions: &mut Vec<Action>) {
        self.phase = match &self.target {
            None => Phase::Off,
            Some(_) => {
                actions.push(Action::Connect(self.address));
                Phase::Connecting { until: now + CONNECT_TIMEOUT }
            }
        };
        if self.target.is_some() && self.reported.is_none() {
            self.report(HubState::Calling, String::new(), actions);
        }
    }

    fn connected(&mut self, now: Instant, actions: &mut Vec<Action>) {
        match self.phase {
            Phase::Connecting { .. } => self.phase = Phase::Challenge { until: now + ANSWER_TIMEOUT },
            // Nobody asked for it; whoever drives this broke the rules, and the connection is not used.
            Phase::Off | Phase::Waiting { .. } => actions.push(Action::Disconnect),
            Phase::Challenge { .. }
            | Phase::Proving { .. }
            | Phase::Verdict { .. }
            | Phase::Admitted(_)
            | Phase::Closing { .. } => {}
        }
    }

    fn proved(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if let Phase::Proving { .. } = self.phase {
            actions.push(Action::SendHello);
            self.phase = Phase::Verdict { until: now + ANSWER_TIMEOUT, asked: false };
        }
    }

    fn received(&mut self, now: Instant, kind: Option<Kind>, actions: &mut Vec<Action>) {
        let result = match (&mut self.phase, kind) {
            (Phase::Challenge { .. }, Some(Kind::Challenge(challenge))) => self.challenged(now, &challenge, actions),
            (Phase::Verdict { asked, .. }, Some(Kind::Ask(ask))) if !*asked && (ask.join_token || ask.inventory) => {
                *asked = true;
                actions.push(Action::SendAnswer { join_token: ask.join_token, inventory: ask.inventory });
                Ok(())
            }
            (Phase::Verdict { .. }, Some(Kind::Verdict(verdict))) => self.judged_by_hub(now, verdict, actions),
            (Phase::Admitted(admitted), Some(kind)) => admitted.received(now, kind, actions),
            // What was on its way when this side finished.
            (Phase::Closing { .. }, _) => Ok(()),
            // No connection: nothing can have come over it.
            (Phase::Off | Phase::Waiting { .. }, _) => Ok(()),
            (Phase::Connecting { .. } | Phase::Challenge { .. } | Phase::Proving { .. } | Phase::Verdict { .. }, _)
            | (Phase::Admitted(_), None) => Err("the hub said something that has no place there"),
        };
        if let Err(reason) = result {
            self.lost(now, reason.to_owned(), actions);
        }
    }

    fn challenged(
        &mut self,
        now: Instant,
        challenge: &api::hub::v1::Challenge,
        actions: &mut Vec<Action>,
    ) -> Result<(), &'static str> {
        if challenge.protocol < api::hub::PROTOCOL {
            return Err("the hub speaks only an older protocol than the device: upgrade the hub");
        }
        let nonce = challenge.nonce.as_slice().try_into().map_err(|_| "the hub's nonce has a wrong length")?;
        actions.push(Action::Prove(nonce));
        self.phase = Phase::Proving { until: now + ANSWER_TIMEOUT };
        Ok(())
    }

    fn judged_by_hub(&mut self, now: Instant, verdict: Verdict, actions: &mut Vec<Action>) -> Result<(), &'static str> {
        match verdict.kind {
            None => return Err("the hub's verdict is empty"),
            Some(verdict::Kind::Admitted(admitted)) => {
                self.failed = 0;
                self.phase = Phase::Admitted(Box::new(Admitted::new(now, admitted.heartbeat_seconds)));
                let name = one_line(&admitted.name);
                self.report(HubState::Admitted, if name.is_empty() { name } else { format!("as {name}") }, actions);
            }
            Some(verdict::Kind::Pending(pending)) => {
                let pause = says::pending_pause(pending.retry_seconds, &mut self.chance);
                self.close(now, pause, actions);
                self.report(HubState::Pending, one_line(&pending.message), actions);
            }
            Some(verdict::Kind::Refused(refused)) => {
                let pause = refused_pause(&refused.code, refused.retry_seconds, &mut self.chance);
                self.close(now, pause, actions);
                let (code, message) = (one_line(&refused.code), one_line(&refused.message));
                self.report(HubState::Refused, format!("{message} ({code})"), actions);
                // A process of the hub that is full says nothing about the others.
                if refused.code == BUSY {
                    self.address = self.next_address();
                }
            }
        }
        Ok(())
    }

    /// The hub has spoken; it is called again after the pause.
    fn close(&mut self, now: Instant, pause: Duration, actions: &mut Vec<Action>) {
        self.failed = 0;
        self.backoff.reset();
        actions.push(Action::Finish);
        self.phase = Phase::Closing { until: now + CLOSE_TIMEOUT, next: now + pause };
    }

    fn judged(&mut self, now: Instant, outcome: ConfigOutcome, actions: &mut Vec<Action>) {
        let Phase::Admitted(admitted) = &mut self.phase else { return };
        if !admitted.judged(outcome, actions) || !admitted.leave {
            return;
        }
        actions.push(Action::Finish);
        self.phase = Phase::Closing { until: now + CLOSE_TIMEOUT, next: now };
    }

    fn lost(&mut self, now: Instant, reason: String, actions: &mut Vec<Action>) {
        match &self.phase {
            Phase::Off | Phase::Waiting { .. } => return,
            Phase::Closing { next, .. } => {
                let next = *next;
                actions.push(Action::Disconnect);
                return self.wait(now, next, false, actions);
            }
            Phase::Admitted(admitted) if now.saturating_duration_since(admitted.since) >= GOOD_SESSION => self.backoff.reset(),
            Phase::Admitted(_)
            | Phase::Connecting { .. }
            | Phase::Challenge { .. }
            | Phase::Proving { .. }
            | Phase::Verdict { .. } => {}
        }
        actions.push(Action::Disconnect);
        self.report(HubState::Unreachable, one_line(&reason), actions);
        let pause = if self.is_admitted() { self.backoff.next(&mut self.chance) } else { self.pause_after_failure() };
        self.wait(now, now + pause, true, actions);
    }

    fn addresses(&self) -> usize {
        self.target.as_ref().map_or(1, |target| target.addresses.len().max(1))
    }

    fn next_address(&self) -> usize {
        (self.address + 1) % self.addresses()
    }

    /// The next address at once; a pause once all of them have failed.
    fn pause_after_failure(&mut self) -> Duration {
        let addresses = self.addresses();
        self.address = self.next_address();
        self.failed += 1;
        if self.failed < addresses {
            return Duration::ZERO;
        }
        self.failed = 0;
        self.backoff.next(&mut self.chance)
    }

    fn wait(&mut self, now: Instant, until: Instant, failed: bool, actions: &mut Vec<Action>) {
        self.phase = if self.target.is_some() { Phase::Waiting { until, failed } } else { Phase::Off };
        if until <= now {
            self.begin(now, actions);
        }
    }

    /// Whatever is due.
    fn tick(&mut self, now: Instant, actions: &mut Vec<Action>) {
        match &mut self.phase {
            Phase::Off => {}
            Phase::Waiting { until, .. } if *until <= now => self.begin(now, actions),
            Phase::Connecting { until } if *until <= now => self.lost(now, "no connection came about in time".into(), actions),
            Phase::Challenge { until } if *until <= now => self.lost(now, "the hub says nothing".into(), actions),
            Phase::Proving { until } if *until <= now => {
                self.lost(now, "the device's proof was not made in time".into(), actions)
            }
            Phase::Verdict { until, .. } if *until <= now => self.lost(now, "the hub comes to no verdict".into(), actions),
            Phase::Closing { until, .. } if *until <= now => self.lost(now, String::new(), actions),
            Phase::Admitted(admitted) => {
                if let Err(reason) = admitted.tick(now, &mut self.chance, actions) {
                    self.lost(now, reason.to_owned(), actions);
                }
            }
            Phase::Waiting { .. }
            | Phase::Connecting { .. }
            | Phase::Challenge { .. }
            | Phase::Proving { .. }
            | Phase::Verdict { .. }
            | Phase::Closing { .. } => {}
        }
    }

    fn report(&mut self, state: HubState, message: String, actions: &mut Vec<Action>) {
        let address = self.target.as_ref().and_then(|target| target.addresses.get(self.address)).map(ToString::to_string);
        let report = HubReport { state, message, address: address.unwrap_or_default() };
        if self.reported.as_ref() != Some(&report) {
            actions.push(Action::Report(report.clone()));
            self.reported = Some(report);
        }
    }
}

#[cfg(test)]
mod tests;
