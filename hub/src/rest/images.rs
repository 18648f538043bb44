//! Images as they are.

use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};

use super::input::Named;
use super::{Answer, App, ErrorBody, Failure, List};
use crate::images::{DownloadError, Image, ImageError, answer};

/// All images, by name.
#[utoipa::path(get, operation_id = "listImages", path = "/api/v1/images", tag = "images", responses((status = 200, body = List<Image>), (status = "default", body = ErrorBody)))]
pub(super) async fn list(State(app): State<App>) -> Answer<List<Image>> {
    super::list(app.images.list().await?)
}

/// An image, or what stands beside one, as it is; ranges are served.
#[utoipa::path(get, operation_id = "getImage", path = "/api/v1/images/{name}", tag = "images", params(("name" = String, Path, description = "Its file's name")),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"), (status = 206, description = "The part asked for"),
        (status = "default", body = ErrorBody)))]
pub(super) async fn get(State(app): State<App>, Named(name): Named<String>, headers: HeaderMap) -> Result<Response, Failure> {
    Ok(answer(app.images.file(&name).await?, &headers))
}

impl From<ImageError> for Failure {
    fn from(error: ImageError) -> Self {
        let (status, code) = match &error {
            ImageError::NoFolder | ImageError::Missing { .. } => (StatusCode::NOT_FOUND, "not-found"),
            ImageError::Damaged { .. } => (StatusCode::CONFLICT, "image-damaged"),
            ImageError::NotStampable { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "not-stampable"),
            ImageError::Read { .. } | ImageError::Stopping => return Self::internal(&error),
        };
        Self::new(status, code, super::causes(&error))
    }
}

impl From<DownloadError> for Failure {
    fn from(error: DownloadError) -> Self {
        let (status, code) = match error {
            DownloadError::Image(error) => return error.into(),
            DownloadError::Store(error) => return error.into(),
            DownloadError::NoUrl => (StatusCode::CONFLICT, "no-url"),
            DownloadError::Fleet(_) => (StatusCode::UNPROCESSABLE_ENTITY, "fleet-unknown"),
            DownloadError::Name(_) | DownloadError::Seed(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid"),
            DownloadError::Over => (StatusCode::NOT_FOUND, "not-found"),
            DownloadError::Changed { .. } => (StatusCode::GONE, "image-changed"),
        };
        Self::new(status, code, error.to_string())
    }
}
