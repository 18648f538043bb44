//! What comes in: path, query and body as the types the handlers want; what does not fit is refused in the interface's own words.

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use http::StatusCode;
use http::request::Parts;
use hyper::body::Bytes;
use serde::de::DeserializeOwned;

use super::failure::Failure;
use super::plain::has_zero;
use crate::model::text::bounded;

/// Parts of the path.
pub(super) struct Named<T>(pub(super) T);

/// The query.
pub(super) struct Asked<T>(pub(super) T);

/// A JSON body.
pub(super) struct Given<T>(pub(super) T);

/// A body as it is.
pub(super) struct Raw(pub(super) Bytes);

fn malformed(status: StatusCode, text: String) -> Failure {
    let code = if status == StatusCode::PAYLOAD_TOO_LARGE { "too-large" } else { "malformed" };
    Failure::new(status, code, bounded(&text, 512))
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Named<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        path.map(|Path(value)| Self(value)).map_err(|error| malformed(error.status(), error.body_text()))
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query.map(|Query(value)| Self(value)).map_err(|error| malformed(error.status(), error.body_text()))
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Given<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let (parts, body) = request.into_parts();
        let text = Bytes::from_request(Request::from_parts(parts.clone(), body), state).await;
        let text = text.map_err(|error| malformed(error.status(), error.body_text()))?;
        if has_zero(&text) {
            return Err(malformed(StatusCode::BAD_REQUEST, "a zero character stands in a text".to_owned()));
        }
        let body = Json::<T>::from_request(Request::from_parts(parts, text.into()), state).await;
        body.map(|Json(value)| Self(value)).map_err(|error| malformed(error.status(), error.body_text()))
    }
}

impl<S: Send + Sync> FromRequest<S> for Raw {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let body = Bytes::from_request(request, state).await;
        body.map(Self).map_err(|error| malformed(error.status(), error.body_text()))
    }
}
