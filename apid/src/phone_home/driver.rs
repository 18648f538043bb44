//! Carries out what the machine decides: one task per device, which waits on settings, connection, node, tunnels and one deadline.
//!
//! It decides nothing. What waits here is bounded: one message of the hub, two short lanes to it, and what the tunnels' credit allows.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use api::hub::v1::device_message::Kind as Say;
use api::hub::v1::{Answer, ConfigOffer, ConfigOutcome, Events, Heartbeat, Hello, Inventory, Report};
use api::v1::StatusResponse;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{debug, info};

use super::call::{self, Call, CallError, Ended};
use super::connect::{Chain, Dial};
use super::feed::{Feed, steady};
use super::inventory::inventory;
use super::machine::{Action, Event, Machine};
use super::node::Node;
use super::outbox::{Full, Outbox};
use super::settings::HubSettings;
use super::tunnel::Tunnels;

/// Time for the node to prove, judge or tell its resources.
const NODE_TIMEOUT: Duration = Duration::from_secs(45);
/// Time for the node to tell its resources: the heartbeat goes without them then.
const RESOURCES_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of one message with events.
const EVENTS_BYTES: usize = 64 << 10;

/// Phones home for as long as `settings` has a sender. The seed differs from device to device and from boot to boot.
pub async fn run<N: Node, D: Dial>(settings: watch::Receiver<Option<HubSettings>>, node: Arc<N>, dial: Arc<D>, seed: u64) {
    let feed = node.feed();
    let mut driver = Driver {
        machine: Machine::new(seed),
        settings,
        node,
        dial,
        feed,
        link: Link::None,
        jobs: FuturesUnordered::new(),
        hello: None,
        inventory: Inventory::default(),
        told: None,
        addresses: Vec::new(),
    };
    driver.settings.mark_changed();
    while let Some(event) = driver.next().await {
        driver.happened(event);
    }
}

type Job = Pin<Box<dyn Future<Output = Done> + Send>>;
type Opening = Pin<Box<dyn Future<Output = Result<Call, CallError>> + Send>>;

/// What the node has done for the present connection.
enum Done {
    Greeting(Result<(Hello, Inventory), String>),
    Beat(Heartbeat),
    Judged(ConfigOutcome),
}

/// The one connection.
enum Link {
    None,
    Opening(Opening),
    Open(Box<Session>),
}

struct Session {
    call: Call,
    tunnels: Tunnels,
}

struct Driver<N: Node, D> {
    machine: Machine,
    settings: watch::Receiver<Option<HubSettings>>,
    node: Arc<N>,
    dial: Arc<D>,
    feed: Feed,
    link: Link,
    jobs: FuturesUnordered<Job>,
    hello: Option<Hello>,
    inventory: Inventory,
    /// The status last told to the hub in this session.
    told: Option<StatusResponse>,
    /// The device's addresses as last seen.
    addresses: Vec<String>,
}

impl<N: Node, D: Dial> Driver<N, D> {
    /// The next thing that happens; none: the device has no settings any more.
    async fn next(&mut self) -> Option<Event> {
        let deadline = self.machine.deadline();
        let admitted = self.machine.is_admitted();
        tokio::select! {
            changed = self.settings.changed() => {
                changed.ok()?;
                let target = self.settings.borrow_and_update().as_ref().map(|settings| settings.target.clone());
                Some(Event::Settings(target))
            }
            Some(done) = self.jobs.next() => Some(self.done(done)),
            event = self.link.next() => Some(event),
            Ok(()) = self.feed.status.changed() => Some(self.status_changed()),
            () = self.feed.events.news(), if admitted => Some(Event::EventsWaiting),
            () = until(deadline) => Some(Event::Tick),
        }
    }

    fn happened(&mut self, event: Event) {
        let now = Instant::now().into_std();
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            for action in self.machine.on_event(now, event) {
                events.extend(self.act(action));
            }
        }
    }

    fn status_changed(&mut self) -> Event {
        let status = self.feed.status.borrow().as_ref().map(steady);
        let addresses = status.as_ref().map(|status| status.addresses.clone()).unwrap_or_default();
        let moved = self.addresses != addresses;
        self.addresses = addresses;
        match self.machine.is_admitted() {
            true if status != self.told => Event::StatusChanged,
            false if moved => Event::NetworkChanged,
            true | false => Event::Tick,
        }
    }

    fn done(&mut self, done: Done) -> Event {
        match done {
            Done::Greeting(Ok((hello, inventory))) => {
                (self.hello, self.inventory) = (Some(hello), inventory);
                Event::Proved
            }
            Done::Greeting(Err(reason)) => Event::Lost(reason),
            Done::Beat(heartbeat) => self.say(Say::Heartbeat(heartbeat)).unwrap_or(Event::Tick),
            Done::Judged(outcome) => Event::Judged(outcome),
        }
    }

    /// Does one action; what comes of it at once is an event of its own.
    fn act(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Connect(address) => self.connect(address),
            Action::Disconnect => {
                self.link = Link::None;
                self.jobs.clear();
                (self.hello, self.told) = (None, None);
                None
            }
            Action::Finish => {
                self.link.finish();
                None
            }
            Action::Prove(nonce) => self.prove(nonce),
            Action::SendHello => self.hello.take().and_then(|hello| self.say(Say::Hello(hello))),
            Action::SendAnswer { join_token, inventory } => self.answer(join_token, inventory),
            Action::SendHeartbeat { number, report } => {
                self.beat(number, report);
                None
            }
            Action::Judge(offer) => {
                self.judge(offer);
                None
            }
            Action::SendOutcome(outcome) => {
                info!(
                    accepted = outcome.accepted,
                    code = outcome.code,
                    generation = outcome.generation,
                    "configuration of the hub judged"
                );
                self.say(Say::ConfigOutcome(outcome))
            }
            Action::SendEvents => self.tell_events(),
            Action::Tunnel(kind) => self.tunnel(kind),
            Action::Report(report) => {
                info!(state = ?report.state, message = report.message, address = report.address, "hub");
                self.node.report(report);
                None
            }
        }
    }

    fn tell_events(&mut self) -> Option<Event> {
        let events = self.feed.events.take(EVENTS_BYTES);
        if events.is_empty() {
            return None;
        }
        let more = (!self.feed.events.is_empty()).then_some(Event::EventsWaiting);
        self.say(Say::Events(Events { events })).or(more)
    }

    fn connect(&mut self, address: usize) -> Option<Event> {
        let settings = self.settings.borrow();
        let Some(target) = settings.as_ref().map(|settings| settings.target.clone()) else {
            return Some(Event::Lost("the settings are gone".into()));
        };
        let Some(address) = target.addresses.get(address).cloned() else {
            return Some(Event::Lost("the settings have changed".into()));
        };
        debug!(%address, "calling the hub");
        self.link = Link::Opening(Box::pin(call::open(Arc::clone(&self.dial), target, address)));
        None
    }

    fn prove(&mut self, nonce: [u8; 32]) -> Option<Event> {
        let Link::Open(session) = &self.link else { return None };
        let exporter = session.call.exporter;
        let (node, settings) = (Arc::clone(&self.node), self.settings.clone());
        self.job(async move {
            let greeting = async {
                let (inventory, digest) = inventory(node.hardware().await?);
                let proof = node.prove(nonce, exporter).await?;
                let settings = settings.borrow();
                let hello = settings.as_ref().map(|settings| settings.hello(proof, digest));
                Ok((hello.ok_or("the settings are gone")?, inventory))
            };
            let late = || Err("the device's own answer did not come in time".into());
            Done::Greeting(tokio::time::timeout(NODE_TIMEOUT, greeting).await.unwrap_or_else(|_| late()))
        });
        None
    }

    fn answer(&mut self, join_token: bool, inventory: bool) -> Option<Event> {
        let token = |settings: &HubSettings| settings.join_token.as_ref().map(|token| token.expose().to_owned());
        let token = if join_token { self.settings.borrow().as_ref().and_then(token) } else { None };
        let inventory = inventory.then(|| std::mem::take(&mut self.inventory));
        self.say(Say::Answer(Answer { join_token: token.unwrap_or_default(), inventory }))
    }

    fn beat(&mut self, number: u64, report: bool) {
        let status = if report { self.feed.status.borrow_and_update().clone() } else { None };
        let release = self.settings.borrow().as_ref().map(|settings| settings.release.clone());
        let report = status.map(|status| {
            self.told = Some(steady(&status));
            Report { status: Some(status), release }
        });
        let node = Arc::clone(&self.node);
        self.job(async move {
            let used = tokio::time::timeout(RESOURCES_TIMEOUT, node.resources()).await;
            Done::Beat(Heartbeat { number, report, r#use: used.ok().flatten() })
        });
    }

    fn judge(&mut self, offer: ConfigOffer) {
        let node = Arc::clone(&self.node);
        self.job(async move {
            let late = ConfigOutcome {
                code: "unavailable".into(),
                message: "the device did not judge it in time".into(),
                ..ConfigOutcome::default()
            };
            let outcome = tokio::time::timeout(NODE_TIMEOUT, node.offer_config(offer.config)).await.unwrap_or(late);
            Done::Judged(ConfigOutcome { digest: offer.digest, ..outcome })
        });
    }

    fn job(&mut self, job: impl Future<Output = Done> + Send + 'static) {
        self.jobs.push(Box::pin(job));
    }

    fn say(&mut self, kind: Say) -> Option<Event> {
        let Link::Open(session) = &self.link else { return None };
        session.call.outbox.send(kind).err().map(|Full| Event::Lost("the hub reads nothing".into()))
    }

    fn tunnel(&mut self, kind: api::hub::v1::hub_message::Kind) -> Option<Event> {
        let Link::Open(session) = &mut self.link else { return None };
        let handled = session.tunnels.handle(Instant::now().into_std(), kind, &*self.node, &session.call.outbox);
        handled.err().map(|violation| Event::Lost(violation.to_string()))
    }
}

impl Link {
    /// Says no more: what waits is sent, and the call ends on this side.
    fn finish(&mut self) {
        if let Self::Open(session) = self {
            session.tunnels = Tunnels::new(Instant::now().into_std());
            session.call.outbox = Outbox::closed();
        }
    }

    /// What happens with the connection; nothing ever while there is none.
    async fn next(&mut self) -> Event {
        match self {
            Self::None => std::future::pending().await,
            Self::Opening(opening) => match opening.await {
                Ok(call) => {
                    let tunnels = Tunnels::new(Instant::now().into_std());
                    *self = Self::Open(Box::new(Session { call, tunnels }));
                    Event::Connected
                }
                Err(error) => {
                    *self = Self::None;
                    Event::Lost(Chain(&error).to_string())
                }
            },
            Self::Open(session) => session.next().await,
        }
    }
}

impl Session {
    async fn next(&mut self) -> Event {
        loop {
            tokio::select! {
                message = self.call.incoming.message() => return self.heard(message),
                () = self.tunnels.ended() => {}
            }
        }
    }

    fn heard(&self, message: Result<Option<api::hub::v1::HubMessage>, tonic::Status>) -> Event {
        match message {
            Ok(Some(message)) => Event::Received(message.kind),
            Ok(None) => Event::Lost("the hub ended the session".into()),
            Err(status) => {
                let broke = self.call.connection.broke().map(|words| format!("the connection with the hub broke: {words}"));
                Event::Lost(broke.unwrap_or_else(|| format!("the session with the hub ended: {}", Ended(status))))
            }
        }
    }
}

async fn until(deadline: Option<std::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
