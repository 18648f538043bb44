//! Carries out what a session's machine says, over its connection and the database. It decides nothing.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;

use api::hub::v1::{ConfigOutcome, DeviceMessage, device_message};
use machine_config::DeviceId;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tonic::{Status, Streaming};
use tracing::{debug, info, warn};

use super::directory::{Assigned, Directory, DirectoryFailed, Noted};
use super::event::{Action, Attempt, Decision, Dismissal, End, Event};
use super::machine::Machine;
use super::mailbox::{Mailbox, Wish};
use super::outbox::Outbox;
use super::proof::{Channel, Proven, claimed};
use super::registry::Entry;
use super::service::Hub;
use crate::listen::Visit;
use crate::metrics::{Ended, HowEnded, Outcome, Way, WhatBecame, WhichWay};
use crate::model::Time;
use crate::model::text::bounded;
use crate::tunnel::{OperatorEnd, SessionEnd, pipe};

/// When a device that calls too often is to come again.
const RETRY_SECONDS: u32 = 60;

/// Something to ask of the database. They are done one after the other.
enum Errand {
    Look(Proven, Vec<u8>),
    Decide(Box<Attempt>),
    Began,
    Offer,
    Outcome(ConfigOutcome),
}

type Running = Pin<Box<dyn Future<Output = Option<Event>> + Send>>;

enum Happened {
    Said(Box<Result<Option<DeviceMessage>, Status>>),
    Done(Option<Event>),
    Rung,
    Late,
}

/// How a session ended.
enum Over {
    Left,
    Ended(End),
}

/// One session.
pub(super) struct Driver<D> {
    hub: Arc<Hub<D>>,
    visit: Arc<Visit>,
    mailbox: Arc<Mailbox>,
    outbox: Outbox,
    machine: Machine,
    errands: VecDeque<Errand>,
    /// Who it says it is.
    claimed: Option<DeviceId>,
    device: Option<Proven>,
    entry: Option<Entry>,
    /// Since when it is admitted.
    since: Time,
    tunnels: BTreeMap<u32, SessionEnd>,
    /// Operators that wait for their tunnel's end, by request.
    asked: BTreeMap<u64, oneshot::Sender<Result<OperatorEnd, String>>>,
    requests: u64,
    over: Option<Over>,
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

impl<D: Directory> Driver<D> {
    pub(super) fn new(hub: Arc<Hub<D>>, visit: Arc<Visit>, mailbox: Arc<Mailbox>, outbox: Outbox, channel: Channel) -> Self {
        let (machine, actions) = Machine::begin(now(), channel);
        let mut driver = Self {
            hub,
            visit,
            mailbox,
            outbox,
            machine,
            errands: VecDeque::new(),
            claimed: None,
            device: None,
            entry: None,
            since: Time::now(),
            tunnels: BTreeMap::new(),
            asked: BTreeMap::new(),
            requests: 0,
            over: None,
        };
        driver.carry_out(actions);
        driver
    }

    /// Runs to the session's end.
    pub(super) async fn run(mut self, mut incoming: Streaming<DeviceMessage>) {
        let mut running: Option<Running> = None;
        let over = loop {
            if let Some(over) = self.over.take() {
                break over;
            }
            if running.is_none() {
                running = self.errands.pop_front().map(|errand| self.start(errand));
            }
            match self.wait(&mut incoming, &mut running).await {
                Happened::Said(said) => self.said(*said),
                Happened::Done(event) => {
                    running = None;
                    if let Some(event) = event {
                        self.happen(event);
                    }
                }
                Happened::Rung => self.rung(),
                Happened::Late => self.happen(Event::Tick),
            }
            self.move_tunnels();
        };
        self.finish(over).await;
    }

    async fn wait(&self, incoming: &mut Streaming<DeviceMessage>, running: &mut Option<Running>) -> Happened {
        let deadline = self.machine.deadline().map_or_else(Instant::now, Instant::from_std);
        let done = async {
            match running {
                Some(errand) => errand.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            said = incoming.message() => Happened::Said(Box::new(said)),
            event = done => Happened::Done(event),
            () = self.mailbox.bell().notified() => Happened::Rung,
            () = tokio::time::sleep_until(deadline) => Happened::Late,
        }
    }

    fn said(&mut self, said: Result<Option<DeviceMessage>, Status>) {
        match said {
            Ok(Some(DeviceMessage { kind: Some(kind) })) => {
                if let device_message::Kind::Hello(hello) = &kind
                    && self.claimed.is_none()
                {
                    self.claimed = claimed(hello);
                }
                self.happen(Event::Device(Box::new(kind)));
            }
            Ok(Some(DeviceMessage { kind: None })) => {
                self.over = Some(Over::Ended(End::Broken("it sent a message of a kind that this hub does not know".to_owned())));
            }
            Ok(None) => self.over = Some(Over::Left),
            Err(status) if status.code() == tonic::Code::OutOfRange || status.code() == tonic::Code::ResourceExhausted => {
                self.over = Some(Over::Ended(End::Broken(status.message().to_owned())));
            }
            Err(status) => {
                debug!(%status, "a device's call broke off");
                self.over = Some(Over::Left);
            }
        }
    }

    fn rung(&mut self) {
        if self.outbox.gone() {
            self.over = Some(Over::Left);
        }
        for wish in self.mailbox.take() {
            match wish {
                Wish::LookAgain => self.look_again(),
                Wish::Dismiss(why) => self.happen(Event::Dismiss(why)),
                Wish::Open { who, answer } => {
                    self.requests += 1;
                    self.asked.insert(self.requests, answer);
                    self.happen(Event::Open { request: self.requests, who });
                }
            }
        }
    }

    fn look_again(&mut self) {
        if !self.errands.iter().any(|errand| matches!(errand, Errand::Offer)) {
            self.errands.push_back(Errand::Offer);
        }
    }

    /// Moves what the tunnels have, as far as the device's credit goes.
    fn move_tunnels(&mut self) {
        let ids: Vec<u32> = self.tunnels.keys().copied().collect();
        for id in ids {
            let taken = self.tunnels.get(&id).map_or(0, SessionEnd::taken);
            if taken > 0 {
                self.happen(Event::Taken { id, bytes: taken });
            }
            while let Some(data) = self.next_piece(id) {
                self.count(Way::ToDevice, data.len());
                self.happen(Event::FromOperator { id, data });
            }
            if self.tunnels.get(&id).is_some_and(SessionEnd::left) {
                self.tunnels.remove(&id);
                self.hub.metrics.tunnels.dec();
                self.happen(Event::Left { id, reason: String::new() });
            }
        }
    }

    fn next_piece(&self, id: u32) -> Option<Vec<u8>> {
        let sendable = self.machine.sendable(id);
        let end = self.tunnels.get(&id).filter(|_| sendable > 0)?;
        Some(end.take(sendable)).filter(|data| !data.is_empty())
    }

    fn count(&self, way: Way, bytes: usize) {
        self.hub.metrics.tunnelled.get_or_create(&WhichWay { way }).inc_by(bytes as u64);
    }

    fn happen(&mut self, event: Event) {
        let actions = self.machine.on_event(now(), event);
        self.carry_out(actions);
    }

    fn carry_out(&mut self, actions: Vec<Action>) {
        for action in actions {
            self.act(action);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Send(kind) => {
                if let Err(stuffed) = self.outbox.push(kind) {
                    self.over.get_or_insert(Over::Ended(End::Broken(stuffed.to_string())));
                }
            }
            Action::Look { proven, inventory_digest } => self.look(proven, inventory_digest),
            Action::Decide(attempt) => self.errands.push_back(Errand::Decide(attempt)),
            Action::Admitted(proven) => self.enter(proven),
            Action::Heard(heartbeat) => {
                self.hub.metrics.heartbeats.inc();
                self.with_device(|hub, device, from| hub.directory.heard(device, from, *heartbeat));
            }
            Action::Happened(events) => self.with_device(|hub, device, _| hub.directory.happened(device, events)),
            Action::Outcome(outcome) => self.outcome(outcome),
            Action::Postponed(outcome) => self.postponed(&outcome),
            Action::LookAgain => self.look_again(),
            Action::NoteAgain => self.errands.push_back(Errand::Began),
            Action::Opening { request, id } => self.opening(request, id),
            Action::NotOpened { request, reason } => self.answer(request, Err(reason)),
            Action::Opened { id } => self.with_tunnel(id, SessionEnd::opened),
            Action::ToOperator { id, data } => {
                self.count(Way::ToOperator, data.len());
                self.with_tunnel(id, |end| end.give(&data));
            }
            Action::Closed { id, reason } => {
                if let Some(end) = self.tunnels.remove(&id) {
                    self.hub.metrics.tunnels.dec();
                    end.closed(reason);
                }
            }
            Action::End(end) => {
                self.over.get_or_insert(Over::Ended(end));
            }
        }
    }

    /// A device that proved its key may still call too often.
    fn look(&mut self, proven: Proven, inventory_digest: Vec<u8>) {
        self.device = Some(proven.clone());
        if self.hub.calls.check_key(&proven.id).is_ok() {
            self.errands.push_back(Errand::Look(proven, inventory_digest));
            return;
        }
        let message = "the device calls too often".to_owned();
        self.happen(Event::Decided(Decision::Refused { code: "busy".to_owned(), message, retry_seconds: RETRY_SECONDS }));
    }

    fn enter(&mut self, proven: Proven) {
        let entry = self.hub.sessions.enter(proven.id.clone(), Arc::clone(&self.mailbox));
        info!(device = %proven.id, address = %self.visit.address(), session = entry.number(), "device connected");
        self.entry = Some(entry);
        self.since = Time::now();
        self.hub.metrics.connected.inc();
        // What is assigned is looked up after the entry stands, and with it whether the device is still served: no removal slips between.
        self.errands.extend([Errand::Began, Errand::Offer]);
    }

    fn outcome(&mut self, outcome: ConfigOutcome) {
        let became = if outcome.accepted { Outcome::Accepted } else { Outcome::Refused };
        self.hub.metrics.outcomes.get_or_create(&WhatBecame { outcome: became }).inc();
        self.errands.push_back(Errand::Outcome(outcome));
    }

    fn postponed(&self, outcome: &ConfigOutcome) {
        let code = bounded(&outcome.code, 64);
        self.with_device(
            |_, device, _| debug!(%device, code, "the device cannot judge a configuration now; it is offered again"),
        );
    }

    fn opening(&mut self, request: u64, id: u32) {
        let (operator, session) = pipe(Arc::clone(self.mailbox.bell()));
        self.tunnels.insert(id, session);
        self.hub.metrics.tunnels.inc();
        self.answer(request, Ok(operator));
    }

    fn answer(&mut self, request: u64, answer: Result<OperatorEnd, String>) {
        if let Some(asked) = self.asked.remove(&request) {
            // Who does not wait any more has dropped the end with it, which closes the tunnel.
            asked.send(answer).ok();
        }
    }

    fn with_tunnel(&self, id: u32, act: impl FnOnce(&SessionEnd)) {
        if let Some(end) = self.tunnels.get(&id) {
            act(end);
        }
    }

    fn with_device(&self, act: impl FnOnce(&Hub<D>, &DeviceId, std::net::IpAddr)) {
        if let Some(device) = &self.device {
            act(&self.hub, &device.id, self.visit.address());
        }
    }

    fn start(&self, errand: Errand) -> Running {
        let hub = Arc::clone(&self.hub);
        let visit = Arc::clone(&self.visit);
        let device = self.device.as_ref().map(|proven| proven.id.clone());
        let session = self.entry.as_ref().map_or(0, Entry::number);
        let (since, has) = (self.since, self.machine.offered());
        Box::pin(async move {
            let directory = &hub.directory;
            let from = visit.address();
            match (errand, device) {
                (Errand::Look(proven, digest), _) => Some(looked(directory.wanted(&proven, &digest).await)),
                (Errand::Decide(attempt), _) => Some(decided(directory.decide(*attempt, from).await, &visit)),
                (Errand::Began, Some(device)) => noted(directory.began(&device, from, session, since).await),
                (Errand::Outcome(outcome), Some(device)) => written(directory.outcome(&device, from, outcome).await),
                (Errand::Offer, Some(device)) => assigned(directory.assigned(&device, from, &has).await),
                (Errand::Began | Errand::Outcome(_) | Errand::Offer, None) => None,
            }
        })
    }

    async fn finish(mut self, over: Over) {
        let device = self.device.as_ref().map_or("unknown", |proven| proven.id.as_str());
        let address = self.visit.address();
        let turned_away = turned_away(&over, self.entry.is_some());
        let how = match &over {
            Over::Left => Ended::Left,
            Over::Ended(end) => kind(end),
        };
        match &over {
            Over::Left => debug!(device, %address, "device left"),
            // Strangers can do that as often as they like; it is counted and, within bounds, audited.
            Over::Ended(end) if self.device.is_none() => debug!(%address, %end, "caller turned away"),
            Over::Ended(end @ (End::Told { .. } | End::Dismissed(_))) => info!(device, %address, %end, "session over"),
            Over::Ended(end @ (End::Broken(_) | End::Silent(_) | End::Store)) => warn!(device, %address, %end, "session cut off"),
        }
        if matches!(&over, Over::Ended(End::Told { code }) if code == "proof") {
            self.hub.metrics.wrong_proofs.inc();
        }
        self.hub.metrics.ended.get_or_create(&HowEnded { how }).inc();
        self.hub.metrics.tunnels.dec_by(self.tunnels.len() as i64);
        self.tunnels.clear();
        if let (Some(entry), Some(proven)) = (self.entry.take(), &self.device) {
            self.hub.metrics.connected.dec();
            let session = entry.number();
            drop(entry);
            written(self.hub.directory.ended(&proven.id, session).await);
        }
        // The queue ends here, and with it the call, once the device has taken what it was told.
        drop(self.outbox);
        self.visit.end();
        if let Some(code) = turned_away {
            let claimed = self.device.as_ref().map(|proven| &proven.id).or(self.claimed.as_ref());
            written(self.hub.directory.turned_away(claimed, address, code).await);
        }
    }
}

/// The code for whom the directory has not heard of: no proof, another protocol, or nonsense before it was admitted.
fn turned_away(over: &Over, admitted: bool) -> Option<&'static str> {
    match over {
        Over::Ended(End::Told { code }) => ["proof", "protocol"].into_iter().find(|known| *known == code.as_str()),
        Over::Ended(End::Broken(_)) if !admitted => Some("malformed"),
        Over::Ended(End::Broken(_) | End::Silent(_) | End::Store | End::Dismissed(_)) | Over::Left => None,
    }
}

fn kind(end: &End) -> Ended {
    match end {
        End::Told { code } if code == "pending" => Ended::Pending,
        End::Told { .. } => Ended::Refused,
        End::Broken(_) | End::Silent(_) => Ended::Cut,
        End::Store => Ended::Failed,
        End::Dismissed(_) => Ended::Dismissed,
    }
}

fn looked(wanted: Result<super::Wanted, DirectoryFailed>) -> Event {
    wanted.map_or(Event::StoreFailed, Event::Looked)
}

fn decided(decision: Result<Decision, DirectoryFailed>, visit: &Visit) -> Event {
    match decision {
        Ok(Decision::Admitted { .. }) if !visit.admit() => {
            let message = "the hub has as many devices connected as it takes".to_owned();
            Event::Decided(Decision::Refused { code: "busy".to_owned(), message, retry_seconds: RETRY_SECONDS })
        }
        Ok(decision) => Event::Decided(decision),
        Err(DirectoryFailed) => Event::StoreFailed,
    }
}

fn assigned(assigned: Result<Assigned, DirectoryFailed>) -> Option<Event> {
    match assigned {
        Ok(Assigned::Nothing) => None,
        Err(DirectoryFailed) => Some(Event::StoreFailed),
        Ok(Assigned::Offer(offer)) => Some(Event::Offer(offer)),
        Ok(Assigned::NotServed(why)) => Some(Event::Dismiss(why)),
    }
}

fn noted(noted: Result<Noted, DirectoryFailed>) -> Option<Event> {
    match noted {
        Ok(Noted::Here) => None,
        Ok(Noted::Elsewhere) => Some(Event::Dismiss(Dismissal::Superseded)),
        Err(DirectoryFailed) => Some(Event::StoreFailed),
    }
}

/// The directory has logged its failure; the session goes on, and what was not written is written a little later, or with the next report.
fn written(result: Result<(), DirectoryFailed>) -> Option<Event> {
    result.err().map(|DirectoryFailed| Event::StoreFailed)
}
