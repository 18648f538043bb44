//! A hub under an attacker's full control, with the very key that the device pins: nothing is accepted, and the device stays up.
//!
//! 1. messages without end before the verdict: one a session is heard, at most 40 sessions an hour
//! 2. configurations and tunnels before the verdict: none reaches the device
//! 3. a message of 400 KiB: not judged
//! 4. a configuration every 10 ms: at most 22 judged in 20 s
//! 5. answers to heartbeats that were not sent: the session ends
//! 6. bytes injected into tunnels (beyond credit, empty, too large, no such tunnel): nothing arrives; in a tunnel that is open see `daemon.rs`
//! 7. questions without reading the answers: left, and the connection is closed
//! 8. silence in place of challenge and verdict: 60 s each
//! 9. redirects, garbage, pages, headers of 100 KB: at most 40 calls an hour, no proof is made
//! 10. a message of 300 KiB at a byte a second: 60 s
//! 11. hints about time: a heartbeat in 30 s at most

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use api::hub::v1::device_message::Kind as Says;
use api::hub::v1::hub_message::Kind;
use api::hub::v1::{Admitted, Challenge, ConfigOffer, HeartbeatReceived, TunnelCredit, TunnelData, TunnelOpen, verdict};
use api::internal::HubState;
use http::{Request, Response};
use http_body_util::StreamBody;
use hyper::body::{Bytes, Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};

use tokio_stream::StreamExt;

use super::device::{Device, Network, settings};
use super::hub::{Guest, Hub};

#[tokio::test(start_paused = true)]
async fn a_stream_of_messages_before_the_verdict_ends_the_session_each_time() {
    let (device, _, mut guests) = Device::with_hub();
    let calls = Arc::new(AtomicU64::default());
    let counted = Arc::clone(&calls);
    tokio::spawn(async move {
        while let Some(guest) = guests.recv().await {
            counted.fetch_add(1, Ordering::Relaxed);
            while guest.says(Kind::Challenge(Challenge { nonce: vec![0; 32], protocol: 1 })).await {}
        }
    });
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let calls = calls.load(Ordering::Relaxed);
    assert!((10..=40).contains(&calls), "{calls} calls in an hour");
    assert!(device.reports(HubState::Unreachable).await.contains("has no place there"));
    let proofs = device.memory.proofs.load(Ordering::Relaxed);
    assert!(proofs <= calls, "{proofs} proofs in {calls} calls");
}

#[tokio::test(start_paused = true)]
async fn configurations_and_tunnels_before_the_verdict_reach_nobody() {
    let open = Kind::TunnelOpen(TunnelOpen { id: 1, who: "kim".into() });
    let offer = Kind::ConfigOffer(ConfigOffer { config: b"good 1".to_vec(), digest: String::new() });
    for early in [open, offer] {
        let (device, _, mut guests) = Device::with_hub();
        let mut guest = Guest::next(&mut guests).await;
        guest.greets().await;
        guest.says(early).await;
        guest.is_left().await;
        assert_eq!((device.offered(), device.memory.tunnels.load(Ordering::Relaxed)), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_huge_message_ends_the_session_and_is_not_judged() {
    let (device, _, mut guests) = Device::with_hub();
    let mut guest = Guest::next(&mut guests).await;
    guest.admits().await;
    guest.offers(&vec![b'x'; 400 << 10]).await;
    guest.is_left().await;
    assert_eq!(device.offered(), 0);
    Guest::next(&mut guests).await.admits().await;
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_configurations_is_judged_one_a_second() {
    let (device, _, mut guests) = Device::with_hub();
    let mut guest = Guest::next(&mut guests).await;
    guest.admits().await;
    let until = tokio::time::Instant::now() + Duration::from_secs(20);
    let (mut offers, mut outcomes) = (0_u32, 0_u32);
    while tokio::time::Instant::now() < until {
        offers += 1;
        let config = offers.to_le_bytes();
        assert!(guest.offers(&config).await);
        while let Ok(heard) = tokio::time::timeout(Duration::from_millis(10), guest.hears()).await {
            outcomes += u32::from(matches!(heard.expect("the session goes on"), Says::ConfigOutcome(_)));
        }
    }
    assert!((15..=22).contains(&device.offered()), "{} judged in 20 seconds of {offers} offers", device.offered());
    assert!(offers - outcomes <= 2, "{outcomes} outcomes for {offers} offers");
}

#[tokio::test(start_paused = true)]
async fn answers_to_heartbeats_that_were_not_sent_end_the_session() {
    let (_device, _, mut guests) = Device::with_hub();
    let mut guest = Guest::next(&mut guests).await;
    guest.admits().await;
    guest.says(Kind::HeartbeatReceived(HeartbeatReceived { number: 9 })).await;
    guest.is_left().await;
}

#[tokio::test(start_paused = true)]
async fn bytes_injected_into_tunnels_end_the_session_or_reach_nobody() {
    let data = |id, length| Kind::TunnelData(TunnelData { id, data: vec![0; length] });
    let (device, _, mut guests) = Device::with_hub();
    let cases = [
        vec![data(1, 16 << 10); 9],
        vec![data(1, 0)],
        vec![data(1, (16 << 10) + 1)],
        vec![Kind::TunnelCredit(TunnelCredit { id: 1, bytes: u32::MAX })],
        vec![Kind::TunnelOpen(TunnelOpen { id: 1, who: "twice".into() })],
    ];
    for case in cases {
        let mut guest = Guest::next(&mut guests).await;
        guest.admits().await;
        // Nobody opened that one: its bytes go nowhere, and no harm is done.
        guest.says(data(77, 5)).await;
        guest.says(Kind::TunnelOpen(TunnelOpen { id: 1, who: "flood".into() })).await;
        for kind in case {
            guest.says(kind).await;
        }
        guest.is_left().await;
    }
    assert_eq!(device.offered(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_asks_and_never_reads_is_left() {
    let (device, _, mut guests) = Device::with_hub();
    let mut guest = Guest::next(&mut guests).await;
    guest.admits().await;
    for id in 0..200_000 {
        let open = Kind::TunnelOpen(TunnelOpen { id, who: "nobody".into() });
        if !guest.says(open).await {
            break;
        }
    }
    let line = device.reports(HubState::Unreachable).await;
    assert!(line.contains("reads nothing") || line.contains("does not answer"), "{line}");
    drop(guest);
    Guest::next(&mut guests).await.admits().await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_says_nothing_ends_in_time() {
    let (device, _, mut guests) = Device::with_hub();
    let mut guest = Guest::next(&mut guests).await;
    let began = tokio::time::Instant::now();
    guest.is_left().await;
    assert!(began.elapsed() <= Duration::from_secs(61), "{:?}", began.elapsed());
    assert!(device.reports(HubState::Unreachable).await.contains("the hub says nothing"));
    let mut guest = Guest::next(&mut guests).await;
    guest.greets().await;
    guest.is_left().await;
    assert!(device.reports(HubState::Unreachable).await.contains("comes to no verdict"));
}

/// A hub whose HTTP answers are these.
fn answering(hub: &Hub, answer: fn() -> Response<tonic::body::Body>) -> Network {
    let (network, acceptor) = (Network::default(), hub.acceptor(api::hub::DEVICE_ALPN));
    network.set("hub.example", move || {
        let (device, other) = tokio::io::duplex(64 << 10);
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let Ok(tls) = acceptor.accept(other).await else { return };
            let service = hyper::service::service_fn(move |_: Request<Incoming>| async move { Ok::<_, Infallible>(answer()) });
            let http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            drop(http.serve_connection(TokioIo::new(tls), service).await);
        });
        Box::new(device)
    });
    network
}

#[tokio::test(start_paused = true)]
async fn redirects_are_not_followed_and_malformed_answers_are_named() {
    let redirect = || {
        let answer = Response::builder().status(302).header("location", "https://elsewhere.example/");
        answer.body(tonic::body::Body::empty()).expect("well-formed")
    };
    let garbage = || {
        let answer = Response::builder().header("content-type", "application/grpc");
        let body = tonic::body::Body::new("\0\0\0\0\u{5}\u{7f}\u{7f}\u{7f}\u{7f}\u{7f}".to_owned());
        answer.body(body).expect("well-formed")
    };
    let html = || Response::new(tonic::body::Body::new("<html>".to_owned()));
    let headers =
        || Response::builder().header("x-long", "y".repeat(100_000)).body(tonic::body::Body::empty()).expect("well-formed");
    for answer in [redirect, garbage, html, headers] {
        let (hub, _guests) = Hub::new();
        let device = Device::start(answering(&hub, answer), Some(settings(&["hub.example"], hub.pin)), hub.pin);
        device.reports(HubState::Unreachable).await;
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert!((10..=40).contains(&device.network.dials()), "{}", device.network.dials());
        assert_eq!(device.memory.proofs.load(Ordering::Relaxed), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_never_ends_is_not_waited_for() {
    let drip = || {
        // A message of 300 KiB is announced, and comes a byte a second.
        let begin = tokio_stream::once(vec![0, 0, 4, 0xb0, 0]);
        let bytes = begin.chain(tokio_stream::iter(std::iter::repeat(vec![0x0a])).throttle(Duration::from_secs(1)));
        let body = StreamBody::new(bytes.map(|bytes| Ok::<_, Infallible>(Frame::data(Bytes::from(bytes)))));
        let answer = Response::builder().header("content-type", "application/grpc");
        answer.body(tonic::body::Body::new(body)).expect("well-formed")
    };
    let (hub, _guests) = Hub::new();
    let began = tokio::time::Instant::now();
    let device = Device::start(answering(&hub, drip), Some(settings(&["hub.example"], hub.pin)), hub.pin);
    let line = device.reports(HubState::Unreachable).await;
    assert!(line.contains("says nothing") && began.elapsed() <= Duration::from_secs(61), "{line} after {:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn hints_of_a_hub_are_bounded() {
    let (_device, _, mut guests) = Device::with_hub();
    let mut guest = Guest::next(&mut guests).await;
    guest.greets().await;
    guest.judges(verdict::Kind::Admitted(Admitted { heartbeat_seconds: 1, name: "\u{1b}[2J".repeat(1000) })).await;
    guest.takes_heartbeat().await;
    let began = tokio::time::Instant::now();
    guest.takes_heartbeat().await;
    assert!(began.elapsed() >= Duration::from_secs(25), "{:?}: a hub may not ask for more than one in 30 s", began.elapsed());
}
