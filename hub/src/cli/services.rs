//! What the parts of a running hub share: the way for pages and REST to the database, the connected devices and the counters.

use std::sync::Arc;

use crate::metrics::Exposition;
use crate::session::Sessions;
use crate::store::Store;
use crate::tunnel::Tunnels;

/// The parts. Clones share them.
#[derive(Debug, Clone)]
pub struct Services {
    /// The database.
    pub store: Store,
    /// Devices connected to this process.
    pub sessions: Sessions,
    /// The way to a device, wherever it is connected.
    pub tunnels: Tunnels,
    /// What Prometheus reads.
    pub metrics: Exposition,
    /// What devices pin.
    pub pin: [u8; 32],
    /// How devices and people reach the hub, without a slash at its end; none: nobody said.
    pub url: Option<Arc<str>>,
}
