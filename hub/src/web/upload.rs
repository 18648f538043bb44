//! Forms with a file in them: what belongs to the form, the file, and nothing else.

use axum::extract::{FromRequest, Multipart, Request};

use super::oops::Oops;
use crate::auth::{AuthError, is_same_origin};

/// Bytes of a field beside the file.
const MAX_FIELD: usize = 256;

/// Such a form. It is taken from pages of this hub alone.
#[derive(Default)]
pub(super) struct Upload {
    csrf: Option<String>,
    file: Option<Vec<u8>>,
}

impl<S: Send + Sync> FromRequest<S> for Upload {
    type Rejection = Oops;

    async fn from_request(request: Request, state: &S) -> Result<Self, Oops> {
        if !is_same_origin(request.headers(), request.uri()) {
            return Err(AuthError::Origin.into());
        }
        let form = Multipart::from_request(request, state).await.map_err(|error| Oops::unusable(error.body_text()))?;
        receive(form).await
    }
}

async fn receive(mut form: Multipart) -> Result<Upload, Oops> {
    let broken = |error: axum::extract::multipart::MultipartError| Oops::unusable(error.body_text());
    let mut upload = Upload::default();
    while let Some(field) = form.next_field().await.map_err(broken)? {
        match field.name() {
            Some("csrf") => {
                upload.csrf = Some(field.text().await.map_err(broken)?).filter(|text| text.len() <= MAX_FIELD);
            }
            Some("file") => upload.file = Some(field.bytes().await.map_err(broken)?.to_vec()),
            Some(_) | None => return Err(Oops::unusable("the form has a field that this page does not know; load it again")),
        }
    }
    Ok(upload)
}

impl Upload {
    /// What shows that the form is from a page of somebody's login.
    pub(super) fn csrf(&self) -> Option<&str> {
        self.csrf.as_deref()
    }

    /// The file; `what` says which one was to be chosen.
    pub(super) fn file(&self, what: &str) -> Result<&[u8], Oops> {
        let file = self.file.as_deref().filter(|file| !file.is_empty());
        file.ok_or_else(|| Oops::unusable(format!("choose {what} first")))
    }
}
