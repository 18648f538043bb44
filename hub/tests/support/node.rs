//! A device in memory behind the real client: it signs, reports, takes configurations and sends back what comes through tunnels.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use api::hub::proof_statement;
use api::hub::v1::{ConfigOutcome, ResourceUse};
use api::v1::{HardwareResponse, Nic, StatusResponse};
use apid::phone_home::{EventQueue, Feed, HubReport, HubSettings, Node, Tcp};
use ed25519_dalek::{Signer as _, SigningKey};
use machine_config::{Accepted, DeviceFacts, DeviceId, Trust, judge};
use tokio::io::DuplexStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The device.
pub struct TestNode {
    key: SigningKey,
    pin: [u8; 32],
    serial: String,
    trust: Option<Trust>,
    accepted: Mutex<Option<Accepted>>,
    status: watch::Sender<Option<StatusResponse>>,
    events: EventQueue,
    reports: watch::Sender<Vec<HubReport>>,
    settings: watch::Sender<Option<HubSettings>>,
}

/// A device that runs.
pub struct Running {
    pub node: Arc<TestNode>,
    pub reports: watch::Receiver<Vec<HubReport>>,
    task: JoinHandle<()>,
}

/// What a device is made with.
pub struct Made<'a> {
    pub key: SigningKey,
    pub serial: &'a str,
    pub token: &'a str,
    pub trust: Option<Trust>,
}

impl Running {
    /// Starts a device that phones this hub.
    pub fn start(hub: SocketAddr, pin: [u8; 32], made: Made<'_>) -> Self {
        let (reports, seen) = watch::channel(Vec::new());
        let (settings, hub_settings) = watch::channel(Some(settings(hub, &pin, &made)));
        let Made { key, serial, trust, .. } = made;
        let status =
            watch::channel(Some(StatusResponse { phase: "healthy".into(), healthy: true, ..StatusResponse::default() })).0;
        let node = Arc::new(TestNode {
            key,
            pin,
            serial: serial.to_owned(),
            trust,
            accepted: Mutex::default(),
            status,
            events: EventQueue::default(),
            reports,
            settings,
        });
        let task = tokio::spawn(apid::phone_home::run(hub_settings, Arc::clone(&node), Arc::new(Tcp), 1));
        Self { node, reports: seen, task }
    }

    pub fn id(&self) -> DeviceId {
        DeviceId::of(&self.node.key.verifying_key())
    }

    /// How it stands with the hub now, as the device says.
    pub fn state(&self) -> String {
        let reports = self.reports.borrow();
        reports.last().map_or_else(String::new, |report| format!("{:?}: {}", report.state, report.message))
    }

    /// Calls again at once, as a device does whose settings change: here its hub gets another address, or loses it again.
    pub fn call_again(&self) {
        self.node.settings.send_modify(|settings| {
            let addresses = &mut settings.as_mut().expect("it has a hub").target.addresses;
            match addresses.as_slice() {
                [only] => addresses.push(only.clone()),
                _ => addresses.truncate(1),
            }
        });
    }

    /// The generation it has accepted last.
    pub fn generation(&self) -> u64 {
        self.node.accepted.lock().expect("not poisoned").as_ref().map_or(0, |accepted| accepted.generation.into())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn settings(hub: SocketAddr, pin: &[u8; 32], made: &Made<'_>) -> HubSettings {
    HubSettings::from_wire(&api::internal::HubSettings {
        urls: vec![format!("https://{hub}")],
        pin: hex::encode(pin),
        join_token: made.token.to_owned(),
        public_key: made.key.verifying_key().to_bytes().to_vec(),
        fleet: made.trust.as_ref().map(|trust| trust.fleet.to_string()).unwrap_or_default(),
        ..api::internal::HubSettings::default()
    })
    .expect("good settings")
}

impl TestNode {
    fn judged(&self, config: &[u8]) -> ConfigOutcome {
        let Some(trust) = &self.trust else {
            return ConfigOutcome { code: "no-fleet".into(), ..ConfigOutcome::default() };
        };
        let facts = DeviceFacts {
            device_id: DeviceId::of(&self.key.verifying_key()),
            serials: vec![self.serial.clone()],
            macs: Vec::new(),
        };
        let mut accepted = self.accepted.lock().expect("not poisoned");
        match judge(config, trust, &facts, accepted.as_ref()) {
            Ok(config) => {
                let now = Accepted::of(&config);
                let generation = now.generation.into();
                let digest = now.digest.to_string();
                *accepted = Some(now);
                self.settings.send_modify(|settings| {
                    let settings = settings.as_mut().expect("it has a hub");
                    (settings.config_generation, settings.config_digest) = (generation, digest.clone());
                });
                self.status.send_modify(|status| {
                    let status = status.get_or_insert_default();
                    (status.config_generation, status.config_digest) = (generation, digest);
                });
                ConfigOutcome { accepted: true, generation, ..ConfigOutcome::default() }
            }
            Err(refusal) => {
                ConfigOutcome { code: refusal.code().to_owned(), message: refusal.to_string(), ..ConfigOutcome::default() }
            }
        }
    }
}

impl Node for TestNode {
    type Tunnel = DuplexStream;

    async fn prove(&self, nonce: [u8; 32], exporter: [u8; 32]) -> Result<[u8; 64], String> {
        Ok(self.key.sign(&proof_statement(&self.pin, &nonce, &exporter)).to_bytes())
    }

    async fn hardware(&self) -> Result<HardwareResponse, String> {
        let nic = Nic { name: "eth0".into(), mac: "52:54:00:12:34:56".into(), ..Nic::default() };
        Ok(HardwareResponse { serial: self.serial.clone(), nics: vec![nic], ..HardwareResponse::default() })
    }

    async fn offer_config(&self, config: Vec<u8>) -> ConfigOutcome {
        self.judged(&config)
    }

    async fn resources(&self) -> Option<ResourceUse> {
        Some(ResourceUse { load_percent: 7, memory_available_mib: 512, data_available_mib: 1024 })
    }

    fn feed(&self) -> Feed {
        Feed { status: self.status.subscribe(), events: self.events.clone() }
    }

    fn open_tunnel(&self, _: &str) -> Result<DuplexStream, String> {
        let (ours, theirs) = tokio::io::duplex(4096);
        tokio::spawn(async move {
            let (mut read, mut write) = tokio::io::split(theirs);
            tokio::io::copy(&mut read, &mut write).await.ok();
        });
        Ok(ours)
    }

    fn report(&self, report: HubReport) {
        self.reports.send_modify(|reports| reports.push(report));
    }
}
