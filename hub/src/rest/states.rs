//! What people do with devices, many at once: each has an answer of its own.

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use machine_config::DeviceId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::input::Given;
use super::{Answer, App, ErrorBody, Failure};
use crate::auth::Caller;
use crate::enrol::Act;
use crate::model::{DeviceState, Time};
use crate::store::Seen;

/// Devices of one request at most.
const MAX_DEVICES: usize = 1000;

/// Which devices, and why.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Chosen {
    /// Their ids, at most a thousand.
    #[schema(value_type = Vec<String>)]
    ids: Vec<DeviceId>,
    /// Why, for people; the device shows it on its console.
    #[serde(default)]
    reason: String,
}

/// Which devices are admitted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Approval {
    /// Their ids, at most a thousand.
    #[schema(value_type = Vec<String>)]
    ids: Vec<DeviceId>,
    /// Why, for people.
    #[serde(default)]
    reason: String,
    /// What was looked at: for an id the device's `inventoryDigest`. A device that says something else by now is not approved (code `changed`).
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, String>)]
    seen: Seen,
}

/// What came of it, in the order of the request.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Outcomes {
    /// One for each device.
    results: Vec<Outcome>,
}

/// What came of it for one device: its state, or why not.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    /// The device.
    #[schema(value_type = String)]
    id: DeviceId,
    /// How it stands now; none: nothing was changed.
    state: Option<DeviceState>,
    /// Why nothing was changed: the code.
    code: Option<&'static str>,
    /// The same for people.
    message: Option<String>,
}

async fn act(app: &App, act: Act, caller: &Caller, chosen: Chosen, seen: &Seen) -> Answer<Outcomes> {
    let invalid = |why: String| Failure::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", why);
    if chosen.ids.is_empty() || chosen.ids.len() > MAX_DEVICES {
        return Err(invalid(format!("cannot do this with {} devices: name 1 to {MAX_DEVICES}", chosen.ids.len())));
    }
    if let Some(id) = seen.keys().find(|id| !chosen.ids.contains(id)) {
        return Err(invalid(format!("cannot tell what was seen of device {id}: it is not among the ids")));
    }
    let by = caller.by(Time::now());
    let changed = app.services.store.change_seen(act, &chosen.ids, seen, &chosen.reason, &by).await;
    let outcome = |(id, result): (DeviceId, Result<crate::model::Device, _>)| match result.map_err(Failure::from) {
        Ok(device) => Outcome { id, state: Some(device.state), code: None, message: None },
        Err(failure) => Outcome { id, state: None, code: Some(failure.code), message: Some(failure.message) },
    };
    Ok(Json(Outcomes { results: chosen.ids.into_iter().zip(changed).map(outcome).collect() }))
}

/// Admits devices.
#[utoipa::path(post, operation_id = "approveDevices", path = "/api/v1/devices/approve", tag = "devices", request_body = Approval,
    responses((status = 200, body = Outcomes), (status = "default", body = ErrorBody)))]
pub(super) async fn approve(State(app): State<App>, caller: Caller, Given(asked): Given<Approval>) -> Answer<Outcomes> {
    let Approval { ids, reason, seen } = asked;
    act(&app, Act::Approve, &caller, Chosen { ids, reason }, &seen).await
}

/// Refuses devices; they may be approved later.
#[utoipa::path(post, operation_id = "refuseDevices", path = "/api/v1/devices/refuse", tag = "devices", request_body = Chosen,
    responses((status = 200, body = Outcomes), (status = "default", body = ErrorBody)))]
pub(super) async fn refuse(State(app): State<App>, caller: Caller, Given(chosen): Given<Chosen>) -> Answer<Outcomes> {
    act(&app, Act::Refuse, &caller, chosen, &Seen::new()).await
}

/// Serves devices no longer, until they are approved again.
#[utoipa::path(post, operation_id = "quarantineDevices", path = "/api/v1/devices/quarantine", tag = "devices", request_body = Chosen,
    responses((status = 200, body = Outcomes), (status = "default", body = ErrorBody)))]
pub(super) async fn quarantine(State(app): State<App>, caller: Caller, Given(chosen): Given<Chosen>) -> Answer<Outcomes> {
    act(&app, Act::Quarantine, &caller, chosen, &Seen::new()).await
}

/// Removes devices: their keys are revoked, at once and for good, whether or not they are connected or still exist.
#[utoipa::path(post, operation_id = "removeDevices", path = "/api/v1/devices/remove", tag = "devices", request_body = Chosen,
    responses((status = 200, body = Outcomes), (status = "default", body = ErrorBody)))]
pub(super) async fn remove(State(app): State<App>, caller: Caller, Given(chosen): Given<Chosen>) -> Answer<Outcomes> {
    act(&app, Act::Remove, &caller, chosen, &Seen::new()).await
}
