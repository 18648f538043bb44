//! What an address names. An address that can name nothing leads to no page.

use axum::extract::{FromRequestParts, Path};
use http::request::Parts;
use serde::de::DeserializeOwned;

use super::oops::Oops;

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
