//! An operator's day at a real hub, with the real client of a device and a node behind it: from the first call to the removal.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::hub::proof_statement;
use api::hub::v1::{ConfigOutcome, ResourceUse};
use api::v1::{HardwareResponse, StatusResponse};
use apid::phone_home::{EventQueue, Feed, HubReport, HubSettings, Node, Tcp};
use ed25519_dalek::Signer as _;
use hub::cli::serve::{Options, Running, start};
use hub::model::{Actor, By, Time};
use hub::store::NewToken;
use machine_config::{DeviceFacts, FleetTrust, Keyring, Trust, judge};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::fake::{self, Fake, identity};
use crate::run::{Ran, minimal, skerryctl, with_fleet, write};

const SERIAL: &str = "FZ1";

/// A device whose API is the fake node's.
struct Device {
    node: Fake,
    pin: [u8; 32],
    trust: Trust,
    status: watch::Sender<Option<StatusResponse>>,
}

impl Device {
    fn new(node: Fake, pin: [u8; 32], fleet: &FleetTrust) -> Arc<Self> {
        let trust = Trust { fleet: fleet.name.clone(), keyring: Keyring::new(fleet.keys.iter().copied()) };
        let status = StatusResponse { phase: "healthy".into(), healthy: true, fleet: "acme".into(), ..StatusResponse::default() };
        Arc::new(Self { node, pin, trust, status: watch::channel(Some(status)).0 })
    }

    fn settings(&self, hub: &Running, token: &str) -> HubSettings {
        HubSettings::from_wire(&api::internal::HubSettings {
            urls: vec![format!("https://{}", hub.address)],
            pin: hub.pin(),
            join_token: token.to_owned(),
            public_key: identity().verifying_key().to_bytes().to_vec(),
            fleet: "acme".to_owned(),
            ..api::internal::HubSettings::default()
        })
        .expect("good settings")
    }
}

impl Node for Device {
    type Tunnel = TcpStream;

    async fn prove(&self, nonce: [u8; 32], exporter: [u8; 32]) -> Result<[u8; 64], String> {
        Ok(identity().sign(&proof_statement(&self.pin, &nonce, &exporter)).to_bytes())
    }

    async fn hardware(&self) -> Result<HardwareResponse, String> {
        Ok(HardwareResponse { serial: SERIAL.into(), ..HardwareResponse::default() })
    }

    async fn offer_config(&self, config: Vec<u8>) -> ConfigOutcome {
        let facts = DeviceFacts { device_id: self.node.id.clone(), serials: vec![SERIAL.into()], macs: vec![] };
        match judge(&config, &self.trust, &facts, None) {
            Ok(config) => {
                let generation = config.content().metadata.generation.get();
                ConfigOutcome { accepted: true, generation, ..ConfigOutcome::default() }
            }
            Err(refusal) => {
                ConfigOutcome { code: refusal.code().to_owned(), message: refusal.to_string(), ..ConfigOutcome::default() }
            }
        }
    }

    async fn resources(&self) -> Option<ResourceUse> {
        None
    }

    fn feed(&self) -> Feed {
        Feed { status: self.status.subscribe(), events: EventQueue::default() }
    }

    fn open_tunnel(&self, _: &str) -> Result<TcpStream, String> {
        let stream = std::net::TcpStream::connect(self.node.address).map_err(|error| error.to_string())?;
        stream.set_nonblocking(true).map_err(|error| error.to_string())?;
        TcpStream::from_std(stream).map_err(|error| error.to_string())
    }

    fn report(&self, _: HubReport) {}
}

/// The desk: an operator's folder with a fleet in it.
struct Desk<'a>(&'a Path);

impl Desk<'_> {
    fn run(&self, arguments: &[&str]) -> Ran {
        skerryctl(self.0, &[&["--context", "acme", "--timeout", "30"], arguments].concat())
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.run(&[arguments, &["-o", "json"]].concat()).ok()).expect("JSON")
    }

    /// Asks again until the answer is as it must be, for half a minute at most.
    fn until(&self, arguments: &[&str], holds: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let answer = self.json(arguments);
            if holds(&answer) {
                return answer;
            }
            assert!(Instant::now() < end, "{arguments:?} never came to it: {answer}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Makes join tokens that nobody uses.
fn spare_tokens(runtime: &Runtime, hub: &Running, count: u32) {
    let by = By::new(Actor::Host, "", Time::now());
    let mut all = tokio::task::JoinSet::new();
    for number in 0..count {
        let (store, by) = (hub.services.store.clone(), by.clone());
        let new = NewToken { name: format!("spare-{number}"), ..NewToken::default() };
        all.spawn_on(async move { store.create_token(new, &by).await.map(|_| ()) }, runtime.handle());
    }
    let made = runtime.block_on(all.join_all());
    assert!(made.iter().all(Result::is_ok));
}

#[test]
fn an_operators_day_at_a_real_hub() {
    let dir = with_fleet();
    let desk = Desk(dir.path());
    let fleet = ctl::fleet::Fleet::open(&dir.path().join("acme")).unwrap();
    let runtime: Runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let data = tempfile::tempdir().unwrap();
    let hub = runtime.block_on(start(Options::new(data.path(), "127.0.0.1:0".parse().unwrap()))).unwrap();

    // In, with the token that the hub's first start printed.
    let url = format!("https://{}", hub.address);
    write(dir.path(), "token", hub.admin_token.as_deref().unwrap());
    desk.run(&["hub", "login", &url, "--pin", &"ab".repeat(32), "--token-file", "token"]).fails(7, &[&hub.pin()]);
    desk.run(&["hub", "login", &url, "--pin", &hub.pin(), "--token-file", "token"]).ok();
    assert_eq!(desk.json(&["hub", "whoami"])["role"], "admin");
    desk.run(&["hub", "fleet", "add", "acme"]).ok();
    assert_eq!(desk.json(&["hub", "fleet", "list"])["items"][0]["name"], "acme");

    write(dir.path(), "serials", "FZ7\nFZ8\n");
    desk.run(&["hub", "rule", "add", "batch", "--serials", "serials", "--group", "north"]).ok();
    desk.run(&["hub", "rule", "add", "stamped", "--expected", "--without-token"]).ok();
    let rules = desk.run(&["hub", "rule", "list"]).ok();
    assert!(rules.contains("2 serial numbers") && rules.contains("expected devices, without a token"), "{rules}");
    desk.run(&["hub", "rule", "delete", "stamped"]).ok();

    // People and programs.
    desk.run(&["hub", "user", "role", "kim@id", "installer"]).ok();
    desk.run(&["hub", "user", "lock", "kim@id"]).ok();
    desk.run(&["hub", "user", "sites", "kim@id", "Hamburg"]).ok();
    let people = desk.json(&["hub", "user", "list"]);
    assert_eq!((&people["items"][0]["role"], &people["items"][0]["locked"]), (&"installer".into(), &true.into()));
    let made = desk.json(&["hub", "api-token", "create", "van-3", "--role", "installer", "--site", "*", "--days", "1"]);
    let van = made["token"]["id"].as_str().unwrap().to_owned();
    desk.run(&["hub", "api-token", "revoke", &van]).ok();
    assert!(desk.run(&["hub", "api-token", "list"]).ok().contains("revoked"));
    spare_tokens(&runtime, &hub, 501);
    assert_eq!(desk.json(&["hub", "token", "list"])["items"].as_array().unwrap().len(), 501, "more than the hub tells at once");

    // A device calls, waits, and is admitted.
    let token =
        desk.json(&["hub", "token", "create", "--serial", SERIAL, "--label", "shop=0421", "--group", "north", "--days", "1"]);
    let node = Fake::start(fake::Setup {
        client_ca: Some(fleet.client_ca().unwrap()),
        certificate_required: true,
        ..fake::Setup::default()
    });
    let id = node.id.to_string();
    let device = Device::new(node, hub.services.pin, fleet.trust());
    let settings = watch::channel(Some(device.settings(&hub, token["text"].as_str().unwrap()))).0;
    let call = || runtime.spawn(apid::phone_home::run(settings.subscribe(), Arc::clone(&device), Arc::new(Tcp), 1));
    let first = call();
    desk.until(&["hub", "devices", "--state", "pending"], |devices| devices["items"][0]["id"] == id.as_str());
    desk.run(&["--via", "hub", "--device", &id, "status"]).fails(8, &["not connected"]);
    desk.run(&["hub", "approve", SERIAL]).ok();
    first.abort();
    let second = call();
    desk.until(&["hub", "devices", "--state", "admitted", "--label", "shop=0421"], |devices| devices["total"] == 1);

    desk.run(&["hub", "edit", SERIAL]).fails(2, &["nothing is to be changed"]);
    desk.run(&["hub", "edit", SERIAL, "--name", "shop-1", "--site", "Hamburg"]).ok();
    assert_eq!(desk.json(&["hub", "devices", "--search", "shop-1"])["items"][0]["site"], "Hamburg");

    // It takes the configuration that is pushed to its group.
    write(dir.path(), "node.yaml", &minimal(1).replace("any: true", &format!("serial: {SERIAL}")));
    let push = ["hub", "config", "push", "node.yaml", "--group", "north"];
    desk.run(&push).fails(4, &["refuses the configuration"]);
    desk.run(&["config", "sign", "node.yaml", "--fleet", "acme"]).ok();
    desk.run(&push).ok();
    let taken = |answer: &Value| answer["deliveries"]["items"][0]["state"] == "taken";
    desk.until(&["hub", "rollout", "status", "node.yaml"], taken);
    assert!(desk.run(&["hub", "rollout", "status", "node-1"]).ok().contains("group:north"));

    // Its logs are read through the hub, with the operator's own certificate.
    let shown = desk.run(&["--via", "hub", "--device", "shop-1", "logs", "containerd", "-f"]).ok();
    let here = desk.run(&["--node", &device.node.node(), "--device", &id, "logs", "containerd", "-f"]).ok();
    assert_eq!(shown, here);
    desk.run(&["hub", "images"]).fails(6, &["refuses"]);

    // Nobody takes its place who is not there.
    let stranger = "b".repeat(64);
    let replace = ["hub", "replace", "shop-1", &stranger, "--draft", "shop-2.yaml", "--yes"];
    desk.run(&replace).fails(6, &["refuses"]);
    assert!(!dir.path().join("shop-2.yaml").exists());

    // It is removed, at once and for good, and all of it stands in the audit.
    desk.run(&["hub", "remove", SERIAL, "--yes", "--reason", "stolen"]).ok();
    desk.run(&["--via", "hub", "--device", &id, "status"]).fails(8, &["not connected"]);
    second.abort();
    let audit = desk.json(&["hub", "audit", "--device", &id]);
    let actions: Vec<_> = audit["items"].as_array().unwrap().iter().filter_map(|line| line["action"].as_str()).collect();
    for action in ["device.approve", "tunnel.open", "tunnel.close", "device.remove"] {
        assert!(actions.contains(&action), "{action}: {actions:?}");
    }
    desk.run(&["hub", "logout"]).ok();
    runtime.block_on(hub.stop());
}
