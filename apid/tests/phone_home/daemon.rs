//! The whole daemon: init says where the hub is, the hub lets an operator in, and the API answers through the tunnel.

#[path = "../common/mod.rs"]
#[allow(dead_code, reason = "the tests of the listener use the rest")]
mod common;

use std::sync::{Arc, Mutex};

use api::hub::v1::device_message::Kind as Says;
use api::hub::v1::hub_message::Kind;
use api::hub::v1::{TunnelClose, TunnelCredit, TunnelData, TunnelOpen};
use api::internal::{HubSettings, HubState};
use api::v1::node_client::NodeClient;
use api::v1::{RebootRequest, StatusRequest};
use common::{Ca, Device};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::TcpListener;

use super::hub::{Guest, Guests, Hub};

const FAR: i32 = 4000;

/// A hub on a real port, and a daemon whose init names it.
async fn daemon(ca: Option<&Ca>) -> (Device, Guests) {
    let device = Device::start(ca).await;
    let (hub, guests) = Hub::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let hub_settings = HubSettings {
        urls: vec![format!("https://127.0.0.1:{}", listener.local_addr().expect("bound").port())],
        pin: hex::encode(hub.pin),
        public_key: common::hub_key().verifying_key().to_bytes().to_vec(),
        ..HubSettings::default()
    };
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(hub.clone().serve(stream));
        }
    });
    device.change(|settings| settings.hub = Some(hub_settings));
    (device, guests)
}

/// What a hub does to the bytes of an operator.
#[derive(Clone, Copy, PartialEq)]
enum Hands {
    Honest,
    /// It changes a bit of each piece that goes to the device, but of the first, which greets.
    Tampering,
}

/// Opens a tunnel and moves its bytes: the hub's and the operator's part in one.
async fn tunnel(mut guest: Guest, hands: Hands) -> DuplexStream {
    guest.says(Kind::TunnelOpen(TunnelOpen { id: 1, who: "kim".into() })).await;
    while !matches!(guest.hears().await, Some(Says::TunnelOpened(_))) {}
    let (operator, mut bridge) = tokio::io::duplex(64 << 10);
    tokio::spawn(async move {
        let mut bytes = vec![0; 16 << 10];
        let mut pieces = 0;
        loop {
            tokio::select! {
                read = bridge.read(&mut bytes) => {
                    let length = read.unwrap_or(0);
                    if length == 0 {
                        guest.says(Kind::TunnelClose(TunnelClose { id: 1, reason: String::new() })).await;
                        return;
                    }
                    pieces += 1;
                    if hands == Hands::Tampering && pieces > 1 {
                        bytes[length - 1] ^= 1;
                    }
                    guest.says(Kind::TunnelData(TunnelData { id: 1, data: bytes[..length].to_vec() })).await;
                }
                heard = guest.hears() => match heard {
                    Some(Says::TunnelData(data)) => {
                        let bytes = u32::try_from(data.data.len()).expect("small");
                        drop(bridge.write_all(&data.data).await);
                        guest.says(Kind::TunnelCredit(TunnelCredit { id: 1, bytes })).await;
                    }
                    Some(Says::TunnelClose(_)) | None => break,
                    Some(_) => {}
                },
            }
        }
    });
    operator
}

/// A reader who comes through the hub.
async fn operator(
    device: &Device,
    ca: &Ca,
    guest: Guest,
    hands: Hands,
) -> Result<NodeClient<tonic::transport::Channel>, tonic::transport::Error> {
    let stream = Arc::new(Mutex::new(Some(tunnel(guest, hands).await)));
    let connect = move || {
        let stream = stream.lock().expect("no panic under it").take();
        async move { stream.ok_or_else(|| std::io::Error::other("one tunnel, one connection")) }
    };
    Ok(NodeClient::new(device.channel_over(Some(&ca.issue("kim", "reader", FAR)), connect).await?))
}

#[tokio::test]
async fn a_hub_that_changes_a_bit_in_a_tunnel_breaks_that_connection_and_nothing_else() {
    let ca = Ca::new("fleet");
    let (device, mut guests) = daemon(Some(&ca)).await;
    let mut guest = Guest::next(&mut guests).await;
    guest.admits().await;
    if let Ok(mut client) = operator(&device, &ca, guest, Hands::Tampering).await {
        // The client learns of it on its first read.
        let answer = client.status(StatusRequest {}).await.expect_err("no answer comes");
        assert_ne!(answer.message(), "reached init");
    }
    let mut direct = device.client(Some(&ca.issue("kim", "reader", FAR))).await.expect("connects");
    assert_eq!(direct.status(StatusRequest {}).await.expect_err("init answers with an error").message(), "reached init");
}

#[tokio::test]
async fn an_operator_reaches_the_api_through_the_hub_as_from_the_network() {
    let ca = Ca::new("fleet");
    let (device, mut guests) = daemon(Some(&ca)).await;
    let mut guest = Guest::next(&mut guests).await;
    let heartbeat = guest.admits().await;
    assert_eq!(heartbeat.number, 1);
    let mut standing = device.standing.clone();
    let admitted = standing.wait_for(|report| report.state() == HubState::Admitted).await.expect("init lives").clone();
    assert!(admitted.message == "as box" && admitted.address.starts_with("https://127.0.0.1:"), "{admitted:?}");
    let mut client = operator(&device, &ca, guest, Hands::Honest).await.expect("TLS through the tunnel");
    let answer = client.status(StatusRequest {}).await.expect_err("init answers with an error");
    assert_eq!(answer.message(), "reached init");
    assert_eq!(answer.metadata().get("seen-peer").and_then(|peer| peer.to_str().ok()), Some("kim"));
    let refused = client.reboot(RebootRequest {}).await.expect_err("a reader may not");
    assert_eq!(refused.code(), tonic::Code::PermissionDenied);
}

#[tokio::test]
async fn what_init_says_of_a_configuration_is_what_the_hub_hears() {
    let (_device, mut guests) = daemon(None).await;
    let mut guest = Guest::next(&mut guests).await;
    guest.admits().await;
    for (config, code) in [(&b"junk"[..], "envelope"), (b"busy", "unavailable")] {
        guest.offers(config).await;
        let outcome = guest.takes_outcome().await;
        assert_eq!((outcome.accepted, outcome.code.as_str()), (false, code));
    }
}
