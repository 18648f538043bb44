//! The real client of a device against a real hub, from the first call to the reconnection after the hub's restart.

mod support;

use hub::listen::Limits;
use hub::session::{Dismissal, Offer};
use machine_config::{Keyring, PublicKey, Trust, sign};
use support::device::key;
use support::node::{Made, Running};
use support::{TestHub, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const CONFIG: &str = "apiVersion: skerry.dev/v1alpha1
kind: MachineConfig
metadata: {name: a, fleet: acme, generation: 3}
target: {serial: \"FZ1\"}
machine: {hostname: a}
api: {clientCa: \"-----BEGIN CERTIFICATE-----\\nMAA=\\n-----END CERTIFICATE-----\"}
";

fn trust() -> Trust {
    let public = PublicKey::try_from(key(99).verifying_key()).expect("a strong key");
    Trust { fleet: "acme".parse().expect("a name"), keyring: Keyring::new([public]) }
}

fn device(hub: &TestHub) -> Running {
    Running::start(hub.address, hub.pin, Made { key: key(1), serial: "FZ1", token: "", trust: Some(trust()) })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_waits_is_approved_takes_its_configuration_and_comes_back_after_the_hub_restarts() {
    let hub = TestHub::start(Limits::default()).await;
    let device = device(&hub);
    until("it waits for approval", || device.state().starts_with("Pending")).await;

    let config = sign(CONFIG.as_bytes(), &key(99)).expect("signed");
    let digest = machine_config::types::Digest::of(&config).to_string();
    hub.directory.with(|notes| {
        notes.admitted.push(device.id());
        notes.offer = Some(Offer { digest: digest.clone(), config });
    });
    device.call_again();
    until("it is admitted", || device.state().starts_with("Admitted")).await;
    until("it answered to its configuration", || hub.directory.with(|notes| notes.outcomes.len() == 1)).await;
    hub.directory.with(|notes| {
        let outcome = &notes.outcomes[0];
        assert!(outcome.accepted && outcome.digest == digest && outcome.generation == 3, "{outcome:?}");
        notes.offer = None;
    });
    assert_eq!(device.generation(), 3);
    until("it reports", || hub.directory.with(|notes| notes.heartbeats.contains_key(&device.id()))).await;

    let mut tunnel = hub.sessions.open_tunnel(&device.id(), "user:kim").await.expect("a tunnel");
    let (mut reader, mut writer) = tokio::io::split(&mut tunnel);
    let (sent, mut back) = (vec![5; 200 << 10], vec![0; 200 << 10]);
    let (wrote, read) = tokio::join!(writer.write_all(&sent), reader.read_exact(&mut back));
    wrote.expect("sent");
    read.expect("it comes back");
    assert!(back.iter().all(|byte| *byte == 5));

    let hub = hub.restart(Limits::default()).await;
    until("it is connected again", || hub.sessions.has(&device.id())).await;
    assert_eq!(hub.directory.with(|notes| notes.outcomes.len()), 1, "what it has is not offered again");

    hub.directory.with(|notes| notes.admitted.clear());
    let why = Dismissal::Verdict { code: "removed".into(), message: "removed for good".into(), retry_seconds: 3600 };
    hub.sessions.dismiss(&device.id(), why);
    until("its session is over", || !hub.sessions.has(&device.id())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_device_refuses_is_reported_with_its_code() {
    let hub = TestHub::start(Limits::default()).await;
    let forged = sign(CONFIG.as_bytes(), &key(98)).expect("signed");
    let others = sign(CONFIG.replace("FZ1", "FZ2").as_bytes(), &key(99)).expect("signed");
    for (config, code) in [(forged, "key-unknown"), (others, "target")] {
        let digest = machine_config::types::Digest::of(&config).to_string();
        hub.directory.with(|notes| {
            notes.everybody = true;
            notes.outcomes.clear();
            notes.offer = Some(Offer { digest, config });
        });
        let device = device(&hub);
        until("it answered", || hub.directory.with(|notes| !notes.outcomes.is_empty())).await;
        hub.directory.with(|notes| assert_eq!((notes.outcomes[0].accepted, notes.outcomes[0].code.as_str()), (false, code)));
        assert_eq!(device.generation(), 0);
    }
}
