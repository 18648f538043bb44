//! Tunnels: bytes pass whole and in order, both ways, and a slow reader holds up nobody else.

use std::collections::BTreeMap;
use std::time::Duration;

use api::hub::v1::device_message::Kind as Says;
use api::hub::v1::hub_message::Kind;
use api::hub::v1::{TunnelClose, TunnelCredit, TunnelData, TunnelOpen};

use super::device::Device;
use super::hub::Guest;

const PIECE: usize = 16 << 10;
const WINDOW: usize = 64 << 10;

fn open(id: u32, who: &str) -> Kind {
    Kind::TunnelOpen(TunnelOpen { id, who: who.into() })
}

async fn opens(guest: &mut Guest, id: u32, who: &str) {
    guest.says(open(id, who)).await;
    guest.waits_for(|kind| matches!(kind, Says::TunnelOpened(opened) if opened.id == id).then_some(())).await;
}

#[tokio::test(start_paused = true)]
async fn a_megabyte_goes_to_the_device_and_comes_back() {
    let (_device, _, mut guests) = Device::with_hub();
    let mut guest = Guest::next(&mut guests).await;
    guest.admits().await;
    opens(&mut guest, 5, "kim").await;
    let sent: Vec<u8> = (0..1_u32 << 18).flat_map(u32::to_le_bytes).collect();
    let (mut credit, mut at, mut back, mut unreturned) = (WINDOW, 0, Vec::new(), 0);
    while back.len() < sent.len() {
        while at < sent.len() && credit >= PIECE {
            guest.says(Kind::TunnelData(TunnelData { id: 5, data: sent[at..at + PIECE].to_vec() })).await;
            (at, credit) = (at + PIECE, credit - PIECE);
        }
        match guest.hears().await {
            Some(Says::TunnelData(data)) => {
                assert!(data.id == 5 && data.data.len() <= PIECE);
                unreturned += data.data.len();
                back.extend(data.data);
                if unreturned >= WINDOW / 2 {
                    let bytes = u32::try_from(std::mem::take(&mut unreturned)).expect("small");
                    guest.says(Kind::TunnelCredit(TunnelCredit { id: 5, bytes })).await;
                }
            }
            Some(Says::TunnelCredit(given)) => credit += given.bytes as usize,
            Some(Says::Heartbeat(_) | Says::Events(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(back == sent, "bytes were lost or changed");
    guest.says(Kind::TunnelClose(TunnelClose { id: 5, reason: String::new() })).await;
    opens(&mut guest, 6, "kim").await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_holds_up_no_other_tunnel_and_the_ninth_is_refused() {
    let (_device, _, mut guests) = Device::with_hub();
    let mut guest = Guest::next(&mut guests).await;
    guest.admits().await;
    // Seven whose reader gives no credit at all, and one that is read.
    for id in 1..=7 {
        opens(&mut guest, id, "flood").await;
    }
    opens(&mut guest, 8, "kim").await;
    guest.says(open(9, "kim")).await;
    let mut came: BTreeMap<u32, usize> = BTreeMap::new();
    let mut refused = String::new();
    for round in 0..20_u8 {
        guest.says(Kind::TunnelData(TunnelData { id: 8, data: vec![round; 100] })).await;
        let until = came.get(&8).copied().unwrap_or(0) + 100;
        while came.get(&8).copied().unwrap_or(0) < until {
            match guest.hears().await {
                Some(Says::TunnelData(data)) => *came.entry(data.id).or_default() += data.data.len(),
                Some(Says::TunnelClose(close)) if close.id == 9 => refused = close.reason,
                Some(Says::Heartbeat(_) | Says::Events(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(refused.contains("8 tunnels"), "{refused}");
    for (id, bytes) in came {
        assert!(bytes <= if id == 8 { 2000 } else { WINDOW }, "tunnel {id} sent {bytes} without credit");
    }
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_that_the_device_cannot_open_is_closed_with_its_reason() {
    let (_device, _, mut guests) = Device::with_hub();
    let mut guest = Guest::next(&mut guests).await;
    guest.admits().await;
    guest.says(open(1, "nobody")).await;
    let close = |kind| match kind {
        Says::TunnelClose(close) => Some(close),
        _ => None,
    };
    let close = guest.waits_for(close).await;
    assert_eq!((close.id, close.reason.as_str()), (1, "no place is free"));
}

#[tokio::test(start_paused = true)]
async fn heartbeats_go_on_while_tunnels_are_flooded() {
    let (_device, _, mut guests) = Device::with_hub();
    let mut guest = Guest::next(&mut guests).await;
    guest.admits().await;
    opens(&mut guest, 1, "flood").await;
    let mut beats = 0;
    let began = tokio::time::Instant::now();
    while beats < 3 {
        match guest.hears().await {
            Some(Says::TunnelData(data)) => {
                let bytes = u32::try_from(data.data.len()).expect("small");
                // A line of some kilobytes a second.
                tokio::time::sleep(Duration::from_secs(1)).await;
                guest.says(Kind::TunnelCredit(TunnelCredit { id: 1, bytes })).await;
            }
            Some(Says::Heartbeat(heartbeat)) => {
                beats += 1;
                let number = heartbeat.number;
                guest.says(Kind::HeartbeatReceived(api::hub::v1::HeartbeatReceived { number })).await;
            }
            Some(_) => {}
            None => panic!("the device left after {:?}", began.elapsed()),
        }
    }
    assert!(began.elapsed() <= Duration::from_secs(500), "{:?}", began.elapsed());
}
