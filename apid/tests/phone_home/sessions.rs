//! How sessions go, and how they end and begin again.

use std::time::Duration;

use api::hub::v1::device_message::Kind as Says;
use api::hub::v1::hub_message::Kind;
use api::hub::v1::{Admitted, Ask, Pending, Refused, verdict};
use api::internal::HubState;
use api::v1::{Event, StatusResponse};
use tokio::time::Instant;

use super::device::{Device, Network, settings};
use super::hub::{Guest, Hub};

#[tokio::test(start_paused = true)]
async fn without_a_hub_no_connection_is_tried_in_a_month() {
    let device = Device::start(Network::default(), None, [0; 32]);
    tokio::time::sleep(Duration::from_secs(30 * 86_400)).await;
    assert_eq!(device.network.dials(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_device_proves_itself_answers_and_is_admitted() {
    let (device, _, mut guests) = Device::with_hub();
    let mut guest = Guest::next(&mut guests).await;
    let hello = guest.greets().await;
    assert_eq!((hello.protocol, hello.device_name.as_str(), hello.fleet.as_str()), (1, "store-0421", "acme"));
    assert_eq!(hello.release.map(|release| release.version), Some("0.1.0".into()));
    guest.says(Kind::Ask(Ask { join_token: true, inventory: true })).await;
    let Some(Says::Answer(answer)) = guest.hears().await else { panic!("no answer") };
    assert_eq!(answer.join_token, "skj_secret");
    assert_eq!(
        answer.inventory.and_then(|inventory| inventory.hardware).map(|hardware| hardware.serial),
        Some("FZ1234567".into())
    );
    guest.judges(verdict::Kind::Admitted(Admitted { heartbeat_seconds: 0, name: "box".into() })).await;
    let heartbeat = guest.takes_heartbeat().await;
    assert_eq!((heartbeat.number, heartbeat.r#use.map(|used| used.load_percent)), (1, Some(12)));
    assert_eq!(heartbeat.report.and_then(|report| report.status).map(|status| status.phase), Some("healthy".into()));
    assert_eq!(device.reports(HubState::Admitted).await, "as box");
    let quiet = guest.takes_heartbeat().await;
    assert_eq!((quiet.number, quiet.report), (2, None), "nothing changed");
}

#[tokio::test(start_paused = true)]
async fn only_what_was_asked_is_answered() {
    let (_device, _, mut guests) = Device::with_hub();
    let mut guest = Guest::next(&mut guests).await;
    guest.greets().await;
    guest.says(Kind::Ask(Ask { join_token: false, inventory: true })).await;
    let Some(Says::Answer(answer)) = guest.hears().await else { panic!("no answer") };
    assert!(answer.join_token.is_empty() && answer.inventory.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_changed_status_and_events_are_told() {
    let (device, _, mut guests) = Device::with_hub();
    let mut guest = Guest::next(&mut guests).await;
    guest.admits().await;
    let began = Instant::now();
    device
        .status
        .send_modify(|status| *status = Some(StatusResponse { healthy: true, uptime_ms: 5, ..StatusResponse::default() }));
    let heartbeat = guest.takes_heartbeat().await;
    assert!(heartbeat.report.and_then(|report| report.status).is_some_and(|status| status.healthy));
    assert!(began.elapsed() <= Duration::from_secs(10), "{:?}", began.elapsed());
    device.events.push(Event { sequence: 1, message: "a".into(), ..Event::default() });
    device.events.push(Event { sequence: 2, message: "b".into(), ..Event::default() });
    let events = |kind| match kind {
        Says::Events(events) => Some(events.events),
        _ => None,
    };
    let events = guest.waits_for(events).await;
    assert!(began.elapsed() <= Duration::from_secs(40), "{:?}", began.elapsed());
    assert_eq!(events.iter().map(|event| event.sequence).collect::<Vec<_>>(), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_pending_device_asks_again_and_is_admitted_in_the_end() {
    let (device, _, mut guests) = Device::with_hub();
    let mut guest = Guest::next(&mut guests).await;
    guest.greets().await;
    guest.judges(verdict::Kind::Pending(Pending { message: "approve it at\n/pending".into(), retry_seconds: 15 })).await;
    let began = Instant::now();
    assert_eq!(device.reports(HubState::Pending).await, "approve it at /pending");
    guest.is_left().await;
    drop(guest);
    let mut guest = Guest::next(&mut guests).await;
    assert!((12..=21).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    guest.admits().await;
}

#[tokio::test(start_paused = true)]
async fn refused_and_removed_devices_ask_seldom_and_for_ever() {
    for (code, retry_seconds, bounds) in [("token-used", 1, 240..=306), ("removed", 1, 2880..=3606)] {
        let (device, _, mut guests) = Device::with_hub();
        let mut guest = Guest::next(&mut guests).await;
        for _ in 0..3 {
            guest.greets().await;
            guest.judges(verdict::Kind::Refused(Refused { code: code.into(), message: "no".into(), retry_seconds })).await;
            let began = Instant::now();
            assert_eq!(device.reports(HubState::Refused).await, format!("no ({code})"));
            guest = Guest::next(&mut guests).await;
            assert!(bounds.contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_restarts_is_found_again() {
    let (device, hub, mut guests) = Device::with_hub();
    let mut guest = Guest::next(&mut guests).await;
    guest.admits().await;
    device.network.cut("hub.example");
    drop(guest);
    device.reports(HubState::Unreachable).await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(device.network.dials() < 40, "{} dials in an hour", device.network.dials());
    device.network.set_hub("hub.example", &hub);
    let back = Instant::now();
    Guest::next(&mut guests).await.admits().await;
    assert!(back.elapsed() <= Duration::from_secs(300), "{:?}", back.elapsed());
    device.reports(HubState::Admitted).await;
}

#[tokio::test(start_paused = true)]
async fn a_cable_plugged_in_after_hours_is_used_at_once() {
    let (device, hub, mut guests) = Device::with_hub();
    device.network.cut("hub.example");
    tokio::time::sleep(Duration::from_secs(7200)).await;
    device.network.set_hub("hub.example", &hub);
    let plugged = Instant::now();
    let addresses = vec!["eth0 192.0.2.7/24".to_owned()];
    device.status.send_modify(|status| *status = Some(StatusResponse { addresses, ..StatusResponse::default() }));
    Guest::next(&mut guests).await.admits().await;
    assert!(plugged.elapsed() <= Duration::from_secs(5), "{:?}", plugged.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_vanishes_without_a_word_is_noticed() {
    let (device, _, mut guests) = Device::with_hub();
    let mut guest = Guest::next(&mut guests).await;
    guest.admits().await;
    // It holds the connection and neither reads nor answers, as a half-open one.
    let began = Instant::now();
    let line = device.reports(HubState::Unreachable).await;
    assert!(began.elapsed() <= Duration::from_secs(181), "{:?}", began.elapsed());
    assert!(line.contains("does not answer heartbeats"), "{line}");
    Guest::next(&mut guests).await.admits().await;
    drop(guest);
}

#[tokio::test(start_paused = true)]
async fn configurations_are_judged_by_the_device_and_the_hub_is_told() {
    let (device, _, mut guests) = Device::with_hub();
    let mut guest = Guest::next(&mut guests).await;
    guest.admits().await;
    for (config, accepted, code, generation) in [(&b"forged"[..], false, "signature", 0), (b"good 7", true, "", 7)] {
        guest.offers(config).await;
        let outcome = guest.takes_outcome().await;
        assert_eq!((outcome.accepted, outcome.code.as_str(), outcome.generation), (accepted, code, generation));
        assert_eq!(outcome.digest.len(), 64);
    }
    assert_eq!(device.offered(), 2);
}

#[tokio::test(start_paused = true)]
async fn other_addresses_are_tried_and_settings_may_move_the_hub() {
    let (hub, mut guests) = Hub::new();
    let (other, mut others) = Hub::new();
    let network = Network::default();
    network.set_hub("b.example", &hub);
    network.set_hub("c.example", &other);
    let device = Device::start(network, Some(settings(&["a.example", "b.example"], hub.pin)), hub.pin);
    let mut guest = Guest::next(&mut guests).await;
    guest.admits().await;
    assert_eq!(device.network.dials(), 2);
    device.settings.send_replace(Some(settings(&["c.example"], other.pin)));
    Guest::next(&mut others).await;
    guest.is_left().await;
    device.settings.send_replace(None);
    tokio::time::sleep(Duration::from_secs(86_400)).await;
    assert_eq!(device.network.dials(), 3, "no hub any more");
}
