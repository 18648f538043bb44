//! How a node is reached, in words: at its own address, or by way of a hub. For messages; nothing is decided by it.

use std::fmt;

use super::NodeAddress;

/// Where a node answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// At an address of its own.
    Address(NodeAddress),
    /// At the end of the connection it keeps to a hub.
    Hub {
        /// What the operator calls the device.
        device: String,
        /// The hub's address.
        hub: String,
    },
}

impl From<NodeAddress> for Place {
    fn from(address: NodeAddress) -> Self {
        Self::Address(address)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Hub { device, hub } => write!(f, "{device} (by way of {hub})"),
        }
    }
}
