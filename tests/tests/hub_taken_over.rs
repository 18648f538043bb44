//! A hub under an attacker's full control, with the key that its devices pin: what it can do to them is counted, and is nothing.
//!
//! 1. twelve configurations that the fleet did not sign for this device, or older ones: 12 refused with their codes, 0 accepted
//! 2. seven ways to answer that are no protocol: 7 devices say what is wrong, stay up, and come back to their hub
//! 3. sixteen tunnels with bytes of the attacker's: 0 calls reach the device
//! 4. the join token of a device that has joined: no other device joins with what the attacker saw
//! 5. the database of yesterday: the device keeps its newer configuration and is offered nothing older
//!
//! The bounds in bytes, messages and time stand in `apid/tests/phone_home/hostile.rs`, where time is virtual.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use api::internal::HubState;
use apid::phone_home::Tcp;
use hub::cli::serve::{Options, Running, start};
use hub::model::{AssignTo, Time};
use hub::store::NewToken;
use machine_config::{FleetTrust, Keyring, PublicKey, SigningKey, Trust, sign};
use skerry_tests::simulator::takeover::{Takeover, acceptor, forger};
use skerry_tests::simulator::{Make, SimulatedDevice, Standing, Tally, host, key};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What a device does in this time it does at all; whatever a test waits for usually comes in a second or two.
const PATIENCE: Duration = Duration::from_secs(60);
/// Where hubs listen that may have any port.
const ANYWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

fn fleet_key() -> SigningKey {
    SigningKey::from_bytes(&[0xf1; 32])
}

fn fleet() -> FleetTrust {
    let public = PublicKey::try_from(fleet_key().verifying_key()).expect("a strong key");
    FleetTrust { name: "acme".parse().expect("a name"), keys: vec![public] }
}

/// A configuration for one device, unsigned.
fn document(fleet: &str, generation: u64, serial: &str) -> String {
    format!(
        "apiVersion: skerry.dev/v1alpha1\nkind: MachineConfig\nmetadata: {{name: a, fleet: {fleet}, generation: {generation}}}\n\
         target: {{serial: \"{serial}\"}}\nmachine: {{hostname: a}}\n\
         api: {{clientCa: \"-----BEGIN CERTIFICATE-----\\nMAA=\\n-----END CERTIFICATE-----\"}}\n"
    )
}

fn signed(generation: u64) -> Vec<u8> {
    sign(document("acme", generation, "FZ1").as_bytes(), &fleet_key()).expect("signed")
}

async fn honest(folder: &Path, address: SocketAddr) -> Running {
    start(Options::new(folder, address)).await.expect("the hub starts")
}

fn device(hub: SocketAddr, pin: [u8; 32], token: &str) -> SimulatedDevice {
    let fleet = fleet();
    let trust = Some(Trust { fleet: fleet.name, keyring: Keyring::new(fleet.keys) });
    let hubs = vec![format!("https://{hub}")];
    let make = Make { key: key(1), serial: "FZ1".into(), token: token.into(), trust, hubs, pin };
    SimulatedDevice::start(make, Arc::new(Tcp), Tally::default())
}

/// Waits until a device stands so.
async fn stands(device: &SimulatedDevice, what: &str, holds: impl Fn(&Standing) -> bool) {
    let mut standing = device.standing();
    let reached = tokio::time::timeout(PATIENCE, standing.wait_for(|standing| holds(standing))).await.is_ok();
    assert!(reached, "it never came to this: {what}; it is {:?}", device.standing().borrow());
}

/// Looks again and again until something holds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = tokio::time::Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < PATIENCE, "it never came to this: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A device that joined with a token and was approved.
async fn joined(hub: &Running) -> (SimulatedDevice, String) {
    let store = &hub.services.store;
    let token = store.create_token(NewToken { name: "shop".into(), ..NewToken::default() }, &host()).await.expect("a token");
    let token = token.1.expose().to_owned();
    let device = device(hub.address, hub.services.pin, &token);
    stands(&device, "it waits for approval", |standing| standing.state == Some(HubState::Pending)).await;
    store.approve(&device.id(), &host()).await.expect("approved");
    device.call_again();
    stands(&device, "it is admitted", Standing::is_admitted).await;
    store.put_fleet(fleet(), &host()).await.expect("a fleet");
    (device, token)
}

/// Assigns a configuration of this generation; the device takes it.
async fn configure(hub: &Running, device: &SimulatedDevice, generation: u64) {
    let store = &hub.services.store;
    let config = store.put_config(&signed(generation), &host()).await.expect("a good configuration");
    store.assign(&config.digest, AssignTo::Device(device.id()), &host()).await.expect("assigned");
    until("it takes its configuration", async || device.generation() == generation).await;
    let known = async || store.device(&device.id()).await.expect("the database").expect("known").config_generation;
    until("its hub knows", async || known().await == generation).await;
}

/// Configurations that a device with generation 5 must refuse, and the codes of the refusals.
fn forgeries() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    let next = || document("acme", 6, "FZ1");
    let by = |document: String, key: &SigningKey| sign(document.as_bytes(), key).expect("signed");
    vec![
        ("the one before, well signed", signed(4), "generation-older"),
        ("the first one ever", signed(1), "generation-older"),
        (
            "the same generation with another name",
            by(document("acme", 5, "FZ1").replace("name: a,", "name: b,"), &fleet_key()),
            "generation-conflict",
        ),
        ("another device's", by(document("acme", 6, "FZ2"), &fleet_key()), "target"),
        ("another fleet's, with the fleet's key", by(document("rival", 6, "FZ1"), &fleet_key()), "fleet"),
        ("signed by the attacker", by(next(), &forger()), "key-unknown"),
        (
            "the fleet's signature under a changed text",
            text(signed(6)).replace("hostname: a", "hostname: b").into_bytes(),
            "signature",
        ),
        (
            "the signature of another generation",
            text(signed(5)).replace("generation: 5", "generation: 6").into_bytes(),
            "signature",
        ),
        ("without a signature", next().into_bytes(), "envelope"),
        ("two documents under one signature", [next().into_bytes(), b"---\n".to_vec(), signed(6)].concat(), "envelope"),
        ("not text", vec![0xff; 1000], "utf8"),
        ("300 KB", vec![b'#'; 300_000], "size"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn configurations_of_a_hub_that_was_taken_over_are_refused_and_the_true_hub_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let hub = honest(folder.path(), ANYWHERE).await;
    let (device, token) = joined(&hub).await;
    configure(&hub, &device, 5).await;
    let address = hub.address;
    hub.stop().await;

    let attacker = Takeover::begin(folder.path(), address).await.expect("the attacker has key and address");
    stands(&device, "it believes whoever has the key", |standing| standing.is_admitted() && standing.admissions >= 2).await;
    let forgeries = forgeries();
    for (number, (what, config, code)) in forgeries.iter().enumerate() {
        attacker.offer(config);
        until(what, async || attacker.outcomes().len() > number).await;
        let outcome = attacker.outcomes().pop().expect("one came");
        assert_eq!((outcome.accepted, outcome.code.as_str()), (false, *code), "{what}: {outcome:?}");
        assert_eq!(device.generation(), 5, "{what}");
    }
    assert_eq!(attacker.outcomes().len(), forgeries.len());
    assert!(device.standing().borrow().is_admitted(), "all that while it stays connected");
    assert_eq!(attacker.tokens(), std::slice::from_ref(&token), "this is all there is to steal, and it is used up");
    attacker.end().await;

    let hub = honest(folder.path(), address).await;
    stands(&device, "it finds its hub again", |standing| standing.is_admitted() && standing.admissions >= 3).await;
    configure(&hub, &device, 6).await;
    let thief = Make {
        key: key(2),
        serial: "FZ1".into(),
        token,
        trust: None,
        hubs: vec![format!("https://{address}")],
        pin: hub.services.pin,
    };
    let thief = SimulatedDevice::start(thief, Arc::new(Tcp), Tally::default());
    stands(&thief, "the stolen token is used up", |standing| standing.message.contains("token-used")).await;
    hub.services.store.verify_audit(None).await.expect("the audit is whole");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_an_attacker_puts_into_tunnels_call_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let hub = honest(folder.path(), ANYWHERE).await;
    let (device, _) = joined(&hub).await;
    let address = hub.address;
    hub.stop().await;
    let attacker = Takeover::begin(folder.path(), address).await.expect("the attacker has key and address");
    stands(&device, "it believes whoever has the key", |standing| standing.is_admitted() && standing.admissions >= 2).await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let hello = [&[0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3][..], &[0x5a; 194]].concat();
    let before = device.standing().borrow().admissions;
    for round in 0..16_u8 {
        let mut tunnel = attacker.sessions.open_tunnel(&device.id(), "nobody").await.expect("a tunnel");
        let bytes = match round % 4 {
            0 => preface.to_vec(),
            1 => hello.clone(),
            2 => vec![round; 60_000],
            _ => vec![0x17, 3, 3, 0x40, 0, round],
        };
        tunnel.write_all(&bytes).await.expect("sent");
        let mut answer = Vec::new();
        // An alert comes back, or nothing.
        tokio::time::timeout(Duration::from_millis(200), tunnel.read_to_end(&mut answer)).await.ok();
        assert!(answer.len() < 100, "round {round}: {} bytes", answer.len());
    }
    assert_eq!(device.calls(), 0);
    let standing = device.standing().borrow().clone();
    assert!(standing.is_admitted() && standing.admissions == before, "its session went through it: {standing:?}");
    attacker.end().await;
}

/// How an attacker answers who speaks no protocol.
#[derive(Debug, Clone, Copy)]
enum Rude {
    /// A redirect to himself, each time.
    Redirect,
    /// HTTP/2 that is none.
    Garbage,
    /// A gRPC answer with a message that is none.
    Malformed,
    /// A message of 4 GB is announced.
    Huge,
    /// TLS, and the end.
    HangsUp,
    /// No TLS: noise.
    Noise,
    /// A page, as a captive portal shows it.
    Portal,
}

const RUDE: [Rude; 7] = [Rude::Redirect, Rude::Garbage, Rude::Malformed, Rude::Huge, Rude::HangsUp, Rude::Noise, Rude::Portal];

async fn answer_rudely(mut stream: TcpStream, rude: Rude, folder: &Path) -> std::io::Result<()> {
    match rude {
        Rude::Noise => return stream.write_all(&[0x15; 5000]).await,
        Rude::Portal => return stream.write_all(b"HTTP/1.1 302 Found\r\nLocation: https://portal/\r\n\r\n").await,
        Rude::Redirect | Rude::Garbage | Rude::Malformed | Rude::Huge | Rude::HangsUp => {}
    }
    let mut tls = acceptor(folder).expect("the attacker has the key").accept(stream).await?;
    let body: &'static [u8] = match rude {
        Rude::Malformed => b"\0\0\0\0\x05\x7f\x7f\x7f\x7f\x7f",
        Rude::Huge => b"\0\xff\xff\xff\xff",
        Rude::Garbage => return tls.write_all(&[0xff; 100_000]).await,
        Rude::Redirect | Rude::HangsUp | Rude::Noise | Rude::Portal => b"",
    };
    if matches!(rude, Rude::HangsUp) {
        return tls.shutdown().await;
    }
    let service = hyper::service::service_fn(move |_: http::Request<hyper::body::Incoming>| async move {
        let answer = match rude {
            Rude::Redirect => http::Response::builder().status(308).header("location", "/skerry.hub.v1.Devices/Session"),
            Rude::Garbage | Rude::Malformed | Rude::Huge | Rude::HangsUp | Rude::Noise | Rude::Portal => {
                http::Response::builder().header("content-type", "application/grpc")
            }
        };
        let body = tonic::body::Body::new(String::from_utf8_lossy(body).into_owned());
        Ok::<_, std::convert::Infallible>(answer.body(body).expect("well-formed"))
    });
    let http = hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new());
    http.serve_connection(hyper_util::rt::TokioIo::new(tls), service).await.map_err(std::io::Error::other)
}

async fn survives(rude: Rude) {
    let folder = tempfile::tempdir().expect("a folder");
    let hub = honest(folder.path(), ANYWHERE).await;
    let (device, _) = joined(&hub).await;
    configure(&hub, &device, 5).await;
    let address = hub.address;
    hub.stop().await;
    let listener = TcpListener::bind(address).await.expect("the address is free");
    let place = folder.path().to_owned();
    let attacker = tokio::spawn(async move {
        let mut calls = 0_u32;
        // A first call that fails, and a second after a back-off.
        while calls < 2 {
            let (stream, _) = listener.accept().await.expect("a caller");
            calls += 1;
            answer_rudely(stream, rude, &place).await.ok(); // it may be hung up on, as it deserves
        }
    });
    tokio::time::timeout(PATIENCE, attacker).await.unwrap_or_else(|_| panic!("{rude:?}: it calls again")).expect("no panic");
    stands(&device, "it says what is wrong", |standing| {
        standing.state == Some(HubState::Unreachable) && !standing.message.is_empty()
    })
    .await;
    assert_eq!(device.generation(), 5, "{rude:?}");
    let hub = honest(folder.path(), address).await;
    stands(&device, "it comes back to its hub", |standing| standing.is_admitted() && standing.admissions >= 2).await;
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_comes_back_from_every_answer_that_is_none() {
    futures_util::future::join_all(RUDE.map(survives)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_yesterday_takes_no_device_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let hub = honest(folder.path(), ANYWHERE).await;
    let (device, _) = joined(&hub).await;
    configure(&hub, &device, 5).await;
    let address = hub.address;
    hub.stop().await;
    let yesterday = tempfile::tempdir().expect("a folder");
    copy_files(folder.path(), yesterday.path());

    let hub = honest(folder.path(), address).await;
    stands(&device, "it is back", |standing| standing.is_admitted() && standing.admissions >= 2).await;
    configure(&hub, &device, 6).await;
    hub.stop().await;

    let hub = honest(yesterday.path(), address).await;
    stands(&device, "it is back at the hub of yesterday", |standing| standing.is_admitted() && standing.admissions >= 3).await;
    let store = &hub.services.store;
    let known = async || store.device(&device.id()).await.expect("the database").expect("known").config_generation;
    until("the hub learns what the device runs", async || known().await == 6).await;
    assert_eq!(store.to_deliver(&device.id(), Time::now()).await.expect("the database"), None, "nothing older is offered");
    assert_eq!(device.generation(), 6);
    hub.stop().await;
}

fn copy_files(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
    }
}
