//! What stands between a device and its hub: other keys, portals, proxies, silence.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::internal::HubState;
use apid::phone_home::{Address, HubSettings, Io, Proxy, Tcp};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

use super::device::{Device, Network, settings};
use super::hub::{Guest, Hub};

/// A network in which something else than the hub answers.
fn network(answer: impl Fn() -> Box<dyn Io> + Send + Sync + 'static) -> Network {
    let network = Network::default();
    network.set("hub.example", answer);
    network
}

/// A pipe whose other end says these bytes and then nothing.
fn says(bytes: &'static [u8]) -> Box<dyn Io> {
    let (device, mut other) = tokio::io::duplex(64 << 10);
    tokio::spawn(async move {
        drop(other.write_all(bytes).await);
        std::future::pending::<()>().await;
    });
    Box::new(device)
}

async fn line_of(network: Network, hub: &Hub) -> String {
    let device = Device::start(network, Some(settings(&["hub.example"], hub.pin)), hub.pin);
    device.reports(HubState::Unreachable).await
}

#[tokio::test(start_paused = true)]
async fn another_key_is_not_spoken_to_and_named() {
    let (hub, _guests) = Hub::new();
    let (thief, mut guests) = Hub::new();
    let network = Network::default();
    network.set_hub("hub.example", &thief);
    let line = line_of(network, &hub).await;
    assert!(line.contains("another key answered") && line.contains(&hex::encode(thief.pin)), "{line}");
    assert!(guests.try_recv().is_err(), "not one byte of a session");
}

#[tokio::test(start_paused = true)]
async fn a_captive_portal_is_named() {
    let (hub, _guests) = Hub::new();
    let line = line_of(network(|| says(b"HTTP/1.1 302 Found\r\nLocation: http://portal.example/\r\n\r\n")), &hub).await;
    assert!(line.contains("captive portal"), "{line}");
}

#[tokio::test(start_paused = true)]
async fn a_web_server_with_the_right_key_is_no_hub() {
    for alpn in [&b"h2"[..], b""] {
        let (hub, _guests) = Hub::new();
        let acceptor = hub.acceptor(alpn);
        let network = network(move || {
            let (device, other) = tokio::io::duplex(64 << 10);
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let _tls = acceptor.accept(other).await;
                std::future::pending::<()>().await;
            });
            Box::new(device)
        });
        let line = line_of(network, &hub).await;
        assert!(line.contains("does not speak the devices' protocol"), "{line}");
    }
}

#[tokio::test(start_paused = true)]
async fn silence_and_dripping_bytes_end_in_time() {
    let (hub, _guests) = Hub::new();
    let line = line_of(network(|| says(b"")), &hub).await;
    assert!(line.contains("no TLS handshake within"), "{line}");
    let drip = network(|| {
        let (device, mut other) = tokio::io::duplex(64 << 10);
        tokio::spawn(async move {
            // The beginning of a long TLS record, one byte at a time.
            for byte in b"\x16\x03\x03\x3f\xff".iter().chain(std::iter::repeat(&2)) {
                tokio::time::sleep(Duration::from_secs(1)).await;
                if other.write_all(&[*byte]).await.is_err() {
                    return;
                }
            }
        });
        Box::new(device)
    });
    let line = line_of(drip, &hub).await;
    assert!(line.contains("no TLS handshake within"), "{line}");
}

#[tokio::test(start_paused = true)]
async fn names_that_lead_nowhere_are_reported_and_tried_for_ever() {
    let (hub, _guests) = Hub::new();
    let device = Device::start(Network::default(), Some(settings(&["hub.example"], hub.pin)), hub.pin);
    let line = device.reports(HubState::Unreachable).await;
    assert!(line.contains("its name has no address"), "{line}");
    tokio::time::sleep(Duration::from_secs(86_400)).await;
    let dials = device.network.dials();
    assert!((288..=600).contains(&dials), "{dials} in a day");
}

/// A proxy: takes the request, answers, and on a good answer connects to the hub.
async fn proxy<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    mut stream: S,
    answer: &'static str,
    hub: Hub,
    seen: Arc<Mutex<String>>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    *seen.lock().expect("no panic under it") = String::from_utf8_lossy(&head).into_owned();
    drop(stream.write_all(answer.as_bytes()).await);
    if answer.contains(" 200 ") {
        hub.serve(stream).await;
    } else {
        drop(stream.read_to_end(&mut Vec::new()).await);
    }
}

fn by_proxy(hub: &Hub, tls: Option<[u8; 32]>) -> HubSettings {
    let mut settings = settings(&["hub.example"], hub.pin);
    settings.target.proxy = Some(Proxy {
        address: Address { host: "proxy.example".into(), port: 3128 },
        tls: tls.map(|pin| hex::encode(pin).parse().expect("a pin")),
        credentials: Some(("kim".into(), "hunter2".to_owned().into())),
    });
    settings
}

#[tokio::test(start_paused = true)]
async fn a_hub_is_reached_through_an_http_proxy() {
    let (hub, mut guests) = Hub::new();
    let (network, seen) = (Network::default(), Arc::<Mutex<String>>::default());
    let (behind, heard) = (hub.clone(), Arc::clone(&seen));
    network.set("proxy.example", move || {
        let (device, other) = tokio::io::duplex(64 << 10);
        tokio::spawn(proxy(other, "HTTP/1.1 200 OK\r\n\r\n", behind.clone(), Arc::clone(&heard)));
        Box::new(device)
    });
    let _device = Device::start(network, Some(by_proxy(&hub, None)), hub.pin);
    Guest::next(&mut guests).await.admits().await;
    let request = seen.lock().expect("no panic under it").clone();
    assert!(request.starts_with("CONNECT hub.example:443 HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("Proxy-Authorization: Basic a2ltOmh1bnRlcjI=\r\n"), "{request}");
}

#[tokio::test(start_paused = true)]
async fn a_hub_is_reached_through_a_pinned_https_proxy_and_no_other() {
    let (hub, mut guests) = Hub::new();
    let (proxy_key, _) = Hub::new();
    let (network, behind, acceptor) = (Network::default(), hub.clone(), proxy_key.acceptor(b""));
    network.set("proxy.example", move || {
        let (device, other) = tokio::io::duplex(64 << 10);
        let (acceptor, hub) = (acceptor.clone(), behind.clone());
        tokio::spawn(async move {
            let Ok(tls) = acceptor.accept(other).await else { return };
            proxy(tls, "HTTP/1.1 200 OK\r\n\r\n", hub, Arc::default()).await;
        });
        Box::new(device)
    });
    let device = Device::start(network.clone(), Some(by_proxy(&hub, Some(proxy_key.pin))), hub.pin);
    Guest::next(&mut guests).await.admits().await;
    drop(device);
    let device = Device::start(network, Some(by_proxy(&hub, Some([1; 32]))), hub.pin);
    let line = device.reports(HubState::Unreachable).await;
    assert!(line.contains("cannot speak TLS with the proxy proxy.example:3128") && line.contains("another key"), "{line}");
}

#[tokio::test(start_paused = true)]
async fn what_a_proxy_answers_is_told() {
    let cases = [
        ("HTTP/1.1 407 Who?\r\n\r\n", "user and password (407)"),
        ("HTTP/1.1 302 Found\r\nLocation: https://portal.example\r\n\r\n", "redirect (302), which is not followed"),
        ("HTTP/1.1 503 Busy\r\n\r\n", "it answered 503"),
        ("SSH-2.0-x\r\n\r\n", "no answer of an HTTP proxy"),
    ];
    for (answer, expected) in cases {
        let (hub, _guests) = Hub::new();
        let (network, behind) = (Network::default(), hub.clone());
        network.set("proxy.example", move || {
            let (device, other) = tokio::io::duplex(64 << 10);
            tokio::spawn(proxy(other, answer, behind.clone(), Arc::default()));
            Box::new(device)
        });
        let device = Device::start(network, Some(by_proxy(&hub, None)), hub.pin);
        let line = device.reports(HubState::Unreachable).await;
        assert!(line.contains("the proxy proxy.example:3128 does not connect") && line.contains(expected), "{line}");
    }
}

#[tokio::test]
async fn over_real_sockets_a_hub_is_found_behind_a_dead_address() {
    let (hub, mut guests) = Hub::new();
    let dead = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("bound").port();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let serving = hub.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serving.clone().serve(stream));
        }
    });
    let mut settings = settings(&["127.0.0.1", "localhost"], hub.pin);
    (settings.target.addresses[0].port, settings.target.addresses[1].port) = (dead, port);
    let device = Device::start_over(Arc::new(Tcp), Network::default(), Some(settings), hub.pin);
    Guest::next(&mut guests).await.admits().await;
    device.reports(HubState::Admitted).await;
}
