//! The directory in the database: what sessions ask the store, in the store's words.
//!
//! Reports are gathered and written each second; everything else is on the disk before the session goes on.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use api::hub::v1::{ConfigOutcome, Heartbeat, Inventory};
use machine_config::types::Secret;
use machine_config::{DeviceId, Digest};
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use tokio::sync::{Semaphore, watch};
use tracing::{error, warn};

use super::directory::{Assigned, Directory, DirectoryFailed, Noted};
use super::event::{Attempt, Decision, Dismissal, Offer, Wanted};
use super::proof::Proven;
use super::reports::{Batch, Happened, Reports};
use crate::enrol::{self, Claims, Verdict, refusal_of};
use crate::metrics::Metrics;
use crate::model::{Actor, By, DeliveryState, Device, DeviceEvent, Stream, Time};
use crate::store::{Beat, Store, StoreError, StreamPlace};

/// How often reports are written.
const FLUSH: Duration = Duration::from_secs(1);
/// Reports of one write; other writes come between.
const PIECE: usize = 512;
/// Sessions that look for a configuration at once.
const LOOKS: usize = 2;
/// When a device whose entry is gone is to come again: it will be told then what became of it.
const RETRY_SECONDS: u32 = 30;

/// The directory.
#[derive(Debug, Clone)]
pub struct Stored {
    store: Store,
    replica: String,
    reports: Reports,
    metrics: Metrics,
    /// Sessions that look for a configuration take a connection to the database each: devices that call need some too.
    looks: Arc<Semaphore>,
}

/// A failure is logged here, where it is known; the session only learns that there was one.
fn failed(doing: &'static str) -> impl FnOnce(StoreError) -> DirectoryFailed {
    move |error| {
        error!(doing, error = &error as &dyn std::error::Error, "the database failed");
        DirectoryFailed
    }
}

impl Stored {
    /// Of this store, for the process with this id.
    pub fn new(store: Store, replica: String, metrics: Metrics) -> Self {
        Self { store: store.for_devices(), replica, reports: Reports::default(), metrics, looks: Arc::new(Semaphore::new(LOOKS)) }
    }

    /// Writes reports each second until it is told to stop, and then what is left.
    pub async fn write_reports(self, mut stop: watch::Receiver<bool>) {
        let mut tick = tokio::time::interval(FLUSH);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let stopped = tokio::select! {
                _ = tick.tick() => false,
                _ = stop.wait_for(|stop| *stop) => true,
            };
            self.flush().await;
            if stopped {
                return;
            }
        }
    }

    async fn flush(&self) {
        let Batch { heard, happened } = self.reports.take();
        let mut heard: Vec<_> = heard.into_iter().collect();
        while !heard.is_empty() {
            let piece = heard.split_off(heard.len().saturating_sub(PIECE));
            let beats = piece.iter().map(|(_, beat)| beat.clone()).collect();
            if let Err(error) = self.store.record_heartbeats(beats).await {
                warn!(
                    error = &error as &dyn std::error::Error,
                    reports = heard.len() + piece.len(),
                    "cannot write reports; trying again"
                );
                self.reports.put_back(piece.into_iter().chain(heard).collect());
                break;
            }
        }
        let written = happened.into_iter().map(|Happened { device, events }| async move {
            let count = events.len();
            self.store.record_events(&device, events).await.map_err(|error| (count, error))
        });
        for (events, error) in futures_util::future::join_all(written).await.into_iter().filter_map(Result::err) {
            warn!(error = &error as &dyn std::error::Error, events, "cannot write events; they are lost");
            self.metrics.reports_lost.inc_by(events as u64);
        }
    }

    fn by(device: &DeviceId, from: IpAddr) -> By {
        By::new(Actor::Device(device.clone()), from.to_string(), Time::now())
    }

    fn session(&self, session: u64) -> String {
        format!("{}:{session}", self.replica)
    }

    async fn next_offer(&self, device: &DeviceId, from: IpAddr, has: &[String]) -> Result<Option<Offer>, StoreError> {
        let by = Self::by(device, from);
        let offer = {
            let _place = self.looks.acquire().await.expect("it is never closed");
            self.store.to_deliver(device, by.at).await?
        };
        let Some(offer) = offer.filter(|offer| !has.iter().any(|digest| digest == offer.config.digest.as_str())) else {
            return Ok(None);
        };
        self.store.record_delivery(device, &offer.config.digest, DeliveryState::Offered, &by).await?;
        Ok(Some(Offer { digest: offer.config.digest.to_string(), config: offer.bytes }))
    }
}

/// Why a device is not served any more; none: it is.
fn not_served(device: Option<&Device>) -> Option<Dismissal> {
    let Some(device) = device else {
        let message = "the hub does not know this device any more".to_owned();
        return Some(Dismissal::Verdict { code: "refused".to_owned(), message, retry_seconds: RETRY_SECONDS });
    };
    match refusal_of(device.state, &device.reason)? {
        Verdict::Refused { code, message, retry_seconds } => {
            Some(Dismissal::Verdict { code: code.to_owned(), message, retry_seconds })
        }
        Verdict::Pending { .. } | Verdict::Admitted { .. } => None,
    }
}

/// What a device came with, cut to what is kept.
fn claims(attempt: Attempt, address: IpAddr) -> Claims {
    let Attempt { proven, hello, answer } = attempt;
    let answer = answer.unwrap_or_default();
    let with_digest = |inventory: Inventory| {
        let digest = Sha256::digest(inventory.encode_to_vec()).into();
        (inventory.hardware.unwrap_or_default(), digest)
    };
    let attempt = enrol::Attempt {
        key: proven.key,
        name: hello.device_name,
        fleet: hello.fleet,
        release: hello.release.unwrap_or_default(),
        config_generation: hello.config_generation,
        config_digest: hello.config_digest,
        token: Some(answer.join_token).filter(|token| !token.is_empty()).map(Secret::from),
        inventory: answer.inventory.map(with_digest),
        address,
    };
    Claims::from(&attempt)
}

impl From<Verdict> for Decision {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Pending { message, retry_seconds } => Self::Pending { message, retry_seconds },
            Verdict::Refused { code, message, retry_seconds } => Self::Refused { code: code.to_owned(), message, retry_seconds },
            Verdict::Admitted { heartbeat_seconds: _, name } => Self::Admitted { name },
        }
    }
}

impl Directory for Stored {
    async fn wanted(&self, proven: &Proven, inventory_digest: &[u8]) -> Result<Wanted, DirectoryFailed> {
        let greeting = self.store.greet(&proven.id, inventory_digest).await.map_err(failed("greet a device"))?;
        Ok(Wanted { join_token: greeting.ask_token, inventory: greeting.ask_inventory })
    }

    async fn decide(&self, attempt: Attempt, from: IpAddr) -> Result<Decision, DirectoryFailed> {
        // The message itself ends here: many may wait for their turn to write.
        let claims = claims(attempt, from);
        let enrolled = self.store.enrol_claims(claims, Time::now()).await.map_err(failed("decide about a device"))?;
        Ok(enrolled.verdict.into())
    }

    async fn turned_away(&self, claimed: Option<&DeviceId>, from: IpAddr, code: &'static str) -> Result<(), DirectoryFailed> {
        let written = self.store.record_refusal(claimed, code, &from.to_string(), Time::now()).await;
        written.map_err(failed("note a refusal"))
    }

    async fn began(&self, device: &DeviceId, from: IpAddr, session: u64, since: Time) -> Result<Noted, DirectoryFailed> {
        let by = Self::by(device, from);
        let (device, session) = (device.clone(), self.session(session));
        let stream = Stream { device, replica: self.replica.clone(), session, since };
        match self.store.stream_open(stream, &by).await.map_err(failed("note a session"))? {
            StreamPlace::Here => Ok(Noted::Here),
            StreamPlace::Elsewhere(_) => Ok(Noted::Elsewhere),
        }
    }

    async fn ended(&self, device: &DeviceId, session: u64) -> Result<(), DirectoryFailed> {
        self.store.stream_close(device, &self.session(session)).await.map_err(failed("note the end of a session"))
    }

    async fn assigned(&self, device: &DeviceId, from: IpAddr, has: &[String]) -> Result<Assigned, DirectoryFailed> {
        let known = self.store.device(device).await.map_err(failed("look for a device"))?;
        if let Some(why) = not_served(known.as_ref()) {
            return Ok(Assigned::NotServed(why));
        }
        let offer = self.next_offer(device, from, has).await.map_err(failed("look what is assigned to a device"))?;
        Ok(offer.map_or(Assigned::Nothing, Assigned::Offer))
    }

    async fn outcome(&self, device: &DeviceId, from: IpAddr, outcome: ConfigOutcome) -> Result<(), DirectoryFailed> {
        // The machine lets only those through that were offered, so it is a digest.
        let Ok(digest) = outcome.digest.parse::<Digest>() else { return Ok(()) };
        let state = match outcome.accepted {
            true => DeliveryState::Taken,
            false => DeliveryState::Refused { code: outcome.code, message: outcome.message },
        };
        let written = self.store.record_delivery(device, &digest, state, &Self::by(device, from)).await;
        written.map_err(failed("note what became of a configuration"))
    }

    fn heard(&self, device: &DeviceId, from: IpAddr, heartbeat: Heartbeat) {
        self.reports.heard(Beat::of(device.clone(), &heartbeat, from, Time::now()));
    }

    fn happened(&self, device: &DeviceId, events: Vec<api::v1::Event>) {
        let (at, count) = (Time::now(), events.len() as u64);
        let events = events.iter().map(|event| DeviceEvent::of(event, at)).collect();
        if !self.reports.happened(Happened { device: device.clone(), events }) {
            self.metrics.reports_lost.inc_by(count);
        }
    }
}
