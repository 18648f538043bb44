//! People and API tokens.

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::input::{Given, Named};
use super::{Answer, App, Done, ErrorBody, Failure, List};
use crate::auth::{Caller, end_logins_of_token, is_scope};
use crate::model::Time;
use crate::people::{ApiToken, Role, User};
use crate::store::{NewApiToken, PersonChange};

/// A person, and what they may do.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Person {
    /// As an admin wrote it, and as the identity provider says it.
    #[serde(flatten)]
    user: User,
    /// What they may do, by their groups or by hand.
    effective_role: Option<Role>,
}

/// What an admin says of a person.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct UserChange {
    /// What they may do when no group of theirs has a role; none: nothing.
    role: Option<Role>,
    /// They may not sign in.
    #[serde(default)]
    locked: bool,
}

/// All people, by name.
#[utoipa::path(get, operation_id = "listUsers", path = "/api/v1/users", tag = "people", responses((status = 200, body = List<Person>), (status = "default", body = ErrorBody)))]
pub(super) async fn list(State(app): State<App>) -> Answer<List<Person>> {
    let person = |user: User| Person { effective_role: app.auth.role_of(&user), user };
    super::list(app.services.store.users().await?.into_iter().map(person).collect())
}

/// Says what a person may do; they may never have signed in yet. Their logins end.
#[utoipa::path(put, operation_id = "putUser", path = "/api/v1/users/{name}", tag = "people", params(("name" = String, Path, description = "As the identity provider calls them (`sub`)")),
    request_body = UserChange, responses((status = 204, description = "Said"), (status = "default", body = ErrorBody)))]
pub(super) async fn put(
    State(app): State<App>,
    caller: Caller,
    Named(name): Named<String>,
    Given(given): Given<UserChange>,
) -> Done {
    if name.is_empty() || name.len() > 255 || name.chars().any(char::is_control) {
        return Err(Failure::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid",
            "cannot use this name: 1 to 255 characters in one line",
        ));
    }
    let (store, by) = (&app.services.store, caller.by(Time::now()));
    store.set_user(&name, PersonChange::Whole { role: given.role, locked: given.locked }, &by).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// An API token that was made.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct MadeApiToken {
    /// What is known of it from now on.
    token: ApiToken,
    /// The token itself. It is shown this once.
    text: String,
}

/// All API tokens, the newest first.
#[utoipa::path(get, operation_id = "listApiTokens", path = "/api/v1/api-tokens", tag = "people", responses((status = 200, body = List<ApiToken>), (status = "default", body = ErrorBody)))]
pub(super) async fn api_tokens(State(app): State<App>) -> Answer<List<ApiToken>> {
    super::list(app.services.store.api_tokens().await?)
}

/// Makes an API token.
#[utoipa::path(post, operation_id = "createApiToken", path = "/api/v1/api-tokens", tag = "people", request_body = NewApiToken,
    responses((status = 201, body = MadeApiToken), (status = "default", body = ErrorBody)))]
pub(super) async fn create_api_token(
    State(app): State<App>,
    caller: Caller,
    Given(new): Given<NewApiToken>,
) -> Result<(StatusCode, Json<MadeApiToken>), Failure> {
    if let Some(unknown) = new.scopes.iter().find(|scope| !is_scope(scope)) {
        let known = crate::auth::Area::ALL.iter().map(|area| area.as_str()).collect::<Vec<_>>().join(", ");
        let why = format!(
            "cannot use the scope `{}`: one of {known}, with `:read` for looking only",
            crate::model::text::bounded(unknown, 64)
        );
        return Err(Failure::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", why));
    }
    let (token, text) = app.services.store.create_api_token(new, &caller.scopes, &caller.by(Time::now())).await?;
    Ok((StatusCode::CREATED, Json(MadeApiToken { token, text: text.expose().to_owned() })))
}

/// Revokes an API token. Logins that began with it end.
#[utoipa::path(delete, operation_id = "revokeApiToken", path = "/api/v1/api-tokens/{id}", tag = "people", params(("id" = String, Path, description = "Its id")),
    responses((status = 204, description = "Revoked"), (status = "default", body = ErrorBody)))]
pub(super) async fn revoke_api_token(State(app): State<App>, caller: Caller, Named(id): Named<String>) -> Done {
    let (store, by) = (&app.services.store, caller.by(Time::now()));
    let token =
        store.api_tokens().await?.into_iter().find(|token| token.id == id).ok_or_else(|| Failure::missing("the API token"))?;
    store.revoke_api_token(&id, &by).await?;
    end_logins_of_token(store, &token, &by).await?;
    Ok(StatusCode::NO_CONTENT)
}
