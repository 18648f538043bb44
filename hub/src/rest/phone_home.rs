//! How devices that are stamped here find the hub, beside its own address.

use axum::Json;
use axum::extract::State;
use http::StatusCode;

use super::input::Given;
use super::{Answer, App, Done, ErrorBody, Failure};
use crate::auth::Caller;
use crate::images::DownloadError;
use crate::model::Time;
use crate::store::PhoneHome;

/// What devices are told that are stamped here, but for the proxy's password.
#[utoipa::path(get, operation_id = "getPhoneHome", path = "/api/v1/phone-home", tag = "images",
    responses((status = 200, body = PhoneHome), (status = "default", body = ErrorBody)))]
pub(super) async fn get(State(app): State<App>) -> Answer<PhoneHome> {
    Ok(Json(app.services.store.phone_home().await?.masked()))
}

/// Changes what devices are told that are stamped from now on. Images that were made before say what they said.
#[utoipa::path(put, operation_id = "putPhoneHome", path = "/api/v1/phone-home", tag = "images", request_body = PhoneHome,
    responses((status = 204, description = "Changed"), (status = "default", body = ErrorBody)))]
pub(super) async fn put(State(app): State<App>, caller: Caller, Given(new): Given<PhoneHome>) -> Done {
    app.put_phone_home(new, &caller.by(Time::now())).await.map_err(Failure::from)?;
    Ok(StatusCode::NO_CONTENT)
}

impl App {
    /// Changes what stamped devices are told; the hub must know its own address, which these stand beside.
    ///
    /// # Errors
    /// Nobody told the hub its address, no device could use it, or the database failed.
    pub(crate) async fn put_phone_home(&self, new: PhoneHome, by: &crate::model::By) -> Result<(), DownloadError> {
        let url = self.services.url.as_deref().ok_or(DownloadError::NoUrl)?;
        Ok(self.services.store.put_phone_home(new, [url, &hex::encode(self.services.pin)], by).await?)
    }
}
