//! Who one is here, and the fleet in numbers.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Answer, App, ErrorBody};
use crate::auth::Caller;
use crate::model::{Overview, Time};
use crate::people::Role;

/// Who one is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Me {
    /// As the audit says it: `user:kim`, `token:ci`.
    actor: String,
    /// As pages say it.
    name: String,
    /// What one may do.
    role: Role,
    /// What of that; empty: all of it.
    scopes: Vec<String>,
    /// From where one asks.
    address: String,
    /// What changes must repeat in `X-Csrf-Token`; none: one came with a token.
    csrf: Option<String>,
    /// The hub's pin: SHA-256 of its public key.
    pin: String,
    /// How devices and people reach the hub; none: nobody told it.
    url: Option<String>,
}

/// Who one is, and which hub this is.
#[utoipa::path(get, operation_id = "getMe", path = "/api/v1/me", tag = "own", responses((status = 200, body = Me), (status = "default", body = ErrorBody)))]
pub(super) async fn me(State(app): State<App>, caller: Caller) -> Json<Me> {
    Json(Me {
        actor: caller.actor.to_string(),
        csrf: caller.csrf().map(str::to_owned),
        name: caller.name,
        role: caller.role,
        scopes: caller.scopes.into_iter().collect(),
        address: caller.address.to_string(),
        pin: hex::encode(app.services.pin),
        url: app.services.url.as_deref().map(str::to_owned),
    })
}

/// The fleet in numbers.
#[utoipa::path(get, operation_id = "getOverview", path = "/api/v1/overview", tag = "own", responses((status = 200, body = Overview), (status = "default", body = ErrorBody)))]
pub(super) async fn overview(State(app): State<App>) -> Answer<Overview> {
    Ok(Json(app.services.store.overview(Time::now()).await?))
}
