//! What can go wrong between here and a hub, and what to do about it.

use std::io;
use std::time::Duration;

use crate::failure::{Exit, Explain};
use client::DialError;

use super::{HubTrustError, HubUrl};

/// Why the hub did not do it.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// The context names no hub.
    #[error("no hub is known here")]
    NoHub,
    /// The address holds no name TLS can ask for.
    #[error("cannot reach {url}: its host is neither a DNS name nor an address")]
    Name {
        /// The hub.
        url: HubUrl,
    },
    /// No connection.
    #[error("cannot reach {url}")]
    Dial {
        /// The hub.
        url: HubUrl,
        /// Why.
        source: DialError,
    },
    /// No answer in time.
    #[error("{url} does not answer within {} s", timeout.as_secs_f32())]
    Timeout {
        /// The hub.
        url: HubUrl,
        /// The time allowed.
        timeout: Duration,
    },
    /// Somebody else answers.
    #[error("cannot trust {url}")]
    Trust {
        /// The hub.
        url: HubUrl,
        /// Why.
        source: HubTrustError,
    },
    /// No TLS 1.3, or another protocol inside.
    #[error("cannot talk to {url}: what answers is no Skerry hub")]
    NotAHub {
        /// The hub.
        url: HubUrl,
    },
    /// The handshake failed for another reason.
    #[error("cannot talk to {url}: the TLS handshake failed")]
    Tls {
        /// The hub.
        url: HubUrl,
        /// What went wrong.
        source: io::Error,
    },
    /// The connection broke.
    #[error("the connection to {url} broke")]
    Lost {
        /// The hub.
        url: HubUrl,
        /// What went wrong.
        source: hyper::Error,
    },
    /// The answer is longer than any.
    #[error("cannot take the answer of {url} to {asked}: it is longer than {limit} bytes")]
    TooLong {
        /// The hub.
        url: HubUrl,
        /// Method and path.
        asked: String,
        /// How long it may be.
        limit: usize,
    },
    /// The answer is none.
    #[error("cannot understand the answer of {url} to {asked}: {reason}")]
    Senseless {
        /// The hub.
        url: HubUrl,
        /// Method and path.
        asked: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The hub says no.
    #[error("{url} refuses: {message}")]
    Refused {
        /// The hub.
        url: HubUrl,
        /// The HTTP status.
        status: u16,
        /// Its stable code.
        code: String,
        /// Its own words.
        message: String,
    },
    /// The hub takes the configuration no more than a device would.
    #[error("{url} refuses the configuration ({code}): {message}")]
    Config {
        /// The hub.
        url: HubUrl,
        /// The stable code, e.g. `signature`.
        code: String,
        /// Its own words.
        message: String,
    },
    /// No such thing.
    #[error("{url} knows no {what} `{name}`")]
    Unknown {
        /// The hub.
        url: HubUrl,
        /// `device`, `configuration`.
        what: &'static str,
        /// What was asked for.
        name: String,
    },
    /// Several such things.
    #[error("{url} knows more than one {what} `{name}`: {}", all.join(", "))]
    Several {
        /// The hub.
        url: HubUrl,
        /// `device`, `configuration`.
        what: &'static str,
        /// What was asked for.
        name: String,
        /// What each is called exactly.
        all: Vec<String>,
    },
}

impl HubError {
    /// The same, when what was asked for was to take a configuration: a refusal is then the configuration's.
    pub(crate) fn of_config(self) -> Self {
        match self {
            Self::Refused { url, status: 400 | 409 | 413 | 422, code, message } => Self::Config { url, code, message },
            other => other,
        }
    }
}

impl Explain for HubError {
    fn exit(&self) -> Exit {
        match self {
            Self::NoHub | Self::Name { .. } => Exit::Usage,
            Self::Dial { .. } | Self::Timeout { .. } | Self::NotAHub { .. } | Self::Tls { .. } | Self::Lost { .. } => {
                Exit::Unreachable
            }
            Self::Trust { .. } => Exit::Identity,
            Self::TooLong { .. } | Self::Senseless { .. } => Exit::Failure,
            Self::Refused { status, code, .. } => refused_exit(*status, code),
            Self::Config { .. } => Exit::Refused,
            Self::Unknown { .. } => Exit::NotFound,
            Self::Several { .. } => Exit::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoHub => "log in with `skerryctl hub login URL`, or name another context file with --context".into(),
            Self::Name { .. } => "give https://NAME[:PORT]".into(),
            Self::Dial { .. } => "check the address; `skerry-hub serve` prints it when it starts".into(),
            Self::Timeout { .. } => "try again with a longer --timeout SECONDS".into(),
            Self::Trust { source, .. } => trust_hint(source).into(),
            Self::NotAHub { .. } | Self::Tls { .. } => "check that the address is a Skerry hub's TLS port".into(),
            Self::Lost { .. } => "check that the hub is up, then try again".into(),
            Self::TooLong { .. } => "ask for less, e.g. with --limit".into(),
            Self::Senseless { .. } => "its version may be another than this skerryctl's".into(),
            Self::Refused { status, code, .. } => return refused_hint(*status, code).map(str::to_owned),
            Self::Config { .. } => "`skerryctl config verify FILE --fleet DIR` checks a file before it is sent".into(),
            Self::Unknown { what: "device", .. } => "`skerryctl hub devices` lists them".into(),
            Self::Unknown { .. } => return None,
            Self::Several { .. } => "give one of these instead of the name".into(),
        })
    }

    fn refusal_code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } | Self::Config { code, .. } => Some(code),
            _ => None,
        }
    }
}

fn refused_exit(status: u16, code: &str) -> Exit {
    match (status, code) {
        (401 | 403, _) => Exit::Permission,
        (404, _) => Exit::NotFound,
        (409 | 423 | 429, _) | (_, "not-connected" | "device-refused" | "device-silent" | "replica-unreachable") => Exit::NotNow,
        _ => Exit::Failure,
    }
}

fn refused_hint(status: u16, code: &str) -> Option<&'static str> {
    Some(match (status, code) {
        (401, _) => "log in again with `skerryctl hub login URL`; `skerry-hub admin-token`, on the hub's host, makes a token",
        (403, _) => "`skerryctl hub whoami` shows what your token may do",
        (_, "not-connected") => "`skerryctl hub devices` shows when it was seen last",
        (429, _) => "wait a minute",
        _ => return None,
    })
}

fn trust_hint(error: &HubTrustError) -> &'static str {
    match error {
        HubTrustError::OtherKey { .. } => {
            "something answers in the hub's place, the hub's key was changed, or it shows browsers a certificate of its own (then log in \
             without --pin); compare with `skerry-hub pin` on the hub's host and log in again"
        }
        HubTrustError::Unvouched { .. } => {
            "compare the pin with `skerry-hub pin` on the hub's host; if it is the same, log in with --pin PIN"
        }
    }
}
