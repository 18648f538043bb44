//! Devices and strangers against the whole hub, database and all, while good devices work with the real client.
//!
//! 1. a stolen join token, shown by 40 devices at the same moment: 1 joins, 39 are told so
//! 2. 10,000 connections from one address: 30 good devices enrol meanwhile, and none of the connected ones loses its session
//! 3. the program killed eight times without a word while devices enrol: each that was told it is admitted is so afterwards, and the audit is whole
//!
//! Proofs, inventories and floods of one device stand in `hub/tests/hostile_devices.rs`.

use std::sync::Arc;
use std::time::Duration;

use hub::cli::serve::{Options, Running, start};
use skerry_tests::simulator::{
    HubProgram, Loopback, Make, ProgramOptions, SimulatedDevice, Swarm, Tally, Traffic, admit_all, key,
};
use tokio::net::{TcpSocket, TcpStream};

/// Whatever is waited for usually comes in a second or two.
const PATIENCE: Duration = Duration::from_secs(60);

async fn hub(folder: &std::path::Path) -> Running {
    start(Options::new(folder, ([127, 0, 0, 1], 0).into())).await.expect("the hub starts")
}

fn make(hub: &Running, token: &str) -> Make {
    let hubs = vec![format!("https://{}", hub.address)];
    Make { key: key(0), serial: String::new(), token: token.to_owned(), trust: None, hubs, pin: hub.services.pin }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_token_lets_one_device_in_however_many_show_it_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let hub = hub(folder.path()).await;
    let store = &hub.services.store;
    let text = admit_all(store, 1).await.expect("a token and a rule");
    let (tally, traffic) = (Tally::default(), Arc::<Traffic>::default());
    let devices: Vec<_> = (0..40)
        .map(|number| {
            let make = Make { key: key(number), serial: format!("SIM{number}"), ..make(&hub, &text) };
            SimulatedDevice::start(make, Arc::new(Loopback::of(number, Arc::clone(&traffic))), tally.clone())
        })
        .collect();
    let mut joined = 0;
    for device in &devices {
        let mut standing = device.standing();
        let decided = standing.wait_for(|standing| standing.is_admitted() || standing.message.contains("token-used"));
        let standing = tokio::time::timeout(PATIENCE, decided).await.expect("a verdict").expect("it lives").clone();
        joined += u32::from(standing.is_admitted());
    }
    assert_eq!((joined, tally.admitted()), (1, 1));
    let tokens = store.tokens().await.expect("the database");
    assert!(matches!(tokens.as_slice(), [token] if (token.uses, token.uses_left) == (1, 0)), "{tokens:?}");
    hub.stop().await;
}

/// Calls from one address and says nothing; none: it is turned away.
async fn stranger(hub: std::net::SocketAddr) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(([127, 9, 9, 9], 0).into()).expect("an address of the loopback");
    socket.connect(hub).await.ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_calls_from_one_address_keep_nobody_else_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let hub = hub(folder.path()).await;
    let token = admit_all(&hub.services.store, 100).await.expect("a token and a rule");
    let mut good = Swarm::default();
    good.add(0..30, &make(&hub, &token), 8, PATIENCE).await.expect("good devices are admitted");
    let flood = async {
        let mut held = Vec::new();
        for call in 0..10_000 {
            held.extend(stranger(hub.address).await);
            if call % 1000 == 999 {
                held.clear(); // this process has only so many descriptors itself
            }
        }
    };
    let common = make(&hub, &token);
    let enrol = good.add(30..60, &common, 2, PATIENCE);
    let ((), enrolled) = tokio::join!(flood, enrol);
    enrolled.expect("devices from elsewhere are admitted meanwhile");
    assert_eq!(good.tally.admitted(), 60);
    for (device, _) in &good.devices {
        assert_eq!(device.standing().borrow().admissions, 1, "none of them lost its session");
    }
    let counters = hub.services.metrics.text();
    let turned_away: f64 = counters
        .lines()
        .filter(|line| line.starts_with("skerry_hub_connections_unserved_total{"))
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
        .sum();
    assert!(turned_away > 5_000.0, "{turned_away} were turned away");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_admitted_is_so_after_the_hub_was_killed() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut hub = HubProgram::start(ProgramOptions::new(folder.path())).expect("the program starts");
    let token = admit_all(&hub.store().await.expect("its database"), 10_000).await.expect("a token and a rule");
    let mut swarm = Swarm::default();
    for round in 0..8_u32 {
        let common = hub.make(&token);
        let first = round * 1000;
        // Killed in the midst of it: some of them were admitted, the others are not there any more.
        let enrolling = swarm.add(first..first + 1000, &common, 16, PATIENCE);
        let pause = Duration::from_millis(400 + 90 * u64::from(round));
        tokio::time::timeout(pause, enrolling).await.expect_err("a thousand devices take longer");
        hub = HubProgram::start(hub.kill().expect("killed")).expect("the program starts again");
        assert_eq!(hub.admin, None, "no second admin token");
        let known = swarm.devices.len();
        swarm.call_again(); // their back-off grows with each kill
        assert!(swarm.tally.wait_for(PATIENCE, |admitted| admitted == known).await, "round {round}: {known} devices come back");
    }
    assert!(swarm.devices.len() >= 8, "{} devices", swarm.devices.len());
    hub.store().await.expect("its database").verify_audit(None).await.expect("the audit is whole");
}
