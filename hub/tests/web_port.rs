//! The one port: devices by what they offer, everyone else gets pages.

mod support;

use std::time::Duration;

use api::hub::DEVICE_ALPN;
use hub::listen::Limits;
use support::TestHub;
use support::device::secure;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_gets_pages_and_a_device_its_own_protocol_on_the_same_port() {
    let hub = TestHub::start(Limits::default()).await;
    for alpn in [&[b"http/1.1".as_slice()][..], &[]] {
        let mut browser = secure(hub.address, &hub.pin, alpn).await.unwrap();
        browser.write_all(b"GET / HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut page = String::new();
        browser.read_to_string(&mut page).await.unwrap();
        assert!(page.starts_with("HTTP/1.1 200") && page.ends_with("hub"), "{page}");
    }
    let device = secure(hub.address, &hub.pin, &[DEVICE_ALPN]).await.unwrap();
    assert_eq!(device.get_ref().1.alpn_protocol(), Some(DEVICE_ALPN));
    let certificate = &device.get_ref().1.peer_certificates().unwrap()[0];
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).unwrap();
    assert_eq!(api::hub::pin(parsed.public_key().raw), hub.pin, "and sees the key it pins");
    assert!(secure(hub.address, &hub.pin, &[b"imap"]).await.is_err(), "nothing else is spoken here");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_never_ends_gives_its_place_back_when_the_connection_has_had_its_time() {
    let time = Duration::from_millis(300);
    let hub = TestHub::start(Limits { web_visit: time, web_answer: time, ..Limits::default() }).await;
    let mut slow = secure(hub.address, &hub.pin, &[b"http/1.1"]).await.unwrap();
    slow.write_all(b"POST / HTTP/1.1\r\nHost: hub\r\nContent-Length: 100\r\n\r\nx").await.unwrap();
    let mut rest = Vec::new();
    tokio::time::timeout(Duration::from_secs(10), slow.read_to_end(&mut rest)).await.expect("it is hung up on").ok();
    assert_eq!(rest, b"", "nothing was answered to half a form");
}
