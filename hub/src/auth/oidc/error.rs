//! Why an identity provider's word is not taken.

use super::fetch::FetchError;

/// Why an identity provider's word is not taken.
#[derive(Debug, thiserror::Error)]
pub enum OidcError {
    /// Its description cannot be had.
    #[error("cannot read the identity provider's description: {reason}")]
    Discovery {
        /// Why.
        reason: String,
    },
    /// It said no.
    #[error("the identity provider says `{reason}`")]
    Denied {
        /// Its code.
        reason: String,
    },
    /// The browser came back with what it was not sent away with.
    #[error("this sign-in was begun elsewhere, or took too long; begin again")]
    State,
    /// The code was not exchanged.
    #[error("the identity provider gives no token: {reason}")]
    Exchange {
        /// Why.
        reason: String,
    },
    /// Its token does not hold.
    #[error("the identity provider's token does not hold: {reason}")]
    Token {
        /// Why.
        reason: String,
    },
    /// It cannot be reached.
    #[error("cannot reach the identity provider")]
    Fetch(#[from] FetchError),
}

impl OidcError {
    /// A stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Discovery { .. } | Self::Fetch(_) => "provider-unreachable",
            Self::Denied { .. } => "provider-denied",
            Self::State => "provider-state",
            Self::Exchange { .. } | Self::Token { .. } => "provider-token",
        }
    }
}

/// An error with its causes, in one line of a bounded length: some of it is the provider's own words.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    crate::model::text::bounded(&crate::rest::causes(error), 512)
}
