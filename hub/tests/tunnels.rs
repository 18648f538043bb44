//! Bytes between operators and devices: both ways, many at once, and one that is slow.

mod support;

use std::time::Duration;

use api::hub::v1::{TunnelClose, TunnelData, TunnelOpened, device_message, hub_message};
use hub::listen::Limits;
use hub::session::OpenError;
use machine_config::DeviceId;
use support::device::{Call, key};
use support::{TestHub, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

async fn hub_with_device() -> (TestHub, DeviceId, Call) {
    let hub = TestHub::start(Limits::default()).await;
    hub.directory.with(|notes| notes.everybody = true);
    let call = Call::admitted(hub.address, &hub.pin, &key(1)).await.expect("admitted");
    until("it is entered", || hub.sessions.count() == 1).await;
    (hub, DeviceId::of(&key(1).verifying_key()), call)
}

/// A device that sends back what it gets, in every tunnel but the one with the number `mute`, which it opens and ignores.
async fn echo(mut call: Call, mute: u32) {
    while let Some(kind) = call.next().await {
        match kind {
            hub_message::Kind::TunnelOpen(open) => {
                call.send(device_message::Kind::TunnelOpened(TunnelOpened { id: open.id })).await;
            }
            hub_message::Kind::TunnelData(TunnelData { id, data }) if id != mute => {
                call.send(device_message::Kind::TunnelData(TunnelData { id, data })).await;
            }
            // As much as the operator has taken back, the hub may send again.
            hub_message::Kind::TunnelCredit(credit) => {
                call.send(device_message::Kind::TunnelCredit(credit)).await;
            }
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_tunnels_carry_bytes_both_ways_beside_one_that_is_stuck() {
    let (hub, device, call) = hub_with_device().await;
    tokio::spawn(echo(call, 1));
    let mut stuck = hub.sessions.open_tunnel(&device, "kim").await.unwrap();
    let full = tokio::time::timeout(Duration::from_millis(300), stuck.write_all(&vec![0; 1 << 20])).await;
    assert!(full.is_err(), "no credit comes, so it waits");
    let mut others = Vec::new();
    for number in 0..7u8 {
        let mut end = hub.sessions.open_tunnel(&device, "kim").await.unwrap();
        others.push(tokio::spawn(async move {
            let sent = vec![number; 300 << 10];
            let mut back = vec![0; sent.len()];
            let (mut reader, mut writer) = tokio::io::split(&mut end);
            let (wrote, read) = tokio::join!(writer.write_all(&sent), reader.read_exact(&mut back));
            wrote.unwrap();
            read.unwrap();
            assert!(back == sent, "tunnel {number} gives back what was sent");
            end
        }));
    }
    let refused = hub.sessions.open_tunnel(&device, "kim").await.unwrap_err();
    assert!(matches!(refused, OpenError::Refused(_)), "a ninth: {refused}");
    for other in others {
        tokio::time::timeout(Duration::from_secs(20), other).await.expect("the stuck one delays nobody").unwrap();
    }
    drop(stuck);
    until("all tunnels are closed", || hub.metrics.tunnels.get() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_says_why_it_opens_no_tunnel() {
    let (hub, device, mut call) = hub_with_device().await;
    let asked = tokio::spawn({
        let (sessions, device) = (hub.sessions.clone(), device.clone());
        async move { sessions.open_tunnel(&device, "user:kim").await }
    });
    let Some(hub_message::Kind::TunnelOpen(open)) = call.next().await else { panic!("an order to open") };
    assert_eq!(open.who, "user:kim");
    call.send(device_message::Kind::TunnelClose(TunnelClose { id: open.id, reason: "too many".into() })).await;
    assert_eq!(asked.await.unwrap().unwrap_err(), OpenError::Refused("too many".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_learns_that_the_device_is_gone() {
    let (hub, device, call) = hub_with_device().await;
    let (gone, mut end) = {
        let echo = tokio::spawn(echo(call, 0));
        (echo, hub.sessions.open_tunnel(&device, "kim").await.unwrap())
    };
    gone.abort();
    let mut byte = [0];
    let ended = tokio::time::timeout(Duration::from_secs(10), end.read(&mut byte)).await.expect("at once");
    assert!(ended.is_err() || ended.unwrap() == 0);
    until("the session is over", || hub.sessions.count() == 0).await;
    assert_eq!(hub.sessions.open_tunnel(&device, "kim").await.unwrap_err(), OpenError::NotConnected);
}
