//! What a request gets that fails: a status, a code for programs, a line for people.

use std::time::Duration;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use tracing::error;
use utoipa::ToSchema;

use crate::auth::AuthError;
use crate::store::StoreError;

/// A failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The status.
    pub status: StatusCode,
    /// For programs: stable.
    pub code: &'static str,
    /// For people.
    pub message: String,
    /// When to ask again, if that may help.
    pub retry_after: Option<Duration>,
}

/// Why a request failed.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorBody {
    /// For programs: stable.
    code: &'static str,
    /// For people: what was not done, and what to do.
    message: String,
}

impl Failure {
    /// These three.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retry_after: None }
    }

    /// There is no such thing.
    pub fn missing(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", format!("cannot find {what}"))
    }

    /// The hub failed, not who asked; the log says how.
    pub fn internal(error: &dyn std::error::Error) -> Self {
        error!(error = causes(error), "a request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the hub could not do this; its log says why")
    }
}

/// An error with its causes, in one line.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let status = match &error {
            StoreError::Url
            | StoreError::Newer { .. }
            | StoreError::Database { .. }
            | StoreError::Commit { .. }
            | StoreError::Corrupt { .. }
            | StoreError::Closed => return Self { code: error.code(), ..Self::internal(&error) },
            StoreError::Missing { .. } => StatusCode::NOT_FOUND,
            StoreError::Scopes => StatusCode::FORBIDDEN,
            StoreError::Ambiguous { .. }
            | StoreError::Transition { .. }
            | StoreError::Changed { .. }
            | StoreError::InUse { .. } => StatusCode::CONFLICT,
            StoreError::Label(_) | StoreError::Invalid { .. } | StoreError::Upload(_) | StoreError::Import(_) => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
        };
        Self::new(status, error.code(), causes(&error))
    }
}

impl From<AuthError> for Failure {
    fn from(error: AuthError) -> Self {
        let (status, code) = (error.status(), error.code());
        match error {
            AuthError::Store(error) => error.into(),
            AuthError::Often { wait } => Self { retry_after: Some(wait), ..Self::new(status, code, error.to_string()) },
            error => Self::new(status, code, causes(&error)),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = ErrorBody { code: self.code, message: self.message };
        let mut response = (self.status, Json(body)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(wait) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
        }
        response
    }
}
