//! What can go wrong with a call, and what to do about it.

use std::time::Duration;

use jiff::Timestamp;

use crate::failure::{Exit, Explain};

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

impl Explain for CallError {
    fn exit(&self) -> Exit {
        match self {
            Self::Refused { .. } => Exit::Refused,
            Self::Certificate { .. } | Self::Role { .. } => Exit::Permission,
            Self::NotFound { .. } => Exit::NotFound,
            Self::Maintenance { .. } | Self::NotNow { .. } => Exit::NotNow,
            Self::Timeout { .. } | Self::Lost { .. } => Exit::Unreachable,
            Self::Unknown { .. } | Self::Failed { .. } => Exit::Failure,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Refused { code, .. } => refusal_hint(code).map(str::to_owned),
            Self::Certificate { problem, .. } => Some(problem.hint().into()),
            Self::Role { needs: Some(role), .. } => {
                Some(format!("use a certificate of role {role}: `skerryctl fleet cert --role {role}` makes one"))
            }
            Self::Role { needs: None, .. } => Some("make a certificate with a role: `skerryctl fleet cert`".into()),
            Self::Maintenance { .. } => Some("it has no configuration yet; apply a signed one: `skerryctl apply -f FILE`".into()),
            Self::Timeout { .. } => Some("try again with a longer --timeout SECONDS".into()),
            Self::Lost { .. } => Some("check that the node is up, then try again".into()),
            Self::Unknown { .. } => Some("its Skerry is older than this skerryctl; see `skerryctl version`".into()),
            Self::NotFound { .. } | Self::NotNow { .. } | Self::Failed { .. } => None,
        }
    }

    fn refusal_code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => Some(code),
            _ => None,
        }
    }
}

impl CertificateProblem {
    fn hint(&self) -> &'static str {
        match self {
            Self::Missing => "name a context with --context (a fleet folder has one), or a certificate with --cert",
            Self::Expired { .. } => "make a new one with `skerryctl fleet cert`; if it is still valid, the node's clock is wrong",
            Self::WrongCa { .. } => "use a certificate of the fleet whose CA stands in the node's api.clientCa",
            Self::Bad { .. } => "make a new one with `skerryctl fleet cert`",
        }
    }
}

/// The command that shows more, where the node's own words cannot name one.
fn refusal_hint(code: &str) -> Option<&'static str> {
    Some(match code {
        "size" | "utf8" | "envelope" | "schema" | "semantics" => "`skerryctl config validate FILE` shows the place",
        "target" => "`skerryctl get hardware` shows serial number and MAC addresses, `skerryctl status` the device id",
        "generation-older" | "generation-conflict" => "`skerryctl status` shows the generation in force",
        "key-unknown" | "signature" => "`skerryctl config verify FILE --fleet DIR` checks a file before it is sent",
        "fleet" => "`skerryctl status` shows the device's fleet",
        _ => return None,
    })
}
