//! A hub in an attacker's hands: it has the hub's own key, so that devices believe it, admits everybody and offers whatever it is told to. What the devices
//! answer is written down. For attacks that speak no protocol at all, the bare key is handed out.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use api::hub::v1::{ConfigOutcome, Heartbeat};
use axum::Router;
use hub::listen::{Door, Limits, Parts, serve};
use hub::metrics::Metrics;
use hub::model::Time;
use hub::session::{Assigned, Attempt, Decision, Devices, Directory, DirectoryFailed, Noted, Offer, Proven, Sessions, Wanted};
use hub::tls::{Certificates, HubKey, TlsConfigs};
use machine_config::types::Digest;
use machine_config::{DeviceId, SigningKey};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// The attacker's hub.
#[derive(Debug)]
pub struct Takeover {
    /// The devices that believe it.
    pub sessions: Sessions,
    booty: Booty,
    stop: watch::Sender<bool>,
    served: tokio::task::JoinHandle<()>,
}

impl Takeover {
    /// Serves with the key of the hub in this folder at the hub's address.
    ///
    /// # Errors
    /// There is no key, or the address is taken.
    pub async fn begin(folder: &Path, address: SocketAddr) -> anyhow::Result<Self> {
        let key = HubKey::load(folder)?;
        let (sessions, metrics, booty) = (Sessions::default(), Metrics::default(), Booty::default());
        let devices = Devices::new(key.pin(), booty.clone(), sessions.clone(), metrics.clone());
        let tls = TlsConfigs::new(Certificates { hub: &key, web: None })?;
        let door = Door::new(Parts { devices, web: Router::new(), tls, limits: Limits::default(), metrics });
        let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen at {address}"))?;
        let (stop, stopped) = watch::channel(false);
        let served = tokio::spawn(serve(listener, door, stopped));
        Ok(Self { sessions, booty, stop, served })
    }

    /// Offers this to every device from now on.
    pub fn offer(&self, config: &[u8]) {
        let digest = Digest::of(config).to_string();
        self.booty.lock().offer = Some(Offer { digest, config: config.to_vec() });
        self.sessions.all_look_again();
    }

    /// What devices answered so far, oldest first.
    pub fn outcomes(&self) -> Vec<ConfigOutcome> {
        self.booty.lock().outcomes.clone()
    }

    /// Join tokens that devices were talked into showing.
    pub fn tokens(&self) -> Vec<String> {
        self.booty.lock().tokens.clone()
    }

    /// Gives up; the address is free then.
    pub async fn end(self) {
        self.stop.send_replace(true);
        self.sessions.dismiss_all();
        self.served.await.ok(); // it ends or it panicked; either way the port is free
    }
}

/// TLS with the key of the hub in this folder, as devices expect it, and nothing in it yet.
///
/// # Errors
/// There is no key.
pub fn acceptor(folder: &Path) -> anyhow::Result<TlsAcceptor> {
    let key = HubKey::load(folder)?;
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![key.certificate().clone()], key.private_key())?;
    config.alpn_protocols = vec![api::hub::DEVICE_ALPN.to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// A key that signs for no fleet.
pub fn forger() -> SigningKey {
    SigningKey::from_bytes(&[0xba; 32])
}

/// What the attacker offers and what comes of it.
#[derive(Debug, Clone, Default)]
struct Booty(Arc<Mutex<Notes>>);

#[derive(Debug, Default)]
struct Notes {
    offer: Option<Offer>,
    outcomes: Vec<ConfigOutcome>,
    tokens: Vec<String>,
}

impl Booty {
    fn lock(&self) -> MutexGuard<'_, Notes> {
        // Nothing that could panic happens under it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Directory for Booty {
    async fn wanted(&self, _: &Proven, _: &[u8]) -> Result<Wanted, DirectoryFailed> {
        Ok(Wanted { join_token: true, inventory: true })
    }

    async fn decide(&self, attempt: Attempt, _: IpAddr) -> Result<Decision, DirectoryFailed> {
        self.lock().tokens.extend(attempt.answer.map(|answer| answer.join_token));
        Ok(Decision::Admitted { name: "mine".into() })
    }

    async fn turned_away(&self, _: Option<&DeviceId>, _: IpAddr, _: &'static str) -> Result<(), DirectoryFailed> {
        Ok(())
    }

    async fn began(&self, _: &DeviceId, _: IpAddr, _: u64, _: Time) -> Result<Noted, DirectoryFailed> {
        Ok(Noted::Here)
    }

    async fn ended(&self, _: &DeviceId, _: u64) -> Result<(), DirectoryFailed> {
        Ok(())
    }

    async fn assigned(&self, _: &DeviceId, _: IpAddr, has: &[String]) -> Result<Assigned, DirectoryFailed> {
        let new = self.lock().offer.clone().filter(|offer| !has.contains(&offer.digest));
        Ok(new.map_or(Assigned::Nothing, Assigned::Offer))
    }

    async fn outcome(&self, _: &DeviceId, _: IpAddr, outcome: ConfigOutcome) -> Result<(), DirectoryFailed> {
        self.lock().outcomes.push(outcome);
        Ok(())
    }

    fn heard(&self, _: &DeviceId, _: IpAddr, _: Heartbeat) {}

    fn happened(&self, _: &DeviceId, _: Vec<api::v1::Event>) {}
}
