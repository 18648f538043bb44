//! Why a node was not reached, and what to do about it.

use std::io;
use std::time::Duration;

use crate::failure::{Exit, Explain};

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
    pub(super) fn of_dial(address: Place, error: DialError) -> Self {
        match error {
            DialError::Resolve(source) => Self::Resolve { address, source },
            DialError::PortClosed => Self::PortClosed { address },
            DialError::Tcp(source) => Self::Tcp { address, source },
        }
    }
}

impl Explain for ConnectError {
    fn exit(&self) -> Exit {
        match self {
            Self::Resolve { .. }
            | Self::PortClosed { .. }
            | Self::Tcp { .. }
            | Self::Timeout { .. }
            | Self::NotTls13 { .. }
            | Self::Tls { .. }
            | Self::Http2 { .. } => Exit::Unreachable,
            Self::OwnCertificate { .. } => Exit::Permission,
            Self::Trust { .. } => Exit::Identity,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Resolve { .. } => "check the name, or give the address that the node's console shows".into(),
            Self::PortClosed { .. } => {
                format!(
                    "the machine is up, perhaps still booting; the API's port is {} unless api.port says otherwise",
                    api::DEFAULT_PORT
                )
            }
            Self::Timeout { address: Place::Hub { .. }, .. } => {
                "the hub holds the device's connection, yet the device does not answer in it; --timeout SECONDS waits longer"
                    .into()
            }
            Self::Tcp { .. } | Self::Timeout { .. } => {
                "check power, cable and address (the console shows it); --timeout SECONDS waits longer".into()
            }
            Self::NotTls13 { address: Place::Hub { .. } }
            | Self::Tls { address: Place::Hub { .. }, .. }
            | Self::Http2 { address: Place::Hub { .. }, .. } => {
                "something between here and the device changes or ends the connection; try again, and look into the hub's log"
                    .into()
            }
            Self::NotTls13 { .. } | Self::Tls { .. } | Self::Http2 { .. } => {
                format!("check that the address is a Skerry node's and the port its API's ({} by default)", api::DEFAULT_PORT)
            }
            Self::OwnCertificate { .. } => {
                "the key does not belong to the certificate; make a new pair with `skerryctl fleet cert`".into()
            }
            Self::Trust { source, .. } => trust_hint(source),
        })
    }
}

fn trust_hint(error: &TrustError) -> String {
    match error {
        TrustError::NotADevice(_) => {
            format!("check that the address is a Skerry node's and the port its API's ({} by default)", api::DEFAULT_PORT)
        }
        TrustError::Unproven => "something between here and the node answers in its place; do not send it anything".into(),
        TrustError::Mismatch { found, .. } => format!(
            "the address belongs to another device now, the disk was wiped, or someone answers in its place; if the device's \
             console or label shows {found}, use --device {found} and correct `nodes:` of the context file"
        ),
        TrustError::Unknown { found } => format!(
            "compare the id with the device's console or label, then use --device {found}, \
             or --trust-first-use to remember it as it is"
        ),
    }
}
