//! The whole hub, as `skerry-hub serve` runs it, with the real client of a device: enrolment, configuration, tunnels, restarts, removal, and two
//! processes that share a database.

mod support;

use std::fs;
use std::path::Path;

use futures_util::{SinkExt as _, StreamExt as _};
use hub::cli::serve::{Options, Running as RunningHub, start};
use hub::model::{Actor, AssignTo, AuditFilter, Binding, By, DeliveryState, DeviceState, Time};
use hub::people::Role;
use hub::store::{NewApiToken, NewToken};
use machine_config::{FleetTrust, Keyring, PublicKey, Trust, sign};
use support::device::{key, secure};
use support::node::{Made, Running};
use support::until;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};

/// A certificate as far as a configuration is checked for one.
const CLIENT_CA: &str = r#"api: {clientCa: "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----"}"#;

fn config(generation: u64, serial: &str) -> Vec<u8> {
    let text = format!(
        "apiVersion: skerry.dev/v1alpha1\nkind: MachineConfig\nmetadata: {{name: a, fleet: acme, generation: {generation}}}\n\
         target: {{serial: \"{serial}\"}}\nmachine: {{hostname: a}}\n{CLIENT_CA}\n"
    );
    sign(text.as_bytes(), &key(99)).expect("signed")
}

fn public() -> PublicKey {
    PublicKey::try_from(key(99).verifying_key()).expect("a strong key")
}

fn trust() -> Trust {
    Trust { fleet: "acme".parse().expect("a name"), keyring: Keyring::new([public()]) }
}

fn kim() -> By {
    By::new(Actor::User("kim".into()), "192.0.2.9", Time::now())
}

async fn hub(folder: &Path, address: &str) -> RunningHub {
    start(Options::new(folder, address.parse().expect("an address"))).await.expect("it just works")
}

/// Another process of the hub in that folder: with a folder of its own, the same key, and the same database.
async fn another(folder: &Path, first: &Path) -> RunningHub {
    fs::copy(first.join("hub.key"), folder.join("hub.key")).expect("the hub's key");
    let database = Some(format!("sqlite:{}", first.join("hub.db").display()));
    let options = Options::new(folder, "127.0.0.1:0".parse().expect("an address"));
    start(Options { database, ..options }).await.expect("it joins the first")
}

/// A join token of this hub.
async fn token(hub: &RunningHub) -> String {
    let new = NewToken {
        name: "shop".into(),
        uses: 1,
        binding: Binding::default(),
        labels: Default::default(),
        groups: vec!["shops".into()],
        expires_at: None,
        text: None,
    };
    hub.services.store.create_token(new, &kim()).await.expect("a token").1.expose().to_owned()
}

async fn device(hub: &RunningHub, number: u32, token: &str) -> Running {
    let made = Made { key: key(number), serial: "FZ1", token, trust: Some(trust()) };
    Running::start(hub.address, hub.services.pin, made)
}

async fn upload(hub: &RunningHub, file: &[u8], to: AssignTo) -> machine_config::Digest {
    let store = &hub.services.store;
    let fleet = FleetTrust { name: "acme".parse().expect("a name"), keys: vec![public()] };
    store.put_fleet(fleet, &kim()).await.expect("a fleet");
    let config = store.put_config(file, &kim()).await.expect("a configuration that devices would take");
    store.assign(&config.digest, to, &kim()).await.expect("assigned");
    config.digest
}

type Socket = tokio_tungstenite::WebSocketStream<tokio_rustls::client::TlsStream<tokio::net::TcpStream>>;

/// A tunnel as `skerryctl` opens it.
async fn tunnel(hub: &RunningHub, device: &Running, token: &str) -> Result<Socket, Error> {
    let mut request =
        format!("wss://{}/api/v1/devices/{}/tunnel", hub.address, device.id()).into_client_request().expect("a request");
    request.headers_mut().insert("authorization", format!("Bearer {token}").parse().expect("a header"));
    let tls = secure(hub.address, &hub.services.pin, &[b"http/1.1"]).await.expect("secured");
    tokio_tungstenite::client_async(request, tls).await.map(|(socket, _)| socket)
}

async fn echoes(mut socket: Socket) {
    for number in 0..20u8 {
        let sent = vec![number; 8 << 10];
        socket.send(Message::Binary(sent.clone().into())).await.expect("sent");
        let mut back = Vec::new();
        while back.len() < sent.len() {
            match socket.next().await.expect("more").expect("no error") {
                Message::Binary(data) => back.extend_from_slice(&data),
                Message::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        }
        assert!(back == sent);
    }
    socket.close(None).await.expect("closed");
}

async fn actions(hub: &RunningHub) -> Vec<String> {
    let lines = hub.services.store.audit(&AuditFilter { limit: 500, ..AuditFilter::default() }).await.expect("the audit");
    lines.into_iter().rev().map(|line| line.action).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_ends_with_the_token_it_was_opened_with_and_nobody_holds_all_of_a_devices() {
    let folder = tempfile::tempdir().expect("a folder");
    let hub = hub(folder.path(), "127.0.0.1:0").await;
    let admin = hub.admin_token.clone().expect("the first start makes an admin token");
    let device = device(&hub, 1, &token(&hub).await).await;
    until("it waits for approval", || device.state().starts_with("Pending")).await;
    let store = hub.services.store.clone();
    store.approve(&device.id(), &kim()).await.expect("approved");
    device.call_again();
    until("it is admitted", || hub.services.sessions.has(&device.id())).await;
    let new = NewApiToken { name: "ci".into(), role: Role::Reader, scopes: Default::default(), expires_at: None };
    let (made, text) = store.create_api_token(new, &Default::default(), &kim()).await.expect("a token");
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(tunnel(&hub, &device, text.expose()).await.expect("a connection"));
    }
    let Err(Error::Http(refused)) = tunnel(&hub, &device, text.expose()).await else { panic!("a fifth of one token") };
    assert_eq!(refused.status(), 429);
    let others = tunnel(&hub, &device, &admin).await.expect("others have theirs");
    store.revoke_api_token(&made.id, &kim()).await.expect("revoked");
    let ended = async {
        for socket in &mut held {
            while let Some(Ok(message)) = socket.next().await {
                if message.is_close() {
                    break;
                }
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), ended).await.expect("all of them are closed");
    echoes(others).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_goes_the_whole_way_from_the_first_call_to_its_removal() {
    let folder = tempfile::tempdir().expect("a folder");
    let hub = hub(folder.path(), "127.0.0.1:0").await;
    let admin = hub.admin_token.clone().expect("the first start makes an admin token");
    let device = device(&hub, 1, &token(&hub).await).await;
    until("it waits for approval", || device.state().starts_with("Pending")).await;
    let store = hub.services.store.clone();
    store.approve(&device.id(), &kim()).await.expect("approved");
    device.call_again();
    until("it is admitted", || hub.services.sessions.has(&device.id())).await;

    // An assignment reaches a connected device by itself.
    let digest = upload(&hub, &config(3, "FZ1"), AssignTo::Device(device.id())).await;
    until("it took its configuration", || device.generation() == 3).await;
    let state =
        async || store.deliveries_of(&device.id()).await.expect("deliveries").first().map(|delivery| delivery.state.clone());
    // A device reports changes at most once in some seconds.
    for _ in 0..2000 {
        if state().await == Some(DeliveryState::Running) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(state().await, Some(DeliveryState::Running), "the device reports what it runs");
    let known = store.device(&device.id()).await.expect("found").expect("known");
    assert_eq!((known.config_generation, known.config_digest.as_ref(), known.healthy), (3, Some(&digest), true));

    assert!(matches!(tunnel(&hub, &device, "ska_wrong").await, Err(Error::Http(answer)) if answer.status() == 401));
    echoes(tunnel(&hub, &device, &admin).await.expect("a tunnel")).await;

    // Killed and started again: the same key, the same device, no second admin token, nothing offered twice.
    let address = hub.address.to_string();
    hub.stop().await;
    let hub = self::hub(folder.path(), &address).await;
    assert_eq!(hub.admin_token, None);
    until("it is connected again", || hub.services.sessions.has(&device.id())).await;
    echoes(tunnel(&hub, &device, &admin).await.expect("a tunnel")).await;

    hub.services.store.remove(&device.id(), "stolen", &kim()).await.expect("removed");
    until("its session is over at once", || !hub.services.sessions.has(&device.id())).await;
    until("it is told", || device.state().starts_with("Refused")).await;
    assert!(matches!(tunnel(&hub, &device, &admin).await, Err(Error::Http(answer)) if answer.status() == 502));
    let known = hub.services.store.device(&device.id()).await.expect("found").expect("known");
    assert_eq!(known.state, DeviceState::Removed);
    let actions = actions(&hub).await;
    for expected in [
        "device.approve",
        "config.assign",
        "config.offer",
        "config.taken",
        "config.running",
        "tunnel.open",
        "tunnel.close",
        "device.remove",
    ] {
        assert!(actions.iter().any(|action| action == expected), "{expected} in {actions:?}");
    }
    assert_eq!(actions.iter().filter(|action| *action == "config.offer").count(), 1, "{actions:?}");
    hub.services.store.verify_audit(None).await.expect("the audit is whole");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_finds_the_device_at_another_one() {
    let [folder, other] = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let one = hub(folder.path(), "127.0.0.1:0").await;
    let admin = one.admin_token.clone().expect("an admin token");
    let two = another(other.path(), folder.path()).await;
    let device = device(&one, 1, &token(&one).await).await;
    until("it waits for approval", || device.state().starts_with("Pending")).await;
    // Approved, assigned and removed at the other process.
    two.services.store.approve(&device.id(), &kim()).await.expect("approved");
    device.call_again();
    until("it is admitted", || one.services.sessions.has(&device.id())).await;
    upload(&two, &config(3, "FZ1"), AssignTo::Group("shops".into())).await;
    until("it took its configuration", || device.generation() == 3).await;
    echoes(tunnel(&two, &device, &admin).await.expect("a tunnel by way of the first process")).await;
    let foreign = format!("https://{}/internal/v1/tunnel/{}", two.address, device.id());
    let mut request = foreign.replace("https", "wss").into_client_request().expect("a request");
    request.headers_mut().insert("x-skerry-replica-secret", "0".repeat(64).parse().expect("a header"));
    let tls = secure(one.address, &one.services.pin, &[b"skerry-hub-replica-1"]).await.expect("secured");
    assert!(matches!(tokio_tungstenite::client_async(request, tls).await, Err(Error::Http(answer)) if answer.status() == 404));
    two.services.store.remove(&device.id(), "gone", &kim()).await.expect("removed");
    until("its session is over", || !one.services.sessions.has(&device.id())).await;
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_session_that_a_device_left_for_another_process_ends() {
    let [folder, other] = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let one = hub(folder.path(), "127.0.0.1:0").await;
    let two = another(other.path(), folder.path()).await;
    let first = device(&one, 1, &token(&one).await).await;
    until("it waits for approval", || first.state().starts_with("Pending")).await;
    one.services.store.approve(&first.id(), &kim()).await.expect("approved");
    first.call_again();
    until("it is admitted", || one.services.sessions.has(&first.id())).await;
    // The same key again, as after a change of address: the first connection hangs and says nothing.
    let again = device(&two, 1, "").await;
    until("it is connected there", || two.services.sessions.has(&again.id())).await;
    until("the session it left is over", || !one.services.sessions.has(&first.id())).await;
    assert!(actions(&one).await.iter().any(|action| action == "device.moved"));
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_are_for_this_host_and_for_readers() {
    let folder = tempfile::tempdir().expect("a folder");
    let hub = hub(folder.path(), "127.0.0.1:0").await;
    let mut tls = secure(hub.address, &hub.services.pin, &[b"http/1.1"]).await.expect("secured");
    tls.write_all(b"GET /metrics HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n").await.expect("asked");
    let mut text = String::new();
    tls.read_to_string(&mut text).await.expect("answered");
    assert!(text.starts_with("HTTP/1.1 200") && text.contains("skerry_hub_devices_connected 0"), "{text}");
    hub.stop().await;
}
