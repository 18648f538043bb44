//! Opening tunnels: finding the process that holds a device, writing down who opened what, and carrying bytes until somebody is done.
//!
//! Who may ask is decided before this; what is asked here is audited, at the beginning and at the end.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::ws::WebSocketUpgrade;
use axum::response::Response;
use machine_config::DeviceId;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::{debug, info, warn};

use super::holders::{Enough, Held, Holders};
use super::socket::{Carried, bounded, carry};
use crate::model::{By, Time};
use crate::replica::{ForwardError, Replicas, refusal_code};
use crate::session::{OpenError, Sessions};
use crate::store::{Store, StoreError};

/// Why there is no tunnel.
#[derive(Debug, thiserror::Error)]
pub enum TunnelError {
    /// No.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Who asks, or everybody, has enough of them.
    #[error("cannot open another connection: {0}")]
    Enough(#[from] Enough),
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
            Self::Open(error) | Self::Forward(ForwardError::Device(error)) => refusal_code(error),
            Self::Enough(_) => "too-many-tunnels",
            Self::Forward(_) => "replica-unreachable",
            Self::Store(_) => "database",
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A tunnel to a device, wherever it is connected. Dropping it closes it; nothing more is read from it when the rights of who opened it end.
pub struct Tunnel {
    stream: Box<dyn Stream>,
    /// Completes when they do; none: they did.
    ended: Option<Ended>,
    _held: Held,
}

type Ended = Pin<Box<dyn Future<Output = ()> + Send>>;

impl std::fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tunnel").finish_non_exhaustive()
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ended.as_mut().is_some_and(|ended| ended.as_mut().poll(context).is_ready()) {
            self.ended = None;
        }
        match &self.ended {
            Some(_) => Pin::new(&mut self.stream).poll_read(context, buffer),
            None => {
                Poll::Ready(Err(io::Error::new(io::ErrorKind::PermissionDenied, "the token or login of who opened it has ended")))
            }
        }
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Where tunnels are opened. Clones are one.
#[derive(Debug, Clone)]
pub struct Tunnels {
    store: Store,
    sessions: Sessions,
    replicas: Arc<Replicas>,
    holders: Holders,
}

impl Tunnels {
    /// For the devices of these sessions, and those of the hub's other processes.
    pub fn new(store: Store, sessions: Sessions, replicas: Arc<Replicas>) -> Self {
        Self { store, sessions, replicas, holders: Holders::default() }
    }

    /// Opens a tunnel for whoever asks, and answers his WebSocket. He is answered with an error, and no WebSocket, when there is none. It is
    /// closed when `ended` completes: his rights end.
    ///
    /// # Errors
    /// The device is not connected or does not want, there are enough, or the database failed.
    pub async fn serve(
        &self,
        by: By,
        device: DeviceId,
        ended: impl Future<Output = ()> + Send + 'static,
        upgrade: WebSocketUpgrade,
    ) -> Result<Response, TunnelError> {
        let tunnel = self.open(&by, &device, ended).await?;
        let tunnels = self.clone();
        Ok(bounded(upgrade).on_upgrade(move |socket| async move {
            let carried = carry(socket, tunnel).await;
            tunnels.closed(by, &device, &carried).await;
        }))
    }

    /// Opens a tunnel for whoever asks, wherever the device is connected; that is written down first. It is of no more use when `ended`
    /// completes: his rights end.
    ///
    /// # Errors
    /// The device is not connected or does not want, there are enough, or the database failed.
    pub async fn open(
        &self,
        by: &By,
        device: &DeviceId,
        ended: impl Future<Output = ()> + Send + 'static,
    ) -> Result<Tunnel, TunnelError> {
        let who = by.actor.to_string();
        let held = self.holders.hold(&who, device)?;
        let stream = self.reach(device, &who).await?;
        let tunnel = Tunnel { stream, ended: Some(Box::pin(ended)), _held: held };
        self.store.note(by, "tunnel.open", Some(device), json!({})).await?;
        info!(%device, who, address = by.address, "tunnel opened");
        Ok(tunnel)
    }

    /// The device's side, by way of the process that holds it, as far as the database knows. What it knows may be a moment old: a session of this
    /// process counts if that one has none.
    async fn reach(&self, device: &DeviceId, who: &str) -> Result<Box<dyn Stream>, TunnelError> {
        if let Some(replica) = self.replicas.elsewhere(device).await? {
            match self.replicas.forward(&replica, device, who).await {
                Ok(stream) => return Ok(Box::new(stream)),
                Err(error) if !self.sessions.has(device) => return Err(error.into()),
                Err(error) => debug!(%device, error = &error as &dyn std::error::Error, "the device is connected here"),
            }
        }
        Ok(Box::new(self.sessions.open_tunnel(device, who).await?))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Actor, Replica, Stream as Held};
    use crate::session::{Mailbox, Wish};
    use crate::tls::HubKey;
    use crate::tunnel::pipe;

    /// The device came back to this process, and the database still names the one that is gone.
    #[tokio::test]
    async fn a_device_that_is_connected_here_is_reached_whatever_the_database_says() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_folder(folder.path(), Time::now()).await.unwrap();
        let device: DeviceId = "ab".repeat(32).parse().unwrap();
        let by = By::new(Actor::Host, "", Time::now());
        let gone = Replica { id: "gone".into(), address: "127.0.0.1:1".into(), heartbeat_at: Time::now() };
        store.replica_beat(gone).await.unwrap();
        let held = Held { device: device.clone(), replica: "gone".into(), session: "gone:1".into(), since: Time::now() };
        store.stream_open(held, &by).await.unwrap();
        let key = HubKey::open(folder.path()).unwrap();
        let (sessions, mailbox) = (Sessions::default(), Arc::new(Mailbox::default()));
        let replicas = Replicas::join(store.clone(), "127.0.0.1:2".into(), &key).unwrap();
        let tunnels = Tunnels::new(store, sessions.clone(), Arc::new(replicas));
        let none = tunnels.open(&by, &device, std::future::pending()).await.unwrap_err();
        assert_eq!(none.code(), "replica-unreachable");

        let _entry = sessions.enter(device.clone(), Arc::clone(&mailbox));
        let answering = tokio::spawn(async move {
            loop {
                mailbox.bell().notified().await;
                if let Some(Wish::Open { answer, .. }) = mailbox.take().pop() {
                    let (operator, session) = pipe(Arc::clone(mailbox.bell()));
                    session.opened();
                    answer.send(Ok(operator)).unwrap();
                    return session;
                }
            }
        });
        tunnels.open(&by, &device, std::future::pending()).await.expect("by way of this process");
        answering.await.unwrap();
    }
}
