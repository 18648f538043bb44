//! init's side of the API: `skerry.v1.Node` and `skerry.internal.v1.Daemon` over one unix socket.
//!
//! Who may call what was decided by apid; here only root and apid's user are let in at all, by what the kernel says of the peer.

mod admitted;
mod caller;
mod containers;
mod daemon;
mod kmsg;
mod listener;
mod node;
mod refusal;
mod streams;
mod survey;
mod wire;

use std::path::Path;

use api::internal::daemon_server::DaemonServer;
use api::v1::{self, node_server::NodeServer};
use tonic::transport::Server;

use crate::hub::HubDesk;
use crate::node::{ApidSettingsWatch, ConfigHandle, Node, PowerHandle, Release};
use crate::services::Supervisor;

/// Calls of one connection that may be open at once: streams included, far more than people open.
const CONCURRENT_CALLS: u32 = 128;

/// Bytes of one request: the largest configuration, and a larger one by so little that it is refused in words.
const REQUEST_BYTES: usize = machine_config::MAX_CONFIG_BYTES + (64 << 10);

/// Everything the API speaks for. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Context {
    /// Events, status, boot times.
    pub node: Node,
    /// What this image is.
    pub release: Release,
    /// The services.
    pub supervisor: Supervisor,
    /// The configuration.
    pub config: ConfigHandle,
    /// Reboot and power-off.
    pub power: PowerHandle,
    /// What apid serves with.
    pub settings: ApidSettingsWatch,
    /// Speaks for the device to its hub.
    pub hub: HubDesk,
    /// Hardware and processes.
    pub inventory: Inventory,
}

/// How the API learns what the machine is and does. Each is handed the name of the boot disk, e.g. `vda`; empty while unknown.
#[derive(Debug, Clone, Copy)]
pub struct Inventory {
    /// What the machine is.
    pub hardware: fn(&str) -> v1::HardwareResponse,
    /// What it uses.
    pub resources: fn(&str) -> v1::ResourcesResponse,
    /// What runs on it.
    pub processes: fn() -> v1::ProcessesResponse,
}

/// Why the API is not served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The socket cannot be made.
    #[error("cannot listen on {}: is its folder there and writable?", path.display())]
    Listen {
        /// Where.
        path: std::path::PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The server gave up.
    #[error("the API server ended")]
    Server(#[from] tonic::transport::Error),
}

/// Serves on `socket` (on a device [`api::INIT_SOCKET`]) until the process ends.
pub async fn serve(context: Context, socket: &Path) -> Result<(), ServeError> {
    let listener = listener::bind(socket).map_err(|source| ServeError::Listen { path: socket.to_owned(), source })?;
    let incoming = listener::admitted(listener, context.node.events.clone());
    Server::builder()
        .max_concurrent_streams(CONCURRENT_CALLS)
        .add_service(NodeServer::new(node::NodeService::new(context.clone())).max_decoding_message_size(REQUEST_BYTES))
        .add_service(DaemonServer::new(daemon::DaemonService(context)).max_decoding_message_size(REQUEST_BYTES))
        .serve_with_incoming(incoming)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests;
