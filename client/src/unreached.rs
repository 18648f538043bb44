//! Why a node was not reached, and what to do about it.

use std::io;
use std::time::Duration;

use super::Place;
use super::dial::DialError;
use super::trust::TrustError;

/// Why a node could not be reached, or is not the one meant.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name has no address.
    #[error("cannot reach {address}: its name cannot be resolved")]
    Resolve {
        /// The node.
        address: Place,
        /// What the resolver says.
        source: io::Error,
    },
    /// The machine answers, the port does not.
    #[error("cannot reach {address}: nothing listens on that port")]
    PortClosed {
        /// The node.
        address: Place,
    },
    /// Any other failure of TCP.
    #[error("cannot reach {address}")]
    Tcp {
        /// The node.
        address: Place,
        /// What the system says.
        source: io::Error,
    },
    /// No answer in time.
    #[error("cannot reach {address}: no answer within {} s", timeout.as_secs_f32())]
    Timeout {
        /// The node.
        address: Place,
        /// The time allowed.
        timeout: Duration,
    },
    /// What answers speaks no TLS 1.3.
    #[error("cannot talk to {address}: what answers does not speak TLS 1.3")]
    NotTls13 {
        /// The node.
        address: Place,
    },
    /// The handshake failed for another reason.
    #[error("cannot talk to {address}: the TLS handshake failed")]
    Tls {
        /// The node.
        address: Place,
        /// What went wrong.
        source: io::Error,
    },
    /// The operator's own certificate and key do not fit each other.
    #[error("cannot use the client certificate of `{name}`")]
    OwnCertificate {
        /// Its common name.
        name: String,
        /// What is wrong.
        source: rustls::Error,
    },
    /// The device is not the one meant, or not known.
    #[error("cannot trust {address}")]
    Trust {
        /// The node.
        address: Place,
        /// Why.
        source: TrustError,
    },
    /// HTTP/2 could not begin.
    #[error("cannot talk to {address}")]
    Http2 {
        /// The node.
        address: Place,
        /// What went wrong.
        source: tonic::transport::Error,
    },
}

impl ConnectError {
    pub(crate) fn of_dial(address: Place, error: DialError) -> Self {
        match error {
            DialError::Resolve(source) => Self::Resolve { address, source },
            DialError::PortClosed => Self::PortClosed { address },
            DialError::Tcp(source) => Self::Tcp { address, source },
        }
    }
}
