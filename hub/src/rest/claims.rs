//! Claiming a device by the code on its box. What an installer sees of it is here, and nothing else of the hub.

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use machine_config::DeviceId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::input::{Given, Named};
use super::{Answer, App, ErrorBody, Failure, site};
use crate::auth::Caller;
use crate::model::{DeviceState, Time};
use crate::store::{ClaimBy, Claimed};

/// A device as whoever stands beside it sees it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Seen {
    /// Its id; none: it has not called yet.
    #[schema(value_type = Option<String>)]
    id: Option<DeviceId>,
    /// Its name.
    name: Option<String>,
    /// How it stands; none: it has not called yet.
    state: Option<DeviceState>,
    /// Where it is; empty: nobody said.
    site: String,
    /// Its board; empty: unknown.
    board: String,
    /// When it was heard last.
    last_seen: Option<Time>,
    /// It says it is healthy.
    healthy: bool,
}

impl From<Claimed> for Seen {
    fn from(claimed: Claimed) -> Self {
        match claimed {
            Claimed::Device(device) => Self {
                id: Some(device.id),
                name: device.name,
                state: Some(device.state),
                site: device.site,
                board: device.release.board,
                last_seen: Some(device.last_seen),
                healthy: device.healthy,
            },
            Claimed::Awaited(place) => Self {
                id: place.device_id,
                name: place.name,
                state: None,
                site: place.site,
                board: place.board,
                last_seen: None,
                healthy: false,
            },
        }
    }
}

/// Where the device is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Site {
    /// The site's name.
    site: String,
}

/// What the code on the box says: `id/…`, `serial/…`, `name/…`.
fn code(kind: &str, value: String) -> Result<ClaimBy, Failure> {
    let wrong = || {
        Failure::new(StatusCode::NOT_FOUND, "not-found", "cannot read this code: it names a device by `id`, `serial` or `name`")
    };
    match kind {
        "id" => value.parse().map(ClaimBy::Id).map_err(|_| wrong()),
        "serial" => Ok(ClaimBy::Serial(value)),
        "name" => Ok(ClaimBy::Name(value)),
        _ => Err(wrong()),
    }
}

/// What the code on a box names.
#[utoipa::path(get, operation_id = "findClaim", path = "/api/v1/claims/{kind}/{value}", tag = "claims",
    params(("kind" = String, Path, description = "`id`, `serial` or `name`"), ("value" = String, Path, description = "As the code says it")),
    responses((status = 200, body = Seen), (status = "default", body = ErrorBody)))]
pub(super) async fn find(State(app): State<App>, Named((kind, value)): Named<(String, String)>) -> Answer<Seen> {
    let found = app.services.store.find_claim(&code(&kind, value)?).await?;
    found.map(|found| Json(found.into())).ok_or_else(|| Failure::missing("a device or manifest that this code names"))
}

/// Claims a device for a site. An installer claims for the sites that an admin gave them, and for no others.
#[utoipa::path(post, operation_id = "claimDevice", path = "/api/v1/claims/{kind}/{value}", tag = "claims",
    params(("kind" = String, Path, description = "`id`, `serial` or `name`"), ("value" = String, Path, description = "As the code says it")),
    request_body = Site, responses((status = 200, body = Seen), (status = "default", body = ErrorBody)))]
pub(super) async fn claim(
    State(app): State<App>,
    caller: Caller,
    Named((kind, value)): Named<(String, String)>,
    Given(place): Given<Site>,
) -> Answer<Seen> {
    Ok(Json(site::claim(&app, &caller, code(&kind, value)?, &place.site).await?.into()))
}
