//! Many devices at once: what one of them costs the hub.

mod support;

use hub::listen::Limits;
use support::TestHub;
use support::device::{Call, key};

/// Bytes of this process that are in memory.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: usize = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
    pages * 4096
}

/// Both ends live in this process, and a device's end is not small: the bound is for the pair.
#[tokio::test(flavor = "multi_thread")]
async fn three_hundred_connected_devices_cost_a_bounded_amount_each() {
    let hub = TestHub::start(Limits { calls_at_once: 10_000, ..Limits::default() }).await;
    hub.directory.with(|notes| notes.everybody = true);
    let mut calls = Vec::new();
    for number in 0..20 {
        calls.push(Call::admitted(hub.address, &hub.pin, &key(number)).await.expect("admitted"));
    }
    let before = resident();
    for number in 20..320 {
        calls.push(Call::admitted(hub.address, &hub.pin, &key(number)).await.expect("admitted"));
    }
    assert_eq!(hub.sessions.count(), 320);
    let each = (resident() - before) / 300;
    println!("{each} bytes per device, both ends of the connection together");
    assert!(each < 256 << 10, "{each} bytes");
}
