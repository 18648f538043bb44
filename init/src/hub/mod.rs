//! init's side of phoning home: which hub counts, the proof of the device's key, what a hub offers, and how it stands.
//!
//! apid speaks to the hub; the key stays here. apid gets one thing signed only: the proof to the hub of the settings in force, whose bytes are
//! built here. What a hub offers is judged like any other configuration, and what it says is shown and never acted on.

mod bound;
mod home;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use api::hub::{EXPORTER_BYTES, NONCE_BYTES, proof_statement};
use ed25519_dalek::Signer;
use tokio::sync::watch;

use crate::node::{ApidSettingsWatch, Applied, ApplyError, ConfigHandle, EventKind, HubStanding, Node};
use crate::state::Identity;
use bound::Bound;
pub use home::{Caller, HomeOfSeed, claim_address, settings};

/// As whom a hub offers configurations: the name of this source.
const SOURCE: &str = "hub";

/// Proofs at once, and one more after each period: more than the shortest back-off over several addresses takes.
const PROOFS: (u32, Duration) = (16, Duration::from_secs(1));
/// Offers likewise. Judging one takes milliseconds and leaves an event.
const OFFERS: (u32, Duration) = (8, Duration::from_secs(10));
/// Events about the hub likewise: a hub that changes its mind all day does not push out what happened on the device.
const EVENTS: (u32, Duration) = (16, Duration::from_secs(120));

/// Why nothing was signed or judged.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum HubError {
    /// No hub, or no key yet.
    #[error("cannot speak for the device to a hub: no hub is configured")]
    NoHub,
    /// Not the bytes that are signed.
    #[error(
        "cannot prove the key over {nonce} bytes of nonce and {exporter} of the channel: there are {NONCE_BYTES} and {EXPORTER_BYTES}"
    )]
    Malformed {
        /// Bytes of the nonce.
        nonce: usize,
        /// Bytes of the exporter.
        exporter: usize,
    },
    /// Too often.
    #[error("cannot do this so often: try again in a minute")]
    Busy,
}

impl HubError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoHub => "no-hub",
            Self::Malformed { .. } => "malformed",
            Self::Busy => "busy",
        }
    }
}

#[derive(Debug)]
struct Bounds {
    proofs: Bound,
    offers: Bound,
    events: Bound,
    /// Proofs since boot.
    proved: u64,
}

/// Speaks for the device to its hub. Clones share their bounds.
#[derive(Debug, Clone)]
pub struct HubDesk {
    node: Node,
    identity: watch::Receiver<Option<Identity>>,
    settings: ApidSettingsWatch,
    config: ConfigHandle,
    bounds: Arc<Mutex<Bounds>>,
}

impl HubDesk {
    /// For the device with this identity, which is none until it is loaded.
    pub fn new(
        node: Node,
        identity: watch::Receiver<Option<Identity>>,
        settings: ApidSettingsWatch,
        config: ConfigHandle,
    ) -> Self {
        let bound = |(burst, period)| Bound::new(burst, period);
        let bounds = Bounds { proofs: bound(PROOFS), offers: bound(OFFERS), events: bound(EVENTS), proved: 0 };
        Self { node, identity, settings, config, bounds: Arc::new(Mutex::new(bounds)) }
    }

    /// The device's signature over the proof to the hub of the settings in force: never to another, and over nothing else.
    ///
    /// # Errors
    /// See [`HubError`].
    pub fn prove(&self, nonce: &[u8], exporter: &[u8], now: Instant) -> Result<[u8; 64], HubError> {
        let malformed = HubError::Malformed { nonce: nonce.len(), exporter: exporter.len() };
        let (Ok(nonce), Ok(exporter)) = (nonce.try_into(), exporter.try_into()) else { return Err(malformed) };
        let pin = self.pin().ok_or(HubError::NoHub)?;
        let identity = self.identity.borrow().clone().ok_or(HubError::NoHub)?;
        if !self.bounds().proofs.allows(now) {
            return Err(HubError::Busy);
        }
        self.tell_proof(&pin);
        Ok(identity.signing_key().sign(&proof_statement(&pin, nonce, exporter)).to_bytes())
    }

    /// Offers what the hub brought.
    ///
    /// # Errors
    /// See [`HubError`]; a refusal of the configuration itself is not one of them.
    pub async fn offer(&self, bytes: Vec<u8>, now: Instant) -> Result<Result<Applied, ApplyError>, HubError> {
        self.pin().ok_or(HubError::NoHub)?;
        if !self.bounds().offers.allows(now) {
            return Err(HubError::Busy);
        }
        Ok(self.config.apply(bytes, false, SOURCE).await)
    }

    /// The generation in force; 0: none.
    pub fn generation(&self) -> u64 {
        self.config.current().map_or(0, |current| current.generation)
    }

    /// Shows how it stands with the hub.
    pub fn report(&self, standing: HubStanding, now: Instant) {
        let mut turned = false;
        self.node.status.update(|status| {
            if standing.replaces(status.hub.as_ref()) {
                turned = status.hub.as_ref().is_none_or(|before| before.state() != standing.state());
                status.hub = Some(standing.clone());
            }
        });
        if turned && self.bounds().events.allows(now) {
            self.node.events.record(EventKind::Hub, "hub", &standing.to_string());
        }
    }

    /// The pin of the settings in force.
    fn pin(&self) -> Option<[u8; 32]> {
        let settings = self.settings.borrow();
        let mut pin = [0; 32];
        hex::decode_to_slice(&settings.as_ref()?.hub.as_ref()?.pin, &mut pin).ok()?;
        Some(pin)
    }

    /// At each doubling: a device that waits for approval proves its key for months.
    fn tell_proof(&self, pin: &[u8; 32]) {
        let mut bounds = self.bounds();
        bounds.proved += 1;
        let count = bounds.proved;
        drop(bounds);
        if count.is_power_of_two() {
            let message =
                format!("the device's key was proved to the hub with the pin {} ({count} times since boot)", hex::encode(pin));
            self.node.events.record(EventKind::Hub, "proof", &message);
        }
    }

    fn bounds(&self) -> MutexGuard<'_, Bounds> {
        // Nothing that could panic happens under it.
        self.bounds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::Signature;

    use super::*;
    use crate::node::{ApidSettings, HubState, config_channel};

    struct Bench {
        desk: HubDesk,
        identity: Identity,
        settings: watch::Sender<Option<ApidSettings>>,
    }

    fn with_pin(pin: &str) -> Option<ApidSettings> {
        let hub = api::internal::HubSettings { pin: pin.repeat(32), ..Default::default() };
        Some(ApidSettings { hub: Some(hub), ..ApidSettings::default() })
    }

    /// A desk for a hub with the pin `abab…` whose configuration task refuses everything.
    fn bench() -> Bench {
        let identity = Identity::generate().expect("random bytes");
        let (settings, settings_watch) = watch::channel(with_pin("ab"));
        let (config, mut inbox, in_force) = config_channel();
        tokio::spawn(async move {
            let _in_force = in_force;
            while let Some(request) = inbox.recv().await {
                assert_eq!((request.peer.as_str(), request.dry_run), (SOURCE, false));
                let refused = machine_config::Refusal::Size { bytes: request.bytes.len() };
                let _ = request.answer.send(Err(refused.into()));
            }
        });
        let known = watch::channel(Some(identity.clone())).1;
        Bench { desk: HubDesk::new(Node::default(), known, settings_watch, config), identity, settings }
    }

    #[tokio::test]
    async fn what_is_signed_is_the_proof_to_the_hub_of_the_settings_and_nothing_else() {
        let Bench { desk, identity, settings } = bench();
        let (nonce, exporter, now) = ([1; 32], [2; 32], Instant::now());
        let signed = |pin: u8| {
            let signature = Signature::from_bytes(&desk.prove(&nonce, &exporter, now).expect("signed"));
            identity
                .signing_key()
                .verifying_key()
                .verify_strict(&proof_statement(&[pin; 32], &nonce, &exporter), &signature)
                .is_ok()
        };
        assert!(signed(0xab) && !signed(0xcd));
        settings.send_replace(with_pin("cd"));
        assert!(signed(0xcd) && !signed(0xab), "the pin is that of the settings now");
        settings.send_replace(Some(ApidSettings::default()));
        assert_eq!(desk.prove(&nonce, &exporter, now), Err(HubError::NoHub));
    }

    #[tokio::test]
    async fn bytes_of_another_length_are_not_signed() {
        let desk = bench().desk;
        for (nonce, exporter) in [(0, 32), (31, 32), (64, 32), (32, 0), (32, 33)] {
            let refused = desk.prove(&vec![0; nonce], &vec![0; exporter], Instant::now());
            assert_eq!(refused, Err(HubError::Malformed { nonce, exporter }));
        }
    }

    #[tokio::test]
    async fn proofs_have_a_bound_and_leave_few_events() {
        let desk = bench().desk;
        let now = Instant::now();
        let signed = (0..1000).filter(|_| desk.prove(&[0; 32], &[0; 32], now).is_ok()).count();
        assert_eq!(signed, PROOFS.0 as usize);
        assert_eq!(desk.prove(&[0; 32], &[0; 32], now), Err(HubError::Busy));
        assert!(desk.prove(&[0; 32], &[0; 32], now + PROOFS.1).is_ok());
        let told: Vec<_> = desk.node.events.tail(0);
        assert_eq!(told.len(), 5, "the 1st, 2nd, 4th, 8th and 16th: {told:?}");
        assert!(told[0].message.contains(&"ab".repeat(32)) && told[0].kind == EventKind::Hub);
    }

    #[tokio::test]
    async fn an_offer_is_judged_as_the_hubs_and_a_flood_of_them_is_not() {
        let Bench { desk, settings, .. } = bench();
        let now = Instant::now();
        let refused = desk.offer(vec![1, 2], now).await.expect("judged").expect_err("refused");
        assert_eq!(refused.code(), "size");
        for _ in 1..OFFERS.0 {
            assert!(desk.offer(vec![], now).await.is_ok());
        }
        assert_eq!(desk.offer(vec![], now).await.expect_err("too many"), HubError::Busy);
        settings.send_replace(None);
        assert_eq!(desk.offer(vec![], now + Duration::from_secs(3600)).await.expect_err("no hub"), HubError::NoHub);
    }

    #[tokio::test]
    async fn a_report_shows_on_the_status_and_a_hub_cannot_flood_the_events() {
        let desk = bench().desk;
        let now = Instant::now();
        desk.report(HubStanding::new(HubState::Pending, "https://h", ""), now);
        desk.report(HubStanding::new(HubState::Calling, "https://h", ""), now);
        assert_eq!(desk.node.status.get().to_wire().hub, "waiting for approval at https://h");
        for n in 0..1000 {
            let state = if n % 2 == 0 { HubState::Refused } else { HubState::Pending };
            desk.report(HubStanding::new(state, "https://h", &n.to_string()), now);
        }
        assert_eq!(desk.node.status.get().to_wire().hub, "waiting for approval at https://h: 999");
        assert_eq!(desk.node.events.tail(0).len(), EVENTS.0 as usize);
    }
}
