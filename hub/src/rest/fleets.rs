//! Whose signatures count: fleets for configurations, stations for manifests.

use axum::extract::State;
use http::StatusCode;
use machine_config::{FleetTrust, KeyId, PublicKey};
use serde::Deserialize;
use utoipa::ToSchema;

use super::input::{Given, Named, Raw};
use super::{Answer, App, Done, ErrorBody, Failure, List};
use crate::auth::Caller;
use crate::model::{Fleet, Station, Time};

/// All fleets, by name.
#[utoipa::path(get, operation_id = "listFleets", path = "/api/v1/fleets", tag = "fleets", responses((status = 200, body = List<Fleet>), (status = "default", body = ErrorBody)))]
pub(super) async fn list(State(app): State<App>) -> Answer<List<Fleet>> {
    super::list(app.services.store.fleets().await?)
}

/// Registers a fleet, or changes its keys. The body is its `fleet.pub`.
#[utoipa::path(post, operation_id = "putFleet", path = "/api/v1/fleets", tag = "fleets", request_body(content = Object, description = "`fleet.pub`", content_type = "application/json"),
    responses((status = 204, description = "Registered"), (status = "default", body = ErrorBody)))]
pub(super) async fn put(State(app): State<App>, caller: Caller, Raw(file): Raw) -> Done {
    let wrong = |error: machine_config::FleetError| Failure::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", error.to_string());
    let fleet = FleetTrust::from_json(&file).map_err(wrong)?;
    app.services.store.put_fleet(fleet, &caller.by(Time::now())).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes no configuration of a fleet any more.
#[utoipa::path(delete, operation_id = "deleteFleet", path = "/api/v1/fleets/{name}", tag = "fleets", params(("name" = String, Path, description = "Its name")),
    responses((status = 204, description = "Deleted"), (status = "default", body = ErrorBody)))]
pub(super) async fn delete(State(app): State<App>, caller: Caller, Named(name): Named<String>) -> Done {
    app.services.store.delete_fleet(&name, &caller.by(Time::now())).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// All stations, by name.
#[utoipa::path(get, operation_id = "listStations", path = "/api/v1/stations", tag = "fleets", responses((status = 200, body = List<Station>), (status = "default", body = ErrorBody)))]
pub(super) async fn stations(State(app): State<App>) -> Answer<List<Station>> {
    super::list(app.services.store.stations().await?)
}

/// A station to believe.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NewStation {
    /// What people call it.
    name: String,
    /// Its public key, as `imager station` wrote it.
    #[schema(value_type = String)]
    key: PublicKey,
}

/// Believes what a warehouse's bench signs.
#[utoipa::path(post, operation_id = "putStation", path = "/api/v1/stations", tag = "fleets", request_body = NewStation,
    responses((status = 204, description = "Registered"), (status = "default", body = ErrorBody)))]
pub(super) async fn put_station(State(app): State<App>, caller: Caller, Given(new): Given<NewStation>) -> Done {
    app.services.store.register_station(&new.name, new.key, &caller.by(Time::now())).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Believes a station no longer.
#[utoipa::path(delete, operation_id = "deleteStation", path = "/api/v1/stations/{id}", tag = "fleets", params(("id" = String, Path, description = "The id of its key")),
    responses((status = 204, description = "Deleted"), (status = "default", body = ErrorBody)))]
pub(super) async fn delete_station(State(app): State<App>, caller: Caller, Named(id): Named<KeyId>) -> Done {
    app.services.store.delete_station(&id, &caller.by(Time::now())).await?;
    Ok(StatusCode::NO_CONTENT)
}
