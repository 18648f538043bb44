//! The hub's own processes: which of them holds a device, how one asks another for a tunnel, and how each learns what was changed at another.
//!
//! They meet in the database and nowhere else; a process that is gone is forgotten after half a minute. Each of them needs the same hub key,
//! which is also what they know each other by.

mod client;
mod follow;
mod refusal;
mod secret;

use std::sync::Arc;

use machine_config::DeviceId;
use rustls::ClientConfig;
use tokio::io::DuplexStream;
use tokio::sync::watch;
use tracing::warn;

use crate::model::{Replica, Time};
use crate::store::{REPLICA_LIFE, Store, StoreError};
use crate::tls::{HubKey, REPLICA_ALPN, pinned_client};

pub use client::ForwardError;
pub use follow::follow;
pub use secret::Secret;

pub(crate) use client::{PATH, SECRET_HEADER, WHO_HEADER};
pub(crate) use refusal::{code as refusal_code, tell};

/// This process among the hub's.
#[derive(Debug, Clone)]
pub struct Replicas {
    store: Store,
    id: String,
    address: String,
    secret: Secret,
    tls: Arc<ClientConfig>,
}

impl Replicas {
    /// Joins; the others reach this process at `address`, and have the same key.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn join(store: Store, address: String, key: &HubKey) -> Result<Self, getrandom::Error> {
        let mut random = [0; 8];
        getrandom::fill(&mut random)?;
        let tls = Arc::new(pinned_client(key.pin(), REPLICA_ALPN));
        Ok(Self { store, id: hex::encode(random), address, secret: Secret::of(key), tls })
    }

    /// Names this process; made anew at each start.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether somebody showed the secret of the hub's processes.
    pub fn knows(&self, shown: &[u8]) -> bool {
        self.secret.is(shown)
    }

    /// Says that this process lives until it is told to stop, and then that it ended.
    pub async fn live(self, mut stop: watch::Receiver<bool>) {
        let mut tick = tokio::time::interval(REPLICA_LIFE / 3);
        loop {
            let stopped = tokio::select! {
                _ = tick.tick() => false,
                _ = stop.wait_for(|stop| *stop) => true,
            };
            if stopped {
                break;
            }
            let replica = Replica { id: self.id.clone(), address: self.address.clone(), heartbeat_at: Time::now() };
            if let Err(error) = self.store.replica_beat(replica).await {
                warn!(error = &error as &dyn std::error::Error, "cannot tell the hub's other processes that this one lives");
            }
        }
        if let Err(error) = self.store.replica_end(&self.id).await {
            warn!(error = &error as &dyn std::error::Error, "cannot tell the hub's other processes that this one ends");
        }
    }

    /// Which other process holds a device; none: this one, or nobody.
    pub async fn elsewhere(&self, device: &DeviceId) -> Result<Option<Replica>, StoreError> {
        let found = self.store.stream_of(device, Time::now()).await?;
        Ok(found.map(|(_, replica)| replica).filter(|replica| replica.id != self.id))
    }

    /// Opens a tunnel by way of the process that holds the device.
    pub async fn forward(&self, replica: &Replica, device: &DeviceId, who: &str) -> Result<DuplexStream, ForwardError> {
        let wanted = client::Wanted { address: &replica.address, device, who, secret: &self.secret };
        client::open(Arc::clone(&self.tls), wanted).await
    }
}
