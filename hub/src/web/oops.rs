//! A page that could not be: what went wrong, in words, and where to go from there. What went wrong inside the hub is told to its log alone.

use askama::Template;
use axum::response::{Html, IntoResponse, Redirect, Response};
use http::StatusCode;
use tracing::error;

use super::pager::address;
use super::shell::Shell;
use crate::auth::AuthError;
use crate::rest::ClaimError;
use crate::store::StoreError;

/// Why there is no such page.
#[derive(Debug)]
pub(super) enum Oops {
    /// They are not signed in; where to go afterwards.
    SignIn(String),
    /// Anything else.
    Told {
        /// For programs.
        status: StatusCode,
        /// For people.
        message: String,
    },
}

/// A way on.
struct Link {
    href: &'static str,
    word: &'static str,
}

#[derive(Template)]
#[template(path = "oops.html")]
struct Page {
    shell: Shell,
    message: String,
    links: [Link; 1],
}

impl Oops {
    fn told(status: StatusCode, message: impl Into<String>) -> Self {
        Self::Told { status, message: message.into() }
    }

    /// What was asked for makes no sense.
    pub(super) fn unusable(message: impl Into<String>) -> Self {
        Self::told(StatusCode::UNPROCESSABLE_ENTITY, message)
    }

    /// A text that no text here can be.
    pub(super) fn malformed() -> Self {
        Self::told(StatusCode::BAD_REQUEST, "a control character stands where none can be")
    }

    /// There is nothing there.
    pub(super) fn missing(message: impl Into<String>) -> Self {
        Self::told(StatusCode::NOT_FOUND, message)
    }

    /// The hub failed.
    pub(super) fn internal(cause: &(dyn std::error::Error + 'static)) -> Self {
        error!(error = cause, "cannot make a page");
        Self::told(StatusCode::INTERNAL_SERVER_ERROR, "the hub failed; its log says why")
    }

    /// The words of it.
    #[cfg(test)]
    pub(super) fn message(&self) -> &str {
        match self {
            Self::SignIn(_) => "",
            Self::Told { message, .. } => message,
        }
    }
}

impl From<StoreError> for Oops {
    fn from(error: StoreError) -> Self {
        if error.is_internal() {
            return Self::internal(&error);
        }
        let status = if error.code() == "not-found" { StatusCode::NOT_FOUND } else { StatusCode::UNPROCESSABLE_ENTITY };
        Self::told(status, error.to_string())
    }
}

impl From<AuthError> for Oops {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Store(error) => error.into(),
            error => Self::told(error.status(), error.to_string()),
        }
    }
}

impl From<ClaimError> for Oops {
    fn from(error: ClaimError) -> Self {
        match error {
            ClaimError::Store(error) => error.into(),
            error @ (ClaimError::Site { .. } | ClaimError::NoSites) => Self::told(StatusCode::FORBIDDEN, error.to_string()),
        }
    }
}

impl IntoResponse for Oops {
    fn into_response(self) -> Response {
        match self {
            Self::SignIn(next) => Redirect::to(&address("/sign-in", &[("next", &next)])).into_response(),
            Self::Told { status, message } => {
                let title = if status.is_server_error() { "The hub failed" } else { "This does not go" };
                let page = Page { shell: Shell::bare(title), message, links: [Link { href: "/", word: "To the first page" }] };
                match page.render() {
                    Ok(html) => (status, Html(html)).into_response(),
                    Err(_) => (status, page.message).into_response(),
                }
            }
        }
    }
}

/// A page as an answer.
pub(super) fn shown<T: Template>(page: &T) -> Result<Response, Oops> {
    page.render().map(|html| Html(html).into_response()).map_err(|error| Oops::internal(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_inside_is_not_told() {
        let error = StoreError::Corrupt { what: "secret", message: "secret".into() };
        assert!(!Oops::from(error).message().contains("secret"));
        let missing = StoreError::Missing { what: "device", name: "<b>".into() };
        assert_eq!(Oops::from(missing).message(), "cannot find device `<b>`");
    }
}
