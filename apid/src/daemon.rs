//! The daemon's life: connect to init, phone home if a hub is configured, listen where the settings say, report it, serve.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use api::internal::daemon_client::DaemonClient;
use api::internal::{ReportListeningRequest, Settings};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpSocket, UnixStream};
use tokio::sync::watch;
use tonic::transport::{Channel, Endpoint};
use tracing::{info, warn};

use crate::forward::Forwarder;
use crate::{home, local, server, settings};

/// Pause before a listening address that could not be bound is tried again.
const BIND_RETRY: Duration = Duration::from_secs(1);
/// Connections the kernel holds for us.
const BACKLOG: u32 = 128;

/// A channel to init's unix socket; it connects when first used and again whenever the connection breaks.
pub fn channel_to_init(socket: &Path) -> Channel {
    let socket = socket.to_owned();
    // The authority is a fixed word: the connector below decides where the bytes go.
    Endpoint::from_static("http://init").connect_with_connector_lazy(tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    }))
}

/// Runs until the process ends; restarts its listener when the settings move it to another address.
pub async fn run(socket: &Path) -> anyhow::Result<()> {
    let init = channel_to_init(socket);
    let (sender, mut current) = watch::channel(None);
    tokio::spawn(settings::follow(init.clone(), sender));
    let local = local::routes().await.context("cannot set up server reflection")?;
    let forwarder = Forwarder { init: init.clone(), local, settings: current.clone() };
    let places = server::places();
    tokio::spawn(home::run(forwarder.clone(), places.clone()));
    loop {
        let listen = wait_for_address(&mut current, None).await?;
        let listener = bind(&listen).await;
        let address = listener.local_addr().context("cannot read the listener's address")?.to_string();
        info!(%address, "listening");
        let request = ReportListeningRequest { address };
        if let Err(status) = DaemonClient::new(init.clone()).report_listening(request).await {
            warn!(%status, "cannot tell init that the API listens");
        }
        tokio::select! {
            () = server::serve(listener, forwarder.clone(), places.clone()) => {}
            moved = wait_for_address(&mut current, Some(&listen)) => { moved?; }
        }
    }
}

/// The address to listen on, as soon as the settings name one other than `present`.
async fn wait_for_address(current: &mut watch::Receiver<Option<Settings>>, present: Option<&str>) -> anyhow::Result<String> {
    let other = |settings: &Option<Settings>| settings.as_ref().is_some_and(|settings| Some(settings.listen.as_str()) != present);
    let settings = current.wait_for(other).await.context("the settings task ended")?;
    Ok(settings.as_ref().map(|settings| settings.listen.clone()).unwrap_or_default())
}

/// Binds, trying again while the address is taken: a device whose API cannot listen has no better thing to do.
async fn bind(listen: &str) -> TcpListener {
    loop {
        match try_bind(listen) {
            Ok(listener) => return listener,
            Err(error) => warn!(%listen, error = &*error as &dyn std::error::Error, "cannot listen; trying again"),
        }
        tokio::time::sleep(BIND_RETRY).await;
    }
}

fn try_bind(listen: &str) -> anyhow::Result<TcpListener> {
    let address: std::net::SocketAddr = listen.parse().with_context(|| format!("`{listen}` is not an address with a port"))?;
    let socket = if address.is_ipv6() { TcpSocket::new_v6() } else { TcpSocket::new_v4() }.context("cannot make a socket")?;
    socket.set_reuseaddr(true).context("cannot set SO_REUSEADDR")?;
    socket.bind(address).with_context(|| format!("cannot bind {address}"))?;
    socket.listen(BACKLOG).with_context(|| format!("cannot listen on {address}"))
}
