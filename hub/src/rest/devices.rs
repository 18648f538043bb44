//! Devices: looking at them, editing what people say of them, putting one in another's place, and connections to them.

use axum::Json;
use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use machine_config::DeviceId;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::input::{Asked, Given, Named};
use super::{Answer, App, ErrorBody, Failure, List};
use crate::auth::Caller;
use crate::model::{Delivery, Device, DeviceEvent, DeviceFilter, Page, Time};
use crate::store::Edit;
use crate::tunnel::TunnelError;

/// Devices, by name, in pages; without their inventories.
#[utoipa::path(get, operation_id = "listDevices", path = "/api/v1/devices", tag = "devices", params(DeviceFilter),
    responses((status = 200, body = Page<Device>), (status = "default", body = ErrorBody)))]
pub(super) async fn list(State(app): State<App>, Asked(filter): Asked<DeviceFilter>) -> Answer<Page<Device>> {
    let mut page = app.services.store.devices(&filter).await?;
    page.items.iter_mut().for_each(|device| device.inventory = None);
    Ok(Json(page))
}

/// One device, by its id.
#[utoipa::path(get, operation_id = "getDevice", path = "/api/v1/devices/{device}", tag = "devices", params(("device" = String, Path, description = "Its id")),
    responses((status = 200, body = Device), (status = "default", body = ErrorBody)))]
pub(super) async fn get(State(app): State<App>, Named(id): Named<DeviceId>) -> Answer<Device> {
    let device = app.services.store.device(&id).await?;
    device.map(Json).ok_or_else(|| Failure::missing(&format!("device `{id}`")))
}

/// Changes a device's name, site, labels or groups; what is not there stays.
#[utoipa::path(patch, operation_id = "editDevice", path = "/api/v1/devices/{device}", tag = "devices", params(("device" = String, Path, description = "Its id")),
    request_body = Edit, responses((status = 200, body = Device), (status = "default", body = ErrorBody)))]
pub(super) async fn edit(
    State(app): State<App>,
    caller: Caller,
    Named(id): Named<DeviceId>,
    Given(edit): Given<Edit>,
) -> Answer<Device> {
    Ok(Json(app.services.store.edit_device(&id, edit, &caller.by(Time::now())).await?))
}

/// What a device told of last, the newest first.
#[utoipa::path(get, operation_id = "listDeviceEvents", path = "/api/v1/devices/{device}/events", tag = "devices", params(("device" = String, Path, description = "Its id"), Last),
    responses((status = 200, body = List<DeviceEvent>), (status = "default", body = ErrorBody)))]
pub(super) async fn events(
    State(app): State<App>,
    Named(id): Named<DeviceId>,
    Asked(last): Asked<Last>,
) -> Answer<List<DeviceEvent>> {
    super::list(app.services.store.events(&id, last.limit.unwrap_or(100)).await?)
}

/// How many of the last.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Last {
    /// How many at most; a hundred if not said.
    pub(super) limit: Option<u32>,
}

/// How far configurations came on a device, the newest first.
#[utoipa::path(get, operation_id = "listDeviceDeliveries", path = "/api/v1/devices/{device}/deliveries", tag = "devices", params(("device" = String, Path, description = "Its id")),
    responses((status = 200, body = List<Delivery>), (status = "default", body = ErrorBody)))]
pub(super) async fn deliveries(State(app): State<App>, Named(id): Named<DeviceId>) -> Answer<List<Delivery>> {
    super::list(app.services.store.deliveries_of(&id).await?)
}

/// Which device takes the place.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Replacement {
    /// Its id.
    #[schema(value_type = String)]
    by: DeviceId,
}

/// Puts another device in the place of this one, which is removed for good. The other one, as it is afterwards.
#[utoipa::path(post, operation_id = "replaceDevice", path = "/api/v1/devices/{device}/replace", tag = "devices", params(("device" = String, Path, description = "The id of the one that leaves")),
    request_body = Replacement, responses((status = 200, body = Device), (status = "default", body = ErrorBody)))]
pub(super) async fn replace(
    State(app): State<App>,
    caller: Caller,
    Named(old): Named<DeviceId>,
    Given(new): Given<Replacement>,
) -> Answer<Device> {
    Ok(Json(app.services.store.replace(&old, &new.by, &caller.by(Time::now())).await?))
}

/// Which device the draft is for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct DraftFor {
    /// The id of the device that takes the place.
    #[param(value_type = String)]
    by: DeviceId,
}

/// The configuration of this device for another one, unsigned, with its secrets: to be signed offline.
#[utoipa::path(get, operation_id = "getReplacementDraft", path = "/api/v1/devices/{device}/replacement-draft", tag = "devices",
    params(("device" = String, Path, description = "The id of the one that leaves"), DraftFor),
    responses((status = 200, body = String, content_type = "application/yaml"), (status = "default", body = ErrorBody)))]
pub(super) async fn replacement_draft(
    State(app): State<App>,
    caller: Caller,
    Named(old): Named<DeviceId>,
    Asked(new): Asked<DraftFor>,
) -> Result<Response, Failure> {
    let text = app.services.store.replacement_draft(&old, &new.by).await?;
    let details = serde_json::json!({ "for": new.by });
    app.services.store.note(&caller.by(Time::now()), "config.draft", Some(&old), details).await?;
    Ok(([(header::CONTENT_TYPE, "application/yaml")], text).into_response())
}

/// A connection to a device's own API, as a WebSocket: binary messages are its bytes. TLS runs inside, from the operator to the device.
#[utoipa::path(get, operation_id = "openTunnel", path = "/api/v1/devices/{device}/tunnel", tag = "devices", params(("device" = String, Path, description = "Its id")),
    responses((status = 101, description = "The WebSocket"), (status = "default", body = ErrorBody)))]
pub(super) async fn tunnel(
    State(app): State<App>,
    caller: Caller,
    Named(id): Named<DeviceId>,
    upgrade: WebSocketUpgrade,
) -> Result<Response, Failure> {
    Ok(app.services.tunnels.serve(caller.by(Time::now()), id, app.auth.rights(&caller).ended(), upgrade).await?)
}

impl From<TunnelError> for Failure {
    fn from(error: TunnelError) -> Self {
        match error {
            TunnelError::Store(error) => error.into(),
            TunnelError::Enough(_) => Self::new(StatusCode::TOO_MANY_REQUESTS, error.code(), error.to_string()),
            error @ (TunnelError::Open(_) | TunnelError::Forward(_)) => {
                Self::new(StatusCode::BAD_GATEWAY, error.code(), super::causes(&error))
            }
        }
    }
}
