//! What an address names. An address that can name nothing leads to no page.

use axum::extract::{FromRequestParts, Path, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use serde::de::DeserializeOwned;

use super::oops::Oops;
use crate::rest::has_control;

/// The parts of the address that vary.
pub(super) struct At<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for At<T> {
    type Rejection = Oops;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Oops> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        path.map(|Path(value)| Self(value)).map_err(|_| Oops::missing(NOWHERE))
    }
}

const NOWHERE: &str = "there is no such page at this hub";

/// The page for every other address.
pub(super) async fn nowhere() -> Oops {
    Oops::missing(NOWHERE)
}

/// Refuses addresses with control characters.
pub(super) async fn plain(request: Request, next: Next) -> Response {
    if has_control(request.uri()) { Oops::malformed().into_response() } else { next.run(request).await }
}
