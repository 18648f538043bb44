//! Logins: beginning and ending them, and whose they are.
//!
//! A login's person is written as the audit writes them (`user:kim`, `token:ci`, `admin-token`), so that a name chosen at the identity provider is
//! never taken for a token.

use std::time::Duration;

use machine_config::types::Secret;

use super::error::AuthError;
use crate::model::people::{ApiToken, Login, Role};
use crate::model::{Actor, By, Time};
use crate::store::{Store, StoreError};
use crate::tokens;

/// How long a login lasts.
pub const LOGIN_LIFE: Duration = Duration::from_secs(12 * 3600);
const USER: &str = "user:";
const TOKEN: &str = "token:";

/// Whose login it is.
pub(super) fn actor_of(user: &str) -> Actor {
    if let Some(name) = user.strip_prefix(USER) {
        return Actor::User(name.to_owned());
    }
    match user.strip_prefix(TOKEN) {
        Some(name) => Actor::Token(name.to_owned()),
        None => Actor::AdminToken,
    }
}

/// What pages call them.
pub(super) fn name_of(actor: &Actor) -> String {
    match actor {
        Actor::User(name) | Actor::Token(name) => name.clone(),
        Actor::AdminToken | Actor::Device(_) | Actor::Rule(_) | Actor::Host | Actor::Stranger => actor.to_string(),
    }
}

/// Begins a login; its cookie's text. It ends with what it began with: `until` is when the token does.
pub(super) async fn begin(store: &Store, role: Role, until: Option<Time>, by: &By) -> Result<(Secret, Duration), AuthError> {
    let longest = by.at.after(LOGIN_LIFE);
    let expires_at = until.map_or(longest, |until| until.min(longest));
    let login = Login { user: by.actor.to_string(), role, csrf: random_word()?, created_at: by.at, expires_at };
    Ok((store.create_login(login, by).await?, expires_at.since(by.at)))
}

/// Ends the logins that began with a token which no longer counts.
///
/// # Errors
/// The database failed.
pub async fn end_logins_of_token(store: &Store, token: &ApiToken, by: &By) -> Result<(), StoreError> {
    store.end_logins_of(&super::actor_of(token).to_string(), by).await
}

/// 160 random bits as a word.
pub(super) fn random_word() -> Result<String, AuthError> {
    let mut bytes = [0; tokens::TOKEN_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| AuthError::Random(error.to_string()))?;
    Ok(tokens::text("", &bytes).expose().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_becomes_the_admin_token_by_a_name() {
        for actor in [
            Actor::User("admin-token".into()),
            Actor::User("token:ci".into()),
            Actor::Token("user:kim".into()),
            Actor::AdminToken,
        ] {
            assert_eq!(actor_of(&actor.to_string()), actor);
        }
    }
}
