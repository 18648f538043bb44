//! The page that asks who one is. Signing in itself is `auth`'s.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;

use super::Web;
use super::oops::{Oops, shown};
use super::shell::Shell;

/// What the address may say.
#[derive(serde::Deserialize)]
pub(super) struct Asked {
    /// Where to go afterwards.
    #[serde(default)]
    next: String,
    /// What went wrong, as a code.
    error: Option<String>,
}

#[derive(Template)]
#[template(path = "sign_in.html")]
struct Page {
    shell: Shell,
    trouble: Option<&'static str>,
    next: String,
    has_oidc: bool,
}

/// The page.
pub(super) async fn page(State(web): State<Web>, Query(asked): Query<Asked>) -> Result<Response, Oops> {
    let next = if asked.next.is_empty() { "/".to_owned() } else { asked.next };
    shown(&Page {
        shell: Shell::bare("Sign in"),
        trouble: asked.error.as_deref().map(words),
        next,
        has_oidc: web.auth.has_oidc(),
    })
}

/// A code in words: the address can be anybody's, so that what it says is never shown itself.
fn words(code: &str) -> &'static str {
    match code {
        "credentials" => "This token is unknown, has expired or was revoked.",
        "limited" => "This token is limited to some areas; sign in with one without scopes.",
        "login-over" | "sign-in" => "The login has ended; sign in again.",
        "csrf" | "origin" => "That did not come from a page of this hub. Try again here.",
        "often" => "Too many attempts; wait a moment.",
        "no-role" => "No role was given to you, nor to a group of yours. Ask an admin of this hub.",
        "locked" => "An admin of this hub locked you out.",
        "no-provider" => "This hub was started without an identity provider.",
        _ => "Signing in did not work; the hub's log says why.",
    }
}
