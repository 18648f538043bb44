//! A device made of memory, and networks made of pipes: each call to an address is answered as the test says.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::hub::v1::{ConfigOutcome, Release, ResourceUse};
use api::internal::HubState;
use api::v1::{HardwareResponse, StatusResponse};
use apid::phone_home::{Address, Dial, EventQueue, Feed, HubReport, HubSettings, Io, Node, Target, run};
use ed25519_dalek::Signer;
use machine_config::SigningKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::hub::Hub;

/// Time in which a report must come.
const PATIENCE: Duration = Duration::from_secs(7200);

/// The key of every device here.
pub(crate) fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

/// A dial in the network: what is there at an address now, if anything.
pub(crate) type Answer = Arc<dyn Fn() -> Box<dyn Io> + Send + Sync>;

/// Addresses and what answers there, which a test may change at any time.
#[derive(Clone, Default)]
pub(crate) struct Network {
    answers: Arc<Mutex<BTreeMap<String, Answer>>>,
    pub(crate) dials: Arc<AtomicU64>,
}

impl Network {
    pub(crate) fn set(&self, host: &str, answer: impl Fn() -> Box<dyn Io> + Send + Sync + 'static) {
        self.answers.lock().expect("no panic under it").insert(host.to_owned(), Arc::new(answer));
    }

    pub(crate) fn cut(&self, host: &str) {
        self.answers.lock().expect("no panic under it").remove(host);
    }

    /// The hub answers at this host.
    pub(crate) fn set_hub(&self, host: &str, hub: &Hub) {
        let hub = hub.clone();
        self.set(host, move || {
            let (device, hubs) = tokio::io::duplex(64 << 10);
            tokio::spawn(hub.clone().serve(hubs));
            Box::new(device)
        });
    }

    pub(crate) fn dials(&self) -> u64 {
        self.dials.load(Ordering::Relaxed)
    }
}

impl Dial for Network {
    async fn dial(&self, address: &Address) -> Result<Box<dyn Io>, apid::phone_home::connect::DialError> {
        self.dials.fetch_add(1, Ordering::Relaxed);
        let answer = self.answers.lock().expect("no panic under it").get(&address.host).cloned();
        answer.map(|answer| answer()).ok_or(apid::phone_home::connect::DialError::NoAddress)
    }
}

/// The device under test and all that it was asked.
pub(crate) struct Device {
    pub(crate) settings: watch::Sender<Option<HubSettings>>,
    pub(crate) status: watch::Sender<Option<StatusResponse>>,
    pub(crate) events: EventQueue,
    pub(crate) memory: Arc<Memory>,
    pub(crate) network: Network,
    reports: watch::Receiver<Option<HubReport>>,
    task: JoinHandle<()>,
}

/// What the device is made of.
pub(crate) struct Memory {
    pin: [u8; 32],
    feed: Feed,
    reports: watch::Sender<Option<HubReport>>,
    pub(crate) offered: Mutex<Vec<Vec<u8>>>,
    pub(crate) proofs: AtomicU64,
    pub(crate) tunnels: AtomicU64,
}

impl Node for Memory {
    type Tunnel = DuplexStream;

    async fn prove(&self, nonce: [u8; 32], exporter: [u8; 32]) -> Result<[u8; 64], String> {
        self.proofs.fetch_add(1, Ordering::Relaxed);
        Ok(key().sign(&api::hub::proof_statement(&self.pin, &nonce, &exporter)).to_bytes())
    }

    async fn hardware(&self) -> Result<HardwareResponse, String> {
        Ok(HardwareResponse { serial: "FZ1234567".into(), ..HardwareResponse::default() })
    }

    async fn offer_config(&self, config: Vec<u8>) -> ConfigOutcome {
        self.offered.lock().expect("no panic under it").push(config.clone());
        match config.strip_prefix(b"good ") {
            Some(_) => ConfigOutcome { accepted: true, generation: 7, ..ConfigOutcome::default() },
            None => ConfigOutcome { code: "signature".into(), message: "forged".into(), ..ConfigOutcome::default() },
        }
    }

    async fn resources(&self) -> Option<ResourceUse> {
        Some(ResourceUse { load_percent: 12, memory_available_mib: 3000, data_available_mib: 20_000 })
    }

    fn feed(&self) -> Feed {
        self.feed.clone()
    }

    fn open_tunnel(&self, who: &str) -> Result<DuplexStream, String> {
        self.tunnels.fetch_add(1, Ordering::Relaxed);
        let (ours, mut theirs) = tokio::io::duplex(4 << 10);
        let flood = who == "flood";
        tokio::spawn(async move {
            let mut bytes = vec![0; 4 << 10];
            loop {
                if flood && theirs.write_all(&bytes).await.is_err() {
                    return;
                }
                let Ok(length @ 1..) = (if flood { Ok(1) } else { theirs.read(&mut bytes).await }) else { return };
                if !flood && theirs.write_all(&bytes[..length]).await.is_err() {
                    return;
                }
            }
        });
        if who == "nobody" { Err("no place is free".into()) } else { Ok(ours) }
    }

    fn report(&self, report: HubReport) {
        self.reports.send_replace(Some(report));
    }
}

/// Settings that name these hosts and this key.
pub(crate) fn settings(hosts: &[&str], pin: [u8; 32]) -> HubSettings {
    let addresses = hosts.iter().map(|host| Address { host: (*host).to_owned(), port: 443 }).collect();
    let pin = hex::encode(pin).parse().expect("a pin");
    HubSettings {
        target: Target { addresses, pin, proxy: None, public_key: key().verifying_key().to_bytes() },
        join_token: Some("skj_secret".to_owned().into()),
        device_name: "store-0421".into(),
        fleet: "acme".into(),
        release: Release { version: "0.1.0".into(), ..Release::default() },
        config_generation: 0,
        config_digest: String::new(),
    }
}

impl Device {
    /// Starts with these settings; `pin` is the one that proofs are made for.
    pub(crate) fn start(network: Network, settings: Option<HubSettings>, pin: [u8; 32]) -> Self {
        Self::start_over(Arc::new(network.clone()), network, settings, pin)
    }

    /// The same over any network.
    pub(crate) fn start_over<D: Dial>(dial: Arc<D>, network: Network, settings: Option<HubSettings>, pin: [u8; 32]) -> Self {
        let (settings, seen) = watch::channel(settings);
        let (status, status_seen) = watch::channel(Some(StatusResponse { phase: "healthy".into(), ..StatusResponse::default() }));
        let (reports_sender, reports) = watch::channel(None);
        let events = EventQueue::default();
        let memory = Arc::new(Memory {
            pin,
            feed: Feed { status: status_seen, events: events.clone() },
            reports: reports_sender,
            offered: Mutex::default(),
            proofs: AtomicU64::default(),
            tunnels: AtomicU64::default(),
        });
        let task = tokio::spawn(run(seen, Arc::clone(&memory), dial, 1));
        Self { settings, status, events, memory, network, reports, task }
    }

    /// A hub at `hub.example` and a device that knows it.
    pub(crate) fn with_hub() -> (Self, Hub, super::hub::Guests) {
        let (hub, guests) = Hub::new();
        let network = Network::default();
        network.set_hub("hub.example", &hub);
        (Self::start(network, Some(settings(&["hub.example"], hub.pin)), hub.pin), hub, guests)
    }

    /// Waits until the device says this of its hub; the line for a person.
    pub(crate) async fn reports(&self, state: HubState) -> String {
        let mut reports = self.reports.clone();
        let is = |report: &Option<HubReport>| report.as_ref().is_some_and(|report| report.state == state);
        let report = tokio::time::timeout(PATIENCE, reports.wait_for(is)).await.expect("it reports in time").expect("it lives");
        report.as_ref().map(|report| report.message.clone()).unwrap_or_default()
    }

    pub(crate) fn offered(&self) -> usize {
        self.memory.offered.lock().expect("no panic under it").len()
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.task.abort();
    }
}
