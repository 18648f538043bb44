//! Signed configurations: taking them, showing them with their secrets masked, assigning them, and how far they came.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use machine_config::types::Digest;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::devices::Last;
use super::input::{Asked, Given, Named, Raw};
use super::paged::Paged;
use super::{Answer, App, Done, ErrorBody, Failure, List};
use crate::auth::Caller;
use crate::config::judge_upload;
use crate::model::{AssignTo, Assignment, Config, Delivery, Page, Rollout, Time};

/// A configuration, whom it is assigned to, and how far it came.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ConfigView {
    /// What it is.
    #[serde(flatten)]
    config: Config,
    /// To whom.
    assignments: Vec<Assignment>,
    /// How far.
    rollout: Rollout,
}

/// Configurations, the newest first, in pages.
#[utoipa::path(get, operation_id = "listConfigs", path = "/api/v1/configs", tag = "configs", params(Paged),
    responses((status = 200, body = Page<Config>), (status = "default", body = ErrorBody)))]
pub(super) async fn list(State(app): State<App>, Asked(page): Asked<Paged>) -> Answer<Page<Config>> {
    Ok(Json(app.services.store.configs_page(page.offset, page.limit).await?))
}

/// Takes a signed configuration. What a device would refuse is refused here, with the device's code.
#[utoipa::path(post, operation_id = "uploadConfig", path = "/api/v1/configs", tag = "configs", request_body(content = String, description = "The signed file", content_type = "application/yaml"),
    responses((status = 201, body = Config), (status = "default", body = ErrorBody)))]
pub(super) async fn upload(
    State(app): State<App>,
    caller: Caller,
    Raw(file): Raw,
) -> Result<(StatusCode, Json<Config>), Failure> {
    let config = app.services.store.put_config(&file, &caller.by(Time::now())).await?;
    Ok((StatusCode::CREATED, Json(config)))
}

/// One configuration, by the SHA-256 of its file.
#[utoipa::path(get, operation_id = "getConfig", path = "/api/v1/configs/{digest}", tag = "configs", params(("digest" = String, Path, description = "SHA-256 of the file")),
    responses((status = 200, body = ConfigView), (status = "default", body = ErrorBody)))]
pub(super) async fn get(State(app): State<App>, Named(digest): Named<Digest>) -> Answer<ConfigView> {
    let store = &app.services.store;
    let config = store.config(&digest).await?.ok_or_else(|| missing(&digest))?;
    Ok(Json(ConfigView { config, assignments: store.assignments(Some(&digest)).await?, rollout: store.rollout(&digest).await? }))
}

fn missing(digest: &Digest) -> Failure {
    Failure::missing(&format!("the configuration `{digest}`"))
}

/// Deletes a configuration that is assigned to nobody.
#[utoipa::path(delete, operation_id = "deleteConfig", path = "/api/v1/configs/{digest}", tag = "configs", params(("digest" = String, Path, description = "SHA-256 of the file")),
    responses((status = 204, description = "Deleted"), (status = "default", body = ErrorBody)))]
pub(super) async fn delete(State(app): State<App>, caller: Caller, Named(digest): Named<Digest>) -> Done {
    app.services.store.delete_config(&digest, &caller.by(Time::now())).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What a configuration says, with every secret masked.
#[utoipa::path(get, operation_id = "getMaskedConfig", path = "/api/v1/configs/{digest}/masked", tag = "configs", params(("digest" = String, Path, description = "SHA-256 of the file")),
    responses((status = 200, body = String, content_type = "application/yaml"), (status = "default", body = ErrorBody)))]
pub(super) async fn masked(State(app): State<App>, Named(digest): Named<Digest>) -> Result<Response, Failure> {
    let store = &app.services.store;
    let file = store.config_bytes(&digest).await?.ok_or_else(|| missing(&digest))?;
    let fleets = store.fleets().await?;
    let (config, _) = judge_upload(&file, &fleets).map_err(crate::store::StoreError::from)?;
    Ok(([(header::CONTENT_TYPE, "application/yaml")], machine_config::mask(config.content())).into_response())
}

/// How far a configuration came, device by device, the newest first.
#[utoipa::path(get, operation_id = "listConfigDeliveries", path = "/api/v1/configs/{digest}/deliveries", tag = "configs",
    params(("digest" = String, Path, description = "SHA-256 of the file"), Last),
    responses((status = 200, body = List<Delivery>), (status = "default", body = ErrorBody)))]
pub(super) async fn deliveries(
    State(app): State<App>,
    Named(digest): Named<Digest>,
    Asked(last): Asked<Last>,
) -> Answer<List<Delivery>> {
    super::list(app.services.store.deliveries(&digest, last.limit.unwrap_or(100)).await?)
}

/// Whom to assign to.
#[derive(Debug, Deserialize, ToSchema, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct To {
    /// `device:ID`, `group:NAME` or `label:KEY=VALUE`.
    #[param(value_type = String)]
    to: AssignTo,
}

/// Assigns a configuration. Connected devices are offered it at once.
#[utoipa::path(post, operation_id = "assignConfig", path = "/api/v1/configs/{digest}/assignments", tag = "configs", params(("digest" = String, Path, description = "SHA-256 of the file")),
    request_body = To, responses((status = 204, description = "Assigned"), (status = "default", body = ErrorBody)))]
pub(super) async fn assign(State(app): State<App>, caller: Caller, Named(digest): Named<Digest>, Given(to): Given<To>) -> Done {
    app.services.store.assign(&digest, to.to, &caller.by(Time::now())).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes an assignment back. Devices keep what they accepted.
#[utoipa::path(delete, operation_id = "unassignConfig", path = "/api/v1/configs/{digest}/assignments", tag = "configs",
    params(("digest" = String, Path, description = "SHA-256 of the file"), To),
    responses((status = 204, description = "Taken back"), (status = "default", body = ErrorBody)))]
pub(super) async fn unassign(State(app): State<App>, caller: Caller, Named(digest): Named<Digest>, Asked(to): Asked<To>) -> Done {
    app.services.store.unassign(&digest, to.to, &caller.by(Time::now())).await?;
    Ok(StatusCode::NO_CONTENT)
}
