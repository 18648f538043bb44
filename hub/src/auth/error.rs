//! Why somebody is not let through.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::StatusCode;

use super::oidc::OidcError;
use super::scope::Area;
use crate::model::people::Role;
use crate::rest::Failure;
use crate::store::StoreError;

/// Why somebody is not let through.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// Neither token nor cookie.
    #[error("cannot tell who asks: sign in, or send `Authorization: Bearer` with an API token")]
    Nobody,
    /// A token that does not count.
    #[error("cannot take this token: it is unknown, has expired or was revoked; make a new one")]
    Credentials,
    /// A login that does not count.
    #[error("cannot go on with this login: it has ended; sign in again")]
    Over,
    /// They may not.
    #[error("cannot do this as {role}: it needs the role {needed}")]
    Role {
        /// Who they are.
        role: Role,
        /// The least role that may.
        needed: Role,
    },
    /// Their token may not.
    #[error("cannot do this with this token: it lacks the scope `{area}`")]
    Scope {
        /// What it would need.
        area: Area,
    },
    /// A change that no page of the hub asked for.
    #[error("cannot take this change: it does not carry the login's word; load the page again")]
    Csrf,
    /// Another site's page asks.
    #[error("cannot take this from a page of another site")]
    Origin,
    /// Too many calls.
    #[error("cannot serve this caller now: it asks too often; wait {} s", wait.as_secs().max(1))]
    Often {
        /// How long to wait.
        wait: Duration,
    },
    /// A token with scopes in a browser.
    #[error("cannot sign in with this token: it is limited to some areas; use one without scopes")]
    Limited,
    /// The person has no role.
    #[error("cannot let {name} in: no role was given to them, nor to a group of theirs; ask an admin of this hub")]
    NoRole {
        /// As the identity provider calls them.
        name: String,
    },
    /// The person is locked out.
    #[error("cannot let {name} in: an admin locked them out")]
    Locked {
        /// As the identity provider calls them.
        name: String,
    },
    /// There is no identity provider.
    #[error("cannot sign in this way: this hub was started without an identity provider")]
    NoProvider,
    /// The identity provider did not vouch for them.
    #[error("cannot sign in with the identity provider")]
    Oidc(#[from] OidcError),
    /// The system gives no random bytes.
    #[error("cannot begin a login: the system gives no random bytes ({0})")]
    Random(String),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl IntoResponse for AuthError {
    fn into_response(self) -> Response {
        Failure::from(self).into_response()
    }
}

impl AuthError {
    /// A stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Nobody => "sign-in",
            Self::Credentials => "credentials",
            Self::Over => "login-over",
            Self::Role { .. } => "role",
            Self::Scope { .. } => "scope",
            Self::Csrf => "csrf",
            Self::Origin => "origin",
            Self::Often { .. } => "often",
            Self::Limited => "limited",
            Self::NoRole { .. } => "no-role",
            Self::Locked { .. } => "locked",
            Self::NoProvider => "no-provider",
            Self::Oidc(error) => error.code(),
            Self::Random(_) => "random",
            Self::Store(error) => error.code(),
        }
    }

    /// The status that says it in HTTP.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Nobody | Self::Credentials | Self::Over => StatusCode::UNAUTHORIZED,
            Self::Role { .. }
            | Self::Scope { .. }
            | Self::Csrf
            | Self::Origin
            | Self::Limited
            | Self::NoRole { .. }
            | Self::Locked { .. } => StatusCode::FORBIDDEN,
            Self::Often { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::NoProvider => StatusCode::NOT_FOUND,
            Self::Oidc(_) => StatusCode::BAD_GATEWAY,
            Self::Random(_) | Self::Store(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}
