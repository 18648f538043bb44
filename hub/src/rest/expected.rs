//! Devices that are expected: what a warehouse signed for.

use axum::Json;
use axum::extract::State;
use http::StatusCode;

use super::input::{Asked, Named, Raw};
use super::paged::Paged;
use super::{Answer, App, Done, ErrorBody};
use crate::auth::Caller;
use crate::model::{Expected, Page, Time};
use crate::store::Imported;

/// Devices that are expected, by name, in pages.
#[utoipa::path(get, operation_id = "listExpected", path = "/api/v1/expected", tag = "expected", params(Paged),
    responses((status = 200, body = Page<Expected>), (status = "default", body = ErrorBody)))]
pub(super) async fn list(State(app): State<App>, Asked(page): Asked<Paged>) -> Answer<Page<Expected>> {
    Ok(Json(app.services.store.expected(page.offset, page.limit).await?))
}

/// Expects a device no longer.
#[utoipa::path(delete, operation_id = "forgetExpected", path = "/api/v1/expected/{key}", tag = "expected",
    params(("key" = String, Path, description = "What it is known by: `id:…`, `serial:…`, `mac:…`, `name:…`")),
    responses((status = 204, description = "Forgotten"), (status = "default", body = ErrorBody)))]
pub(super) async fn forget(State(app): State<App>, caller: Caller, Named(key): Named<String>) -> Done {
    app.services.store.forget_expected(&key, &caller.by(Time::now())).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Imports a manifest that `imager stamp` wrote.
#[utoipa::path(post, operation_id = "importManifest", path = "/api/v1/manifests", tag = "expected", request_body(content = Object, description = "NAME.manifest.json", content_type = "application/json"),
    responses((status = 200, body = Imported), (status = "default", body = ErrorBody)))]
pub(super) async fn import_manifest(State(app): State<App>, caller: Caller, Raw(file): Raw) -> Answer<Imported> {
    Ok(Json(app.services.store.import_manifest(&file, &caller.by(Time::now())).await?))
}

/// Imports a log that `imager flash --record` wrote.
#[utoipa::path(post, operation_id = "importRecords", path = "/api/v1/records", tag = "expected", request_body(content = String, description = "The log", content_type = "application/jsonl"),
    responses((status = 200, body = Imported), (status = "default", body = ErrorBody)))]
pub(super) async fn import_records(State(app): State<App>, caller: Caller, Raw(file): Raw) -> Answer<Imported> {
    Ok(Json(app.services.store.import_log(&file, &caller.by(Time::now())).await?))
}
