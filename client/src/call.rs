//! What can go wrong with a call, and what to do about it.

use std::time::Duration;

use jiff::Timestamp;

use super::Place;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The node refused the configuration.
    #[error("{address} refuses the configuration ({code}): {message}")]
    Refused {
        /// The node.
        address: Place,
        /// The stable code, e.g. `signature`.
        code: String,
        /// The node's own words.
        message: String,
    },
    /// The client certificate does not do.
    #[error("{address} refuses the call: {problem}")]
    Certificate {
        /// The node.
        address: Place,
        /// What is wrong with the certificate.
        problem: CertificateProblem,
    },
    /// The role may not call this.
    #[error("{address} refuses the call: {message}")]
    Role {
        /// The node.
        address: Place,
        /// The node's own words.
        message: String,
        /// The least role that may.
        needs: Option<&'static str>,
    },
    /// What was asked for is not there.
    #[error("{address}: {message}")]
    NotFound {
        /// The node.
        address: Place,
        /// The node's own words.
        message: String,
    },
    /// The node is in maintenance.
    #[error("{address} is in maintenance and does not answer this")]
    Maintenance {
        /// The node.
        address: Place,
    },
    /// The node cannot do it in its present state.
    #[error("{address} cannot do this now: {message}")]
    NotNow {
        /// The node.
        address: Place,
        /// The node's own words.
        message: String,
    },
    /// No answer in time.
    #[error("{address} does not answer {method} within {} s", timeout.as_secs_f32())]
    Timeout {
        /// The node.
        address: Place,
        /// The method.
        method: &'static str,
        /// The time allowed.
        timeout: Duration,
    },
    /// The connection broke.
    #[error("the connection to {address} broke during {method}: {message}")]
    Lost {
        /// The node.
        address: Place,
        /// The method.
        method: &'static str,
        /// What is known of it.
        message: String,
    },
    /// The node does not know the method.
    #[error("{address} does not know {method}")]
    Unknown {
        /// The node.
        address: Place,
        /// The method.
        method: &'static str,
    },
    /// Anything else the node reports.
    #[error("{address} fails at {method}: {message}")]
    Failed {
        /// The node.
        address: Place,
        /// The method.
        method: &'static str,
        /// The node's own words.
        message: String,
    },
}

/// What is wrong with a client certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateProblem {
    /// None was shown.
    #[error("it asks for a client certificate and none was shown")]
    Missing,
    /// Its time is over, or has not come on the node's clock.
    #[error("the certificate of `{name}` is not valid now (it ends {not_after})")]
    Expired {
        /// Its common name.
        name: String,
        /// Its end.
        not_after: Timestamp,
    },
    /// Another CA signed it.
    #[error("the certificate of `{name}` is not signed by the CA in the node's configuration")]
    WrongCa {
        /// Its common name.
        name: String,
    },
    /// Refused for another reason.
    #[error("the certificate of `{name}` is refused ({alert})")]
    Bad {
        /// Its common name.
        name: String,
        /// The TLS alert.
        alert: String,
    },
}
