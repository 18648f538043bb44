//! Join tokens.

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::input::{Asked, Given, Named};
use super::paged::Paged;
use super::{Answer, App, Done, ErrorBody, Failure};
use crate::auth::Caller;
use crate::model::{Page, Time, Token};
use crate::store::NewToken;

/// A token that was made.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct MadeToken {
    /// What is known of it from now on.
    token: Token,
    /// The token itself. It is shown this once.
    text: String,
}

/// Join tokens, the newest first, in pages.
#[utoipa::path(get, operation_id = "listTokens", path = "/api/v1/tokens", tag = "tokens", params(Paged),
    responses((status = 200, body = Page<Token>), (status = "default", body = ErrorBody)))]
pub(super) async fn list(State(app): State<App>, Asked(page): Asked<Paged>) -> Answer<Page<Token>> {
    Ok(Json(app.services.store.tokens_page(page.offset, page.limit).await?))
}

/// Makes a join token.
#[utoipa::path(post, operation_id = "createToken", path = "/api/v1/tokens", tag = "tokens", request_body = NewToken,
    responses((status = 201, body = MadeToken), (status = "default", body = ErrorBody)))]
pub(super) async fn create(
    State(app): State<App>,
    caller: Caller,
    Given(new): Given<NewToken>,
) -> Result<(StatusCode, Json<MadeToken>), Failure> {
    let (token, text) = app.services.store.create_token(new, &caller.by(Time::now())).await?;
    Ok((StatusCode::CREATED, Json(MadeToken { token, text: text.expose().to_owned() })))
}

/// One join token.
#[utoipa::path(get, operation_id = "getToken", path = "/api/v1/tokens/{id}", tag = "tokens", params(("id" = String, Path, description = "Its id")),
    responses((status = 200, body = Token), (status = "default", body = ErrorBody)))]
pub(super) async fn get(State(app): State<App>, Named(id): Named<String>) -> Answer<Token> {
    app.services.store.token(&id).await?.map(Json).ok_or_else(|| Failure::missing("the join token"))
}

/// Revokes a join token. Devices that joined with it stay.
#[utoipa::path(delete, operation_id = "revokeToken", path = "/api/v1/tokens/{id}", tag = "tokens", params(("id" = String, Path, description = "Its id")),
    responses((status = 204, description = "Revoked"), (status = "default", body = ErrorBody)))]
pub(super) async fn revoke(State(app): State<App>, caller: Caller, Named(id): Named<String>) -> Done {
    app.services.store.revoke_token(&id, &caller.by(Time::now())).await?;
    Ok(StatusCode::NO_CONTENT)
}
