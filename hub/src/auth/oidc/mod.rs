//! People of an identity provider (OpenID Connect): authorization code with PKCE, state and nonce; what the provider signs about a person's
//! groups becomes a role here.
//!
//! The provider is asked from here over HTTPS, bounded in size and time, no redirect followed. Its tokens are looked at once and not kept.

mod error;
mod fetch;
mod options;
mod provider;
mod roles;

use std::time::Duration;

use machine_config::types::Secret;
use serde::{Deserialize, Serialize};

use super::error::AuthError;
use super::{Auth, session};
use crate::listen::Peer;
use crate::model::text::bounded;
use crate::model::{Actor, By, Time};
use crate::store::{Came, Entry};

pub use error::OidcError;
pub use options::{Options, OptionsError};
pub use provider::Provider;
pub use roles::{GroupRole, GroupRoleError, role_of};

/// How long a person may take at the provider.
pub(super) const STATE_LIFE: Duration = Duration::from_secs(600);

/// What the provider sends the browser back with.
#[derive(Deserialize)]
pub(super) struct Returned {
    code: Option<Secret>,
    state: Option<String>,
    error: Option<String>,
}

/// A sign-in on its way, kept until the browser comes back.
#[derive(Serialize, Deserialize)]
struct Begun {
    nonce: String,
    verifier: String,
    next: String,
}

/// What the provider says of a person.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Person {
    subject: String,
    display_name: String,
    groups: Vec<String>,
}

fn name_of(state: &str) -> String {
    format!("oidc:{}", hex::encode(crate::tokens::hash(state)))
}

impl Auth {
    fn provider(&self) -> Result<&Provider, AuthError> {
        self.oidc.as_deref().ok_or(AuthError::NoProvider)
    }

    /// Where to send the browser, and the state that its cookie keeps.
    pub(super) async fn begin_oidc(&self, next: &str, peer: Peer, now: Time) -> Result<(String, String), AuthError> {
        self.count_call(peer.address)?;
        let request = self.provider()?.begin(now).await?;
        let begun = Begun { nonce: request.nonce, verifier: request.verifier, next: next.to_owned() };
        let value = serde_json::to_string(&begun).expect("texts are JSON");
        self.store.put_once(&name_of(&request.state), &value, now, now.after(STATE_LIFE)).await?;
        Ok((request.url, request.state))
    }

    /// Where the person wanted to go, and the login's cookie. `begun` is the state that the browser kept.
    pub(super) async fn finish_oidc(
        &self,
        returned: Returned,
        begun: Option<&str>,
        peer: Peer,
        now: Time,
    ) -> Result<(String, Secret, Duration), AuthError> {
        self.count_call(peer.address)?;
        let provider = self.provider()?;
        let state = returned.state.filter(|state| begun == Some(state)).ok_or(OidcError::State)?;
        let value = self.store.take_once(&name_of(&state), now).await?.ok_or(OidcError::State)?;
        if let Some(error) = returned.error {
            return Err(OidcError::Denied { reason: bounded(&error, 64) }.into());
        }
        let begun: Begun = serde_json::from_str(&value).map_err(|_| OidcError::State)?;
        let code = returned.code.ok_or(OidcError::State)?;
        let person = provider.finish(code, begun.verifier, begun.nonce, now).await?;
        let (cookie, life) = self.let_in(person, provider, peer, now).await?;
        Ok((begun.next, cookie, life))
    }

    /// Writes down who came, and begins their login if they have a role.
    async fn let_in(&self, person: Person, provider: &Provider, peer: Peer, now: Time) -> Result<(Secret, Duration), AuthError> {
        let by = By::new(Actor::User(person.subject.clone()), peer.address.to_string(), now);
        let came = Came {
            name: person.subject,
            display_name: person.display_name,
            groups: person.groups,
            csrf: session::random_word()?,
            ends: now.after(session::LOGIN_LIFE),
        };
        let roles = provider.roles().to_vec();
        let (user, entry) = self.store.sign_in_user(came, move |user| role_of(user, &roles), &by).await?;
        match entry {
            Entry::Begun(cookie) => Ok((cookie, session::LOGIN_LIFE)),
            Entry::Locked => Err(AuthError::Locked { name: user.display_name }),
            Entry::NoRole => Err(AuthError::NoRole { name: user.display_name }),
        }
    }
}
