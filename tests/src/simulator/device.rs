//! A device of memory: its key signs, its fleet's key decides what it takes, and it remembers what it took. It never forgets a generation.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use api::hub::proof_statement;
use api::hub::v1::{ConfigOutcome, ResourceUse};
use api::v1::{HardwareResponse, StatusResponse};
use apid::phone_home::{Dial, EventQueue, Feed, HubReport, HubSettings, Node, run};
use ed25519_dalek::{Signer as _, SigningKey};
use machine_config::{Accepted, DeviceFacts, DeviceId, Trust, judge};
use tokio::io::DuplexStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::api::Api;
use super::standing::{Standing, Tally};

/// Bytes that wait between a tunnel and the device's API.
const PIPE: usize = 16 << 10;

/// What a device is made of.
#[derive(Debug, Clone)]
pub struct Make {
    /// Its identity.
    pub key: SigningKey,
    /// Its serial number.
    pub serial: String,
    /// Its join token; may be empty.
    pub token: String,
    /// Whose configurations it obeys; none: nobody's.
    pub trust: Option<Trust>,
    /// The hub's addresses, `https://…`.
    pub hubs: Vec<String>,
    /// The hub's pin.
    pub pin: [u8; 32],
}

/// A device that runs until it is dropped.
#[derive(Debug)]
pub struct SimulatedDevice {
    memory: Arc<Memory>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Memory {
    make: Make,
    accepted: Mutex<Option<Accepted>>,
    status: watch::Sender<Option<StatusResponse>>,
    settings: watch::Sender<Option<HubSettings>>,
    events: EventQueue,
    standing: watch::Sender<Standing>,
    tally: Tally,
    api: OnceLock<Api>,
}

impl SimulatedDevice {
    /// Starts it over this network; its admissions count in the tally.
    ///
    /// # Panics
    /// When what it is made of names no hub: a mistake in the test.
    pub fn start<D: Dial>(make: Make, dial: Arc<D>, tally: Tally) -> Self {
        let (settings, hub) = watch::channel(Some(settings(&make)));
        let status = StatusResponse { phase: "healthy".into(), healthy: true, ..StatusResponse::default() };
        // Where its back-off begins; devices must not begin at the same place.
        let seed = u64::from_le_bytes(*make.key.verifying_key().as_bytes().first_chunk().expect("a key has 32 bytes"));
        let memory = Arc::new(Memory {
            make,
            accepted: Mutex::default(),
            status: watch::channel(Some(status)).0,
            settings,
            events: EventQueue::default(),
            standing: watch::channel(Standing::unknown()).0,
            tally,
            api: OnceLock::new(),
        });
        let task = tokio::spawn(run(hub, Arc::clone(&memory), dial, seed));
        Self { memory, task }
    }

    /// Who it is.
    pub fn id(&self) -> DeviceId {
        DeviceId::of(&self.memory.make.key.verifying_key())
    }

    /// How it stands with its hub.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.memory.standing.subscribe()
    }

    /// The generation it accepted last; 0: none.
    pub fn generation(&self) -> u64 {
        self.memory.accepted().as_ref().map_or(0, |accepted| accepted.generation.get())
    }

    /// Calls that reached its API.
    pub fn calls(&self) -> u64 {
        self.memory.api.get().map_or(0, Api::calls)
    }

    /// Becomes healthy, or not; it tells its hub.
    pub fn set_healthy(&self, healthy: bool) {
        self.memory.status.send_modify(|status| status.get_or_insert_default().healthy = healthy);
    }

    /// Calls again at once, as a device does whose settings change: its hub gets another address, or loses it again.
    pub fn call_again(&self) {
        self.memory.settings.send_modify(|settings| {
            let addresses = &mut settings.as_mut().expect("it was made with a hub").target.addresses;
            match addresses.as_slice() {
                [only] => addresses.push(only.clone()),
                [] | [_, _, ..] => addresses.truncate(1),
            }
        });
    }
}

impl Drop for SimulatedDevice {
    fn drop(&mut self) {
        self.task.abort();
        self.memory.change(Standing::ended);
    }
}

fn settings(make: &Make) -> HubSettings {
    HubSettings::from_wire(&api::internal::HubSettings {
        urls: make.hubs.clone(),
        pin: hex::encode(make.pin),
        join_token: make.token.clone(),
        public_key: make.key.verifying_key().to_bytes().to_vec(),
        fleet: make.trust.as_ref().map(|trust| trust.fleet.to_string()).unwrap_or_default(),
        ..api::internal::HubSettings::default()
    })
    .expect("a simulated device is made with a hub")
}

impl Memory {
    fn accepted(&self) -> MutexGuard<'_, Option<Accepted>> {
        // Nothing that could panic happens under it.
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Standing)) {
        self.standing.send_modify(|standing| {
            let was = standing.is_admitted();
            change(standing);
            self.tally.moved(was, standing.is_admitted());
        });
    }

    fn judged(&self, file: &[u8]) -> ConfigOutcome {
        let Some(trust) = &self.make.trust else {
            return ConfigOutcome {
                code: "no-fleet".into(),
                message: "it belongs to no fleet".into(),
                ..ConfigOutcome::default()
            };
        };
        let device_id = DeviceId::of(&self.make.key.verifying_key());
        let facts = DeviceFacts { device_id, serials: vec![self.make.serial.clone()], macs: Vec::new() };
        let mut accepted = self.accepted();
        let was = accepted.as_ref().map_or(0, |accepted| accepted.generation.get());
        match judge(file, trust, &facts, accepted.as_ref()) {
            Ok(config) => {
                let now = Accepted::of(&config);
                self.tell(&now);
                let generation = now.generation.get();
                *accepted = Some(now);
                ConfigOutcome { accepted: true, generation, ..ConfigOutcome::default() }
            }
            Err(refusal) => ConfigOutcome {
                code: refusal.code().to_owned(),
                message: refusal.to_string(),
                generation: was,
                ..ConfigOutcome::default()
            },
        }
    }

    /// Greeting and status say from now on what was accepted.
    fn tell(&self, accepted: &Accepted) {
        let (generation, digest) = (accepted.generation.get(), accepted.digest.to_string());
        self.settings.send_modify(|settings| {
            if let Some(settings) = settings {
                (settings.config_generation, settings.config_digest) = (generation, digest.clone());
            }
        });
        self.status.send_modify(|status| {
            let status = status.get_or_insert_default();
            (status.config_generation, status.config_digest) = (generation, digest);
        });
    }
}

impl Node for Memory {
    type Tunnel = DuplexStream;

    async fn prove(&self, nonce: [u8; 32], exporter: [u8; 32]) -> Result<[u8; 64], String> {
        Ok(self.make.key.sign(&proof_statement(&self.make.pin, &nonce, &exporter)).to_bytes())
    }

    async fn hardware(&self) -> Result<HardwareResponse, String> {
        Ok(HardwareResponse { product: "simulated".into(), serial: self.make.serial.clone(), ..HardwareResponse::default() })
    }

    async fn offer_config(&self, config: Vec<u8>) -> ConfigOutcome {
        self.judged(&config)
    }

    async fn resources(&self) -> Option<ResourceUse> {
        Some(ResourceUse { load_percent: 7, memory_available_mib: 512, data_available_mib: 4096 })
    }

    fn feed(&self) -> Feed {
        Feed { status: self.status.subscribe(), events: self.events.clone() }
    }

    fn open_tunnel(&self, _: &str) -> Result<DuplexStream, String> {
        let (ours, theirs) = tokio::io::duplex(PIPE);
        let api = self.api.get_or_init(|| Api::of(&self.make.key)).clone();
        tokio::spawn(api.serve(theirs));
        Ok(ours)
    }

    fn report(&self, report: HubReport) {
        self.change(|standing| standing.told(report));
    }
}
