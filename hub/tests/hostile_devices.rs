//! Devices that lie, flood, stall or steal: refused, counted, and nobody else notices.

mod support;

use std::time::{Duration, Instant};

use api::hub::DEVICE_ALPN;
use api::hub::v1::{Answer, ConfigOutcome, DeviceMessage, Heartbeat, Inventory, TunnelData, device_message, verdict};
use api::v1::HardwareResponse;
use hub::listen::Limits;
use hub::metrics::{Unserved, WhyUnserved};
use hub::session::{Dismissal, Offer};
use machine_config::DeviceId;
use support::device::{Call, hello, key, secure};
use support::{TestHub, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A good device is served while others misbehave.
async fn good_device_is_served(hub: &TestHub, number: u32) {
    let began = Instant::now();
    let mut call = Call::admitted(hub.address, &hub.pin, &key(number)).await.expect("a good device is served");
    assert!(call.send(device_message::Kind::Heartbeat(Heartbeat { number: 1, ..Heartbeat::default() })).await);
    assert!(call.next().await.is_some(), "its heartbeat is answered");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

fn refusal(verdict: Option<verdict::Kind>) -> String {
    match verdict {
        Some(verdict::Kind::Refused(refused)) => refused.code,
        other => panic!("not refused: {other:?}"),
    }
}

async fn generous() -> TestHub {
    let hub = TestHub::start(Limits::default()).await;
    hub.directory.with(|notes| notes.everybody = true);
    hub
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_that_was_made_for_another_channel_is_refused() {
    let hub = generous().await;
    let mut first = Call::open(hub.address, &hub.pin).await.unwrap();
    let nonce = first.nonce().await;
    let recorded = hello(&key(1), &hub.pin, &nonce, &first.exporter);
    let mut replay = Call::open(hub.address, &hub.pin).await.unwrap();
    replay.nonce().await;
    replay.send(device_message::Kind::Hello(recorded.clone())).await;
    assert_eq!(refusal(replay.verdict().await), "proof");
    // Even with the very nonce it was made for: it belongs to the other connection.
    let mut relayed = Call::open(hub.address, &hub.pin).await.unwrap();
    let nonce = relayed.nonce().await;
    relayed.send(device_message::Kind::Hello(hello(&key(1), &hub.pin, &nonce, &first.exporter))).await;
    assert_eq!(refusal(relayed.verdict().await), "proof");
    first.send(device_message::Kind::Hello(recorded)).await;
    assert!(matches!(first.verdict().await, Some(verdict::Kind::Admitted(_))), "on its own channel it counts");
    until("two wrong proofs are counted", || hub.metrics.wrong_proofs.get() == 2).await;
    assert_eq!(hub.directory.with(|notes| notes.attempts.len()), 1, "the database saw the good one only");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_speaks_for_a_device_without_its_key() {
    let hub = generous().await;
    let _victim = Call::admitted(hub.address, &hub.pin, &key(1)).await.unwrap();
    let mut thief = Call::open(hub.address, &hub.pin).await.unwrap();
    let nonce = thief.nonce().await;
    let mut stolen = hello(&key(2), &hub.pin, &nonce, &thief.exporter);
    stolen.public_key = key(1).verifying_key().to_bytes().to_vec();
    thief.send(device_message::Kind::Hello(stolen)).await;
    assert_eq!(refusal(thief.verdict().await), "proof");
    let victim = DeviceId::of(&key(1).verifying_key());
    until("it is written down", || !hub.directory.with(|notes| notes.turned_away.is_empty())).await;
    assert_eq!(hub.directory.with(|notes| notes.turned_away.clone()), [(Some(victim), "proof")]);
    assert!(hub.sessions.has(&DeviceId::of(&key(1).verifying_key())), "the victim's session lives");
}

#[tokio::test(flavor = "multi_thread")]
async fn inventory_bombs_end_the_session_and_cost_a_message_at_most() {
    let hub = TestHub::start(Limits::default()).await;
    let mut call = Call::open(hub.address, &hub.pin).await.unwrap();
    call.greet(&key(1), &hub.pin).await;
    call.next().await.expect("it asks for the inventory");
    let hardware = HardwareResponse { product: "x".repeat(64 << 20), ..HardwareResponse::default() };
    let bomb = Answer { inventory: Some(Inventory { hardware: Some(hardware) }), ..Answer::default() };
    call.send(device_message::Kind::Answer(bomb)).await;
    assert!(call.verdict().await.is_none(), "no verdict, the call ends");
    assert_eq!(hub.directory.with(|notes| notes.attempts.len()), 0);
    hub.directory.with(|notes| notes.everybody = true);
    good_device_is_served(&hub, 2).await;
}

/// Two bytes for each disk on the wire, a hundred in memory; what an admitted device says may be long.
#[tokio::test(flavor = "multi_thread")]
async fn an_inventory_of_forty_thousand_empty_disks_is_not_decoded() {
    let hub = TestHub::start(Limits::default()).await;
    let mut call = Call::open(hub.address, &hub.pin).await.unwrap();
    call.greet(&key(1), &hub.pin).await;
    call.next().await.expect("it asks for the inventory");
    let hardware = HardwareResponse { disks: vec![api::v1::Disk::default(); 40_000], ..HardwareResponse::default() };
    let bomb = Answer { inventory: Some(Inventory { hardware: Some(hardware) }), ..Answer::default() };
    call.send(device_message::Kind::Answer(bomb)).await;
    assert!(call.verdict().await.is_none(), "no verdict, the call ends");
    assert_eq!(hub.directory.with(|notes| notes.attempts.len()), 0);
    hub.directory.with(|notes| {
        notes.everybody = true;
        notes.offer = Some(Offer { digest: "d".to_owned(), config: vec![1] });
    });
    let mut admitted = Call::admitted(hub.address, &hub.pin, &key(2)).await.expect("admitted");
    admitted.next().await.expect("an offer");
    let outcome = ConfigOutcome { digest: "d".to_owned(), message: "m".repeat(100 << 10), ..ConfigOutcome::default() };
    admitted.send(device_message::Kind::ConfigOutcome(outcome)).await;
    until("a long refusal is heard", || hub.directory.with(|notes| notes.outcomes.len()) == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_connections_from_one_address_get_their_share_and_no_more() {
    let limits = Limits { strangers_of_one: 64, calls_at_once: 500, calls_per_second: 50, ..Limits::default() };
    let hub = TestHub::start(limits).await;
    hub.directory.with(|notes| notes.everybody = true);
    let mut held = Vec::new();
    for _ in 0..1000 {
        held.push(TcpStream::connect(hub.address).await.unwrap());
    }
    until("all were accepted", || hub.metrics.connections.get() >= 1000).await;
    let count = |reason| hub.metrics.unserved.get_or_create(&WhyUnserved { reason }).get();
    assert!(
        count(Unserved::Crowded) > 300 && count(Unserved::Fast) > 300,
        "{} {}",
        count(Unserved::Crowded),
        count(Unserved::Fast)
    );
    let mut open = 0;
    for stream in &mut held {
        let mut byte = [0];
        // Who was hung up on reads the end at once.
        open += usize::from(tokio::time::timeout(Duration::from_millis(2), stream.read(&mut byte)).await.is_err());
    }
    assert!(open <= 64, "{open} are held");
    drop(held);
    tokio::time::sleep(Duration::from_secs(2)).await;
    good_device_is_served(&hub, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_callers_are_hung_up_on_at_every_stage() {
    let limits = Limits { handshake: Duration::from_millis(500), verdict: Duration::from_millis(700), ..Limits::default() };
    let hub = TestHub::start(limits).await;
    // One byte of TLS now and then.
    let mut drip = TcpStream::connect(hub.address).await.unwrap();
    // TLS and then nothing.
    let mut mute = secure(hub.address, &hub.pin, &[DEVICE_ALPN]).await.unwrap();
    // A call and then nothing.
    let mut silent = Call::open(hub.address, &hub.pin).await.unwrap();
    silent.nonce().await;
    let dripped = async {
        for byte in [0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3] {
            if drip.write_all(&[byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let mut rest = Vec::new();
        drip.read_to_end(&mut rest).await.ok();
    };
    let mut rest = Vec::new();
    let (_, _, last) =
        tokio::time::timeout(Duration::from_secs(5), async { tokio::join!(dripped, mute.read_to_end(&mut rest), silent.next()) })
            .await
            .expect("all of them are hung up on");
    assert_eq!(last, None);
    until("they are counted", || hub.metrics.unserved.get_or_create(&WhyUnserved { reason: Unserved::Slow }).get() == 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_secures_a_connection_and_does_not_call_is_hung_up_on_long_before_a_verdict_is_due() {
    let hub = TestHub::start(Limits { first_call: Duration::from_millis(300), ..Limits::default() }).await;
    let mut mute = secure(hub.address, &hub.pin, &[DEVICE_ALPN]).await.unwrap();
    let mut silent = Call::open(hub.address, &hub.pin).await.unwrap();
    silent.nonce().await;
    let mut rest = Vec::new();
    tokio::time::timeout(Duration::from_secs(5), mute.read_to_end(&mut rest)).await.expect("it is hung up on").ok();
    assert!(tokio::time::timeout(Duration::from_millis(300), silent.next()).await.is_err(), "who called has his time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_floods_or_invents_tunnels_loses_its_session_only() {
    let hub = generous().await;
    let flood = Call::admitted(hub.address, &hub.pin, &key(1)).await.unwrap();
    let mut sent = 0;
    while sent < 10_000
        && flood.send(device_message::Kind::Heartbeat(Heartbeat { number: sent + 1, ..Heartbeat::default() })).await
    {
        sent += 1;
    }
    until("its session ended", || !hub.sessions.has(&DeviceId::of(&key(1).verifying_key()))).await;
    assert!(hub.metrics.heartbeats.get() <= 70, "{}", hub.metrics.heartbeats.get());
    let mut inventor = Call::admitted(hub.address, &hub.pin, &key(2)).await.unwrap();
    inventor.send(device_message::Kind::TunnelData(TunnelData { id: 7, data: vec![0; 100] })).await;
    assert_eq!(inventor.next().await, None);
    let mut empty = Call::admitted(hub.address, &hub.pin, &key(3)).await.unwrap();
    empty.say.send(DeviceMessage { kind: None }).await.unwrap();
    assert_eq!(empty.next().await, None, "a message of no kind");
    let mut mute = Call::open(hub.address, &hub.pin).await.unwrap();
    mute.nonce().await;
    mute.send(device_message::Kind::Heartbeat(Heartbeat { number: 1, ..Heartbeat::default() })).await;
    assert_eq!(refusal(mute.verdict().await), "malformed");
    until("only who never was admitted is turned away", || {
        hub.directory.with(|notes| notes.turned_away == [(None, "malformed")])
    })
    .await;
    good_device_is_served(&hub, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proven_device_that_calls_without_pause_is_told_to_wait() {
    let hub = TestHub::start(Limits::default()).await;
    let mut codes = Vec::new();
    for _ in 0..15 {
        let mut call = Call::open(hub.address, &hub.pin).await.unwrap();
        call.greet(&key(1), &hub.pin).await;
        // Asked for its token: it called in time.
        match call.next().await {
            Some(api::hub::v1::hub_message::Kind::Ask(_)) => codes.push("asked".to_owned()),
            Some(api::hub::v1::hub_message::Kind::Verdict(verdict)) => codes.push(refusal(verdict.kind)),
            other => panic!("{other:?}"),
        }
    }
    assert!(codes.iter().filter(|code| *code == "asked").count() <= 12, "{codes:?}");
    assert_eq!(codes.last().map(String::as_str), Some("busy"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_call_of_a_device_ends_the_first() {
    let hub = generous().await;
    let mut first = Call::admitted(hub.address, &hub.pin, &key(1)).await.unwrap();
    let mut second = Call::admitted(hub.address, &hub.pin, &key(1)).await.unwrap();
    assert_eq!(first.next().await, None);
    second.send(device_message::Kind::Heartbeat(Heartbeat { number: 1, ..Heartbeat::default() })).await;
    assert!(second.next().await.is_some());
    assert_eq!(hub.sessions.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_hub_tells_the_next_device_to_come_back() {
    let hub = TestHub::start(Limits { devices: 2, ..Limits::default() }).await;
    hub.directory.with(|notes| notes.everybody = true);
    let first = Call::admitted(hub.address, &hub.pin, &key(1)).await.expect("a place");
    let _second = Call::admitted(hub.address, &hub.pin, &key(2)).await.expect("a place");
    let mut third = Call::open(hub.address, &hub.pin).await.expect("a call");
    third.greet(&key(3), &hub.pin).await;
    assert_eq!(refusal(third.verdict().await), "busy");
    drop(first);
    until("the first is gone", || hub.sessions.count() == 1).await;
    let mut again = Call::admitted(hub.address, &hub.pin, &key(3)).await;
    for _ in 0..5 {
        if again.is_ok() {
            break;
        }
        // The place is given back when the connection is closed, a moment after the session's end.
        tokio::time::sleep(Duration::from_millis(100)).await;
        again = Call::admitted(hub.address, &hub.pin, &key(3)).await;
    }
    again.expect("the place of the first");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_that_could_not_be_read_ends_the_session_once_it_can() {
    let hub = generous().await;
    let mut call = Call::admitted(hub.address, &hub.pin, &key(1)).await.expect("admitted");
    let id = DeviceId::of(&key(1).verifying_key());
    let message = "it was removed".to_owned();
    let why = Dismissal::Verdict { code: "removed".to_owned(), message, retry_seconds: 3600 };
    hub.directory.with(|notes| (notes.failing, notes.not_served) = (true, Some(why)));
    hub.sessions.look_again(&id);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(hub.sessions.has(&id), "a database that fails ends nothing");
    hub.directory.with(|notes| notes.failing = false);
    assert_eq!(refusal(call.verdict().await), "removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_the_device_left_for_a_later_one_elsewhere_ends() {
    let hub = generous().await;
    hub.directory.with(|notes| notes.elsewhere = true);
    let mut call = Call::admitted(hub.address, &hub.pin, &key(1)).await.expect("admitted");
    assert!(call.next().await.is_none(), "nothing comes any more");
    until("the session is over", || hub.sessions.count() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_database_sends_nobody_away_for_good() {
    let hub = generous().await;
    let mut connected = Call::admitted(hub.address, &hub.pin, &key(1)).await.expect("admitted");
    hub.directory.with(|notes| notes.failing = true);
    let mut other = Call::open(hub.address, &hub.pin).await.expect("a call");
    other.greet(&key(2), &hub.pin).await;
    assert_eq!(refusal(other.verdict().await), "busy");
    connected.send(device_message::Kind::Heartbeat(Heartbeat { number: 1, ..Heartbeat::default() })).await;
    assert!(connected.next().await.is_some(), "who is connected stays so");
    hub.directory.with(|notes| notes.failing = false);
    good_device_is_served(&hub, 2).await;
}
