//! Forms with a file in them: what belongs to the form, the file, and nothing else.

use axum::body::Bytes;
use axum::extract::multipart::MultipartError;
use axum::extract::{FromRequest, Multipart, Request};

use super::oops::Oops;
use super::visitor::Visitor;
use crate::auth::{Area, AuthError, is_same_origin};
use crate::people::Role;

/// The file of such a form, which `what` names. It is taken from pages of this hub alone, and not read for those who may not change this, nor before
/// the word of their login stood in the form.
pub(super) async fn file(visitor: &Visitor, request: Request, (role, area): (Role, Area), what: &str) -> Result<Bytes, Oops> {
    if !is_same_origin(request.headers(), request.uri()) {
        return Err(AuthError::Origin.into());
    }
    visitor.may_use(role, area)?;
    let mut form = Multipart::from_request(request, &()).await.map_err(|error| Oops::unusable(error.body_text()))?;
    let mut csrf = None;
    let mut file = None;
    while let Some(field) = form.next_field().await.map_err(broken)? {
        match field.name() {
            Some("csrf") => csrf = Some(field.text().await.map_err(broken)?),
            Some("file") => {
                visitor.may_change(csrf.as_deref(), role, area)?;
                file = Some(field.bytes().await.map_err(broken)?);
            }
            Some(_) | None => return Err(Oops::unusable("the form has a field that this page does not know; load it again")),
        }
    }
    visitor.may_change(csrf.as_deref(), role, area)?;
    file.filter(|file| !file.is_empty()).ok_or_else(|| Oops::unusable(format!("choose {what} first")))
}

#[allow(clippy::needless_pass_by_value, reason = "the form of map_err")]
fn broken(error: MultipartError) -> Oops {
    Oops::unusable(error.body_text())
}
