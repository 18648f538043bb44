//! Opening tunnels: finding the process that holds a device, writing down who opened what, and carrying bytes until somebody is done.
//!
//! Who may ask is decided before this; what is asked here is audited, at the beginning and at the end.

use std::io;
use std::pin::Pin;
use std::sync::Arc;

use axum::extract::ws::WebSocketUpgrade;
use axum::response::Response;
use machine_config::DeviceId;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::{info, warn};

use super::socket::{Carried, bounded, carry};
use crate::model::{By, Time};
use crate::replica::{ForwardError, Replicas};
use crate::session::{OpenError, Sessions};
use crate::store::{Store, StoreError};

/// Why there is no tunnel.
#[derive(Debug, thiserror::Error)]
pub enum TunnelError {
    /// No.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The process that holds the device gives none.
    #[error(transparent)]
    Forward(#[from] ForwardError),
    /// The database failed: nothing is opened that is not written down.
    #[error("cannot open a connection to the device: the hub's database failed")]
    Store(#[from] StoreError),
}

impl TunnelError {
    /// Its stable code in the REST interface.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Open(OpenError::NotConnected) => "not-connected",
            Self::Open(OpenError::Refused(_)) => "device-refused",
            Self::Open(OpenError::TimedOut) => "device-silent",
            Self::Forward(_) => "replica-unreachable",
            Self::Store(_) => "database",
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A tunnel to a device, wherever it is connected. Dropping it closes it.
pub struct Tunnel(Box<dyn Stream>);

impl std::fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tunnel").finish_non_exhaustive()
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut std::task::Context<'_>) -> std::task::Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut std::task::Context<'_>) -> std::task::Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// Where tunnels are opened. Clones are one.
#[derive(Debug, Clone)]
pub struct Tunnels {
    store: Store,
    sessions: Sessions,
    replicas: Arc<Replicas>,
}

impl Tunnels {
    /// For the devices of these sessions, and those of the hub's other processes.
    pub fn new(store: Store, sessions: Sessions, replicas: Arc<Replicas>) -> Self {
        Self { store, sessions, replicas }
    }

    /// Opens a tunnel for whoever asks, and answers his WebSocket. He is answered with an error, and no WebSocket, when there is none.
    ///
    /// # Errors
    /// The device is not connected or does not want, or the database failed.
    pub async fn serve(&self, by: By, device: DeviceId, upgrade: WebSocketUpgrade) -> Result<Response, TunnelError> {
        let tunnel = self.open(&by, &device).await?;
        let tunnels = self.clone();
        Ok(bounded(upgrade).on_upgrade(move |socket| async move {
            let carried = carry(socket, tunnel).await;
            tunnels.closed(by, &device, &carried).await;
        }))
    }

    /// Opens a tunnel for whoever asks, wherever the device is connected; that is written down first.
    ///
    /// # Errors
    /// The device is not connected or does not want, or the database failed.
    pub async fn open(&self, by: &By, device: &DeviceId) -> Result<Tunnel, TunnelError> {
        let who = by.actor.to_string();
        let tunnel = match self.replicas.elsewhere(device).await? {
            Some(replica) => Tunnel(Box::new(self.replicas.forward(&replica, device, &who).await?)),
            None => Tunnel(Box::new(self.sessions.open_tunnel(device, &who).await?)),
        };
        self.store.note(by, "tunnel.open", Some(device), json!({})).await?;
        info!(%device, who, address = by.address, "tunnel opened");
        Ok(tunnel)
    }

    /// A tunnel is over.
    pub async fn closed(&self, by: By, device: &DeviceId, carried: &Carried) {
        let Carried { up, down, reason } = carried;
        info!(%device, who = %by.actor, up, down, reason, "tunnel closed");
        let details = json!({ "up": up, "down": down, "reason": reason });
        let by = By { at: Time::now(), ..by };
        if let Err(error) = self.store.note(&by, "tunnel.close", Some(device), details).await {
            warn!(error = &error as &dyn std::error::Error, %device, "cannot write down that a tunnel closed");
        }
    }

    /// Opens a tunnel for another process of the hub, which has written it down. None: it does not show the processes' secret.
    ///
    /// # Errors
    /// The device is not connected here or does not want.
    pub async fn serve_replica(
        &self,
        secret: &[u8],
        who: &str,
        device: DeviceId,
        upgrade: WebSocketUpgrade,
    ) -> Result<Option<Response>, TunnelError> {
        if !self.replicas.knows(secret) {
            return Ok(None);
        }
        let end = self.sessions.open_tunnel(&device, who).await?;
        Ok(Some(bounded(upgrade).on_upgrade(move |socket| async move {
            carry(socket, end).await;
        })))
    }
}
