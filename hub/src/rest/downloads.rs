//! Stamped images.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use machine_config::schema::Hub;

use super::input::{Given, Named};
use super::{App, ErrorBody, Failure};
use crate::auth::{Area, Caller};
use crate::images::{Download, DownloadError, NewDownload, answer};
use crate::model::Time;
use crate::people::Role;

impl App {
    /// What devices are told of this hub: its address and pin, and what else an admin said of the way to it.
    ///
    /// # Errors
    /// Nobody told it its address, or the database failed.
    pub async fn hub(&self) -> Result<Hub, DownloadError> {
        let url = self.services.url.as_deref().ok_or(DownloadError::NoUrl)?.to_owned();
        Ok(self.services.store.phone_home().await?.hub(url, hex::encode(self.services.pin)))
    }
}

/// Makes a download of this image, stamped for one device. A join token is made for it.
#[utoipa::path(post, operation_id = "createDownload", path = "/api/v1/images/{name}/downloads", tag = "images", params(("name" = String, Path, description = "The image's file")),
    request_body = NewDownload, responses((status = 201, body = Download), (status = "default", body = ErrorBody)))]
pub(super) async fn create(
    State(app): State<App>,
    caller: Caller,
    Named(name): Named<String>,
    Given(new): Given<NewDownload>,
) -> Result<(StatusCode, Json<Download>), Failure> {
    // The image holds a token: whoever may not make one by itself makes none this way.
    caller.check(Role::Operator, Area::Tokens, true)?;
    let made = app.images.create_download(&app.services.store, &name, new, app.hub().await?, &caller.by(Time::now())).await?;
    Ok((StatusCode::CREATED, Json(made)))
}

/// A stamped image; ranges are served, so that a download can go on where it broke off.
#[utoipa::path(get, operation_id = "getDownload", path = "/api/v1/downloads/{id}", tag = "images", params(("id" = String, Path, description = "As `path` said it")),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"), (status = 206, description = "The part asked for"),
        (status = "default", body = ErrorBody)))]
pub(super) async fn get(
    State(app): State<App>,
    caller: Caller,
    Named(id): Named<String>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    Ok(answer(app.images.download(&app.services.store, &id, &caller.by(Time::now())).await?, &headers))
}
