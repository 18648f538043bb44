//! A hub in this process, with a directory in memory, and devices that speak the protocol byte by byte, well or badly.

#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of it")]

pub mod device;
pub mod memory;
pub mod node;

use std::net::SocketAddr;
use std::sync::Arc;

use hub::listen::{Door, Limits, Parts, serve};
use hub::metrics::Metrics;
use hub::session::{Devices, Sessions};
use hub::tls::{Certificates, HubKey, TlsConfigs};
use tokio::net::TcpListener;
use tokio::sync::watch;

use memory::Memory;

/// A hub in this process.
pub struct TestHub {
    pub address: SocketAddr,
    pub pin: [u8; 32],
    pub directory: Memory,
    pub sessions: Sessions,
    pub metrics: Metrics,
    stop: watch::Sender<bool>,
    data: tempfile::TempDir,
}

impl TestHub {
    pub async fn start(limits: Limits) -> Self {
        let data = tempfile::tempdir().expect("a folder");
        Self::start_at(limits, data, "127.0.0.1:0".parse().expect("an address"), Memory::default()).await
    }

    async fn start_at(limits: Limits, data: tempfile::TempDir, address: SocketAddr, directory: Memory) -> Self {
        let key = HubKey::open(data.path()).expect("a key");
        let (sessions, metrics) = (Sessions::default(), Metrics::default());
        let devices = Devices::new(key.pin(), directory.clone(), sessions.clone(), metrics.clone());
        let tls = TlsConfigs::new(Certificates { hub: &key, web: None }).expect("certificates");
        let page = axum::routing::get(|| async { "hub" }).post(|body: String| async { body });
        let web = axum::Router::new().route("/", page);
        let door = Door::new(Parts { devices, web, tls, limits, metrics: metrics.clone() });
        let listener = TcpListener::bind(address).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(serve(listener, Arc::clone(&door), stopped));
        Self { address, pin: key.pin(), directory, sessions, metrics, stop, data }
    }

    /// Stops it and starts it again at the same address, with the same key and the same directory.
    pub async fn restart(self, limits: Limits) -> Self {
        self.stop.send_replace(true);
        self.sessions.dismiss_all();
        until("all sessions are over", || self.sessions.count() == 0).await;
        Self::start_at(limits, self.data, self.address, self.directory).await
    }
}

/// Waits until something holds, for ten seconds at most.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if holds() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("it never came to this: {what}");
}
