//! Signing in and out in a browser: with an API token, or with the identity provider. The pages themselves are the web UI's; what goes wrong is
//! told to its sign-in page as a code.

use std::time::Duration;

use axum::Router;
use axum::extract::{Extension, Form, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use machine_config::types::Secret;
use serde::Deserialize;
use tracing::info;

use super::error::AuthError;
use super::oidc::{Returned, STATE_LIFE};
use super::origin::own_path;
use super::{Auth, MAX_SECRET, Proof, actor_of, cookie, is_same_origin, session};
use crate::listen::Peer;
use crate::model::{By, Time};
use crate::rest::causes;

/// The page that asks who one is; `?error=CODE` says what went wrong, `?next=PATH` where to go afterwards.
pub const FAILED_PATH: &str = "/sign-in";
/// Bytes of a sign-in form at most.
const MAX_FORM: usize = 4 << 10;

/// The routes: `POST /sign-in/token`, `GET /sign-in/oidc`, `GET /sign-in/oidc/callback`, `POST /sign-out`.
pub fn routes(auth: Auth) -> Router {
    Router::new()
        .route("/sign-in/token", post(with_token))
        .route("/sign-in/oidc", get(to_provider))
        .route("/sign-in/oidc/callback", get(from_provider))
        .route("/sign-out", post(sign_out))
        .layer(axum::extract::DefaultBodyLimit::max(MAX_FORM))
        .with_state(auth)
}

/// The form of the sign-in page.
#[derive(Deserialize)]
struct TokenForm {
    token: Secret,
    next: Option<String>,
}

#[derive(Deserialize)]
struct Next {
    next: Option<String>,
}

#[derive(Deserialize)]
struct SignOut {
    csrf: Option<String>,
}

async fn with_token(
    State(auth): State<Auth>,
    Extension(peer): Extension<Peer>,
    uri: Uri,
    headers: HeaderMap,
    Form(form): Form<TokenForm>,
) -> Response {
    let next = own_path(form.next.as_deref());
    match auth.sign_in_with_token(form.token.expose().trim(), is_same_origin(&headers, &uri), peer, Time::now()).await {
        Ok((cookie, life)) => go(next, [cookie::set(cookie::LOGIN, cookie.expose(), life)]),
        Err(error) => back(&error, next),
    }
}

async fn to_provider(State(auth): State<Auth>, Extension(peer): Extension<Peer>, Query(asked): Query<Next>) -> Response {
    let next = own_path(asked.next.as_deref());
    match auth.begin_oidc(next, peer, Time::now()).await {
        Ok((url, state)) => go(&url, [cookie::set(cookie::STATE, &state, STATE_LIFE)]),
        Err(error) => back(&error, next),
    }
}

async fn from_provider(
    State(auth): State<Auth>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    Query(returned): Query<Returned>,
) -> Response {
    let begun = cookie::find(&headers, cookie::STATE);
    match auth.finish_oidc(returned, begun, peer, Time::now()).await {
        Ok((next, cookie, life)) => go(
            own_path(Some(&next)),
            [cookie::set(cookie::LOGIN, cookie.expose(), life), cookie::set(cookie::STATE, "", Duration::ZERO)],
        ),
        Err(error) => back(&error, "/"),
    }
}

async fn sign_out(
    State(auth): State<Auth>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    Form(form): Form<SignOut>,
) -> Response {
    match auth.sign_out(&headers, form.csrf.as_deref(), peer, Time::now()).await {
        Ok(()) => go(FAILED_PATH, [cookie::set(cookie::LOGIN, "", Duration::ZERO)]),
        Err(error) => back(&error, "/"),
    }
}

/// Sends the browser on.
fn go(to: &str, cookies: impl IntoIterator<Item = HeaderValue>) -> Response {
    let Ok(location) = HeaderValue::from_str(to) else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    let mut response =
        (StatusCode::SEE_OTHER, [(header::LOCATION, location), (header::CACHE_CONTROL, HeaderValue::from_static("no-store"))])
            .into_response();
    for cookie in cookies {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

/// Sends the browser back to the sign-in page, which says what went wrong.
fn back(error: &AuthError, next: &str) -> Response {
    info!(code = error.code(), reason = causes(error), "a sign-in failed");
    // `own_path` leaves nothing that would end the value but these two.
    let next = next.replace('%', "%25").replace('&', "%26").replace('#', "%23").replace('+', "%2B");
    go(&format!("{FAILED_PATH}?error={}&next={next}", error.code()), [])
}

impl Auth {
    async fn sign_in_with_token(&self, text: &str, is_own: bool, peer: Peer, now: Time) -> Result<(Secret, Duration), AuthError> {
        self.count_call(peer.address)?;
        if !is_own {
            return Err(AuthError::Origin);
        }
        if text.len() > MAX_SECRET {
            return Err(AuthError::Credentials);
        }
        let token = self.store.api_token_of(text, now).await?.ok_or(AuthError::Credentials)?;
        if !token.scopes.is_empty() {
            return Err(AuthError::Limited);
        }
        let by = By::new(actor_of(&token), peer.address.to_string(), now);
        session::begin(&self.store, token.role, token.expires_at, &by).await
    }

    async fn sign_out(&self, headers: &HeaderMap, csrf: Option<&str>, peer: Peer, now: Time) -> Result<(), AuthError> {
        self.count_call(peer.address)?;
        let caller = self.caller(headers, peer, now).await?;
        caller.check_csrf(csrf)?;
        match (&caller.proof, cookie::find(headers, cookie::LOGIN)) {
            (Proof::Cookie { .. }, Some(text)) => Ok(self.store.end_login(text, &caller.by(now)).await?),
            (Proof::Cookie { .. }, None) | (Proof::Token, _) => Ok(()),
        }
    }
}
