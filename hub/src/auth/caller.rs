//! A proven caller: what every handler is told of who asks.

use std::collections::BTreeSet;
use std::net::IpAddr;

use axum::extract::FromRequestParts;
use http::request::Parts;
use sha2::{Digest as _, Sha256};

use super::error::AuthError;
use super::rights::Credential;
use super::scope::{self, Area};
use crate::model::people::Role;
use crate::model::{Actor, By, Time};

/// The header in which a page's own script repeats the login's word.
pub const CSRF_HEADER: &str = "x-csrf-token";

/// How somebody proved who he is.
#[derive(Clone, PartialEq, Eq)]
pub enum Proof {
    /// By an API token, which browsers do not send by themselves.
    Token,
    /// By a cookie, which browsers do: what changes something must repeat this word.
    Cookie {
        /// The word. Forms carry it in a field, scripts in [`CSRF_HEADER`].
        csrf: String,
    },
}

impl std::fmt::Debug for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Token => "Token",
            Self::Cookie { .. } => "Cookie",
        })
    }
}

/// Who asks.
#[derive(Debug, Clone)]
pub struct Caller {
    /// As the audit calls them.
    pub actor: Actor,
    /// As pages call them.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// What of that; empty: all of it.
    pub scopes: BTreeSet<String>,
    /// From where, verified by the connection.
    pub address: IpAddr,
    /// How they proved it.
    pub proof: Proof,
    pub(super) credential: Credential,
}

impl Caller {
    /// For the audit.
    pub fn by(&self, at: Time) -> By {
        By::new(self.actor.clone(), self.address.to_string(), at)
    }

    /// Whether they may do what needs this role, in this area; `writes` tells whether it changes anything.
    ///
    /// # Errors
    /// [`AuthError::Role`] or [`AuthError::Scope`].
    pub fn check(&self, needed: Role, area: Area, writes: bool) -> Result<(), AuthError> {
        if !self.role.includes(needed) {
            return Err(AuthError::Role { role: self.role, needed });
        }
        if scope::allow(&self.scopes, area, writes) { Ok(()) } else { Err(AuthError::Scope { area }) }
    }

    /// What forms repeat; none: nothing need be, the caller has a token.
    pub fn csrf(&self) -> Option<&str> {
        match &self.proof {
            Proof::Token => None,
            Proof::Cookie { csrf } => Some(csrf),
        }
    }

    /// Whether a change comes from the hub's own pages: whoever has a cookie must show the login's word.
    ///
    /// # Errors
    /// [`AuthError::Csrf`].
    pub fn check_csrf(&self, shown: Option<&str>) -> Result<(), AuthError> {
        match self.csrf() {
            None => Ok(()),
            // Hashes are compared, so that the time it takes says nothing.
            Some(csrf) if shown.is_some_and(|shown| Sha256::digest(shown) == Sha256::digest(csrf)) => Ok(()),
            Some(_) => Err(AuthError::Csrf),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = AuthError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, AuthError> {
        parts.extensions.get::<Self>().cloned().ok_or(AuthError::Nobody)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(proof: Proof) -> Caller {
        let address = "192.0.2.1".parse().unwrap();
        Caller {
            actor: Actor::User("kim".into()),
            name: "kim".into(),
            role: Role::Operator,
            scopes: BTreeSet::new(),
            address,
            proof,
            credential: Credential::Token("id".into()),
        }
    }

    #[test]
    fn a_cookie_alone_changes_nothing() {
        let page = caller(Proof::Cookie { csrf: "word".into() });
        assert!(page.check_csrf(Some("word")).is_ok());
        for shown in [None, Some(""), Some("wor"), Some("other")] {
            assert_eq!(page.check_csrf(shown).unwrap_err().code(), "csrf");
        }
        assert!(caller(Proof::Token).check_csrf(None).is_ok());
        assert!(!format!("{page:?}").contains("word"));
    }

    #[test]
    fn a_role_and_a_scope_must_both_allow_it() {
        let mut kim = caller(Proof::Token);
        assert_eq!(kim.check(Role::Admin, Area::Devices, false).unwrap_err().code(), "role");
        assert!(kim.check(Role::Reader, Area::Devices, true).is_ok());
        kim.scopes = BTreeSet::from(["devices:read".to_owned()]);
        assert!(kim.check(Role::Reader, Area::Devices, false).is_ok());
        assert_eq!(kim.check(Role::Reader, Area::Devices, true).unwrap_err().code(), "scope");
        assert_eq!(kim.check(Role::Reader, Area::Tokens, false).unwrap_err().code(), "scope");
    }
}
