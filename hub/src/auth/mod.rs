//! Who asks, and whether he may: API tokens, logins in browsers, an identity provider's word, and how often anybody may ask.
//!
//! It proves callers and nothing else: what a role may do stands in the table of routes ([`crate::rest::ROUTES`]). No password is kept; tokens and
//! cookies are 160 random bits and stand in the database as hashes.

mod caller;
mod cookie;
mod error;
pub mod oidc;
mod origin;
mod rates;
mod rights;
mod scope;
mod session;
mod sign_in;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, header};

use crate::listen::Peer;
use crate::model::people::{ApiToken, Role, User};
use crate::model::{Actor, Time};
use crate::store::Store;
use crate::tokens;
use rates::Rates;
use rights::Credential;

pub use caller::{CSRF_HEADER, Caller, Proof};
pub use error::AuthError;
pub use origin::is_same_origin;
pub use rates::Allowance;
pub use rights::Rights;
pub use scope::{Area, is_scope};
pub use session::{LOGIN_LIFE, end_logins_of_token};
pub use sign_in::{FAILED_PATH, routes};

/// Bytes of a token or cookie at most; ours are shorter.
const MAX_SECRET: usize = 256;
/// A token's last use is noted so often.
const TOUCH: Duration = Duration::from_secs(3600);

/// Proves callers. Clones are one.
#[derive(Clone)]
pub struct Auth {
    store: Store,
    rates: Arc<Rates>,
    oidc: Option<Arc<oidc::Provider>>,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auth").field("oidc", &self.oidc.is_some()).finish_non_exhaustive()
    }
}

impl Auth {
    /// Proves by this database; `oidc` is who else knows people.
    pub fn new(store: Store, allowance: Allowance, oidc: Option<oidc::Provider>) -> Self {
        Self { store, rates: Arc::new(Rates::new(allowance)), oidc: oidc.map(Arc::new) }
    }

    /// Whether people sign in with an identity provider: the sign-in page shows it.
    pub fn has_oidc(&self) -> bool {
        self.oidc.is_some()
    }

    /// What a person may do, by their groups or by hand.
    pub fn role_of(&self, user: &User) -> Option<Role> {
        self.oidc.as_ref().map_or(user.role, |provider| oidc::role_of(user, provider.roles()))
    }

    /// Counts a call of an address, before anything is looked up for it.
    ///
    /// # Errors
    /// [`AuthError::Often`]: it called too often.
    pub fn count_call(&self, from: IpAddr) -> Result<(), AuthError> {
        self.rates.count_address(from)
    }

    /// Who asks, by the token in `Authorization` or the cookie; a token counts first. Their calls are counted.
    ///
    /// # Errors
    /// Nobody is proven, or they call too often.
    pub async fn caller(&self, headers: &HeaderMap, peer: Peer, now: Time) -> Result<Caller, AuthError> {
        let caller = match bearer(headers)? {
            Some(token) => self.by_token(token, peer, now).await?,
            None => self.by_cookie(headers, peer, now).await?,
        };
        self.rates.count_caller(&caller.actor)?;
        Ok(caller)
    }

    /// Who looks at a page: by the cookie alone. Pages are for browsers; what a token may do, it does in the REST interface.
    ///
    /// # Errors
    /// Nobody is signed in, or they call too often.
    pub async fn visitor(&self, headers: &HeaderMap, peer: Peer, now: Time) -> Result<Caller, AuthError> {
        let caller = self.by_cookie(headers, peer, now).await?;
        self.rates.count_caller(&caller.actor)?;
        Ok(caller)
    }

    /// What tells whether what a caller opened may stay open.
    pub fn rights(&self, caller: &Caller) -> Rights {
        Rights::new(self.store.clone(), caller.credential.clone())
    }

    async fn by_token(&self, text: &str, peer: Peer, now: Time) -> Result<Caller, AuthError> {
        let token = self.store.api_token_of(text, now).await?.ok_or(AuthError::Credentials)?;
        if token.last_used.is_none_or(|last| now.since(last) >= TOUCH) {
            self.store.touch_api_token(&token.id, now).await?;
        }
        Ok(Caller {
            actor: actor_of(&token),
            name: token.name,
            role: token.role,
            scopes: token.scopes,
            address: peer.address,
            proof: Proof::Token,
            credential: Credential::Token(token.id),
        })
    }

    async fn by_cookie(&self, headers: &HeaderMap, peer: Peer, now: Time) -> Result<Caller, AuthError> {
        let text = cookie::find(headers, cookie::LOGIN).filter(|text| text.len() <= MAX_SECRET).ok_or(AuthError::Nobody)?;
        let login = self.store.login(text, now).await?.ok_or(AuthError::Over)?;
        let actor = session::actor_of(&login.user);
        Ok(Caller {
            name: session::name_of(&actor),
            actor,
            role: login.role,
            scopes: Default::default(),
            address: peer.address,
            proof: Proof::Cookie { csrf: login.csrf },
            credential: Credential::Login(tokens::hash(text)),
        })
    }
}

/// A token's name in the audit: those made on the hub's own host are the admin token.
fn actor_of(token: &ApiToken) -> Actor {
    if token.created_by == Actor::Host.to_string() { Actor::AdminToken } else { Actor::Token(token.name.clone()) }
}

/// The token in `Authorization: Bearer …`; none: there is no such header.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, AuthError> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let text = value.to_str().ok().and_then(|text| text.split_once(' '));
    match text {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && token.len() <= MAX_SECRET => Ok(Some(token.trim())),
        Some(_) | None => Err(AuthError::Credentials),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_a_bearer_token_is_taken_from_the_header() {
        let of = |text: &str| {
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_str(text).unwrap())]);
            bearer(&headers).map(|token| token.map(str::to_owned)).map_err(|error| error.code())
        };
        assert_eq!(bearer(&HeaderMap::new()).unwrap(), None);
        assert_eq!(of("Bearer ska_x"), Ok(Some("ska_x".into())));
        assert_eq!(of("bearer  ska_x "), Ok(Some("ska_x".into())));
        for bad in ["Basic a2ltOnB3", "ska_x", &format!("Bearer {}", "x".repeat(257))] {
            assert_eq!(of(bad), Err("credentials"), "{bad}");
        }
    }
}
