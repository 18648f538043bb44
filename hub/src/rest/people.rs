//! People and API tokens.

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::input::{Asked, Given, Named};
use super::paged::Paged;
use super::{Answer, App, Done, ErrorBody, Failure};
use crate::auth::{Caller, end_logins_of_token, is_scope};
use crate::model::{Page, Time};
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

/// People, by name, in pages.
#[utoipa::path(get, operation_id = "listUsers", path = "/api/v1/users", tag = "people", params(Paged),
    responses((status = 200, body = Page<Person>), (status = "default", body = ErrorBody)))]
pub(super) async fn list(State(app): State<App>, Asked(page): Asked<Paged>) -> Answer<Page<Person>> {
    let Page { items, total } = app.services.store.users_page(page.offset, page.limit).await?;
    let person = |user: User| Person { effective_role: app.auth.role_of(&user), user };
    Ok(Json(Page { items: items.into_iter().map(person).collect(), total }))
}

/// What an admin changes of a person; what is not there stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct UserEdit {
    /// What they may do when no group of theirs has a role; null: nothing.
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = Option<Role>)]
    role: Option<Option<Role>>,
    /// They may not sign in.
    #[serde(default)]
    locked: Option<bool>,
}

/// Tells a null from nothing said.
fn said<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Option<Role>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Changes a person's role, locks them out or lets them in again. Their logins end, unless they are let in again and nothing else.
#[utoipa::path(patch, operation_id = "editUser", path = "/api/v1/users/{name}", tag = "people", params(("name" = String, Path, description = "As the identity provider calls them (`sub`)")),
    request_body = UserEdit, responses((status = 204, description = "Changed"), (status = "default", body = ErrorBody)))]
pub(super) async fn change(
    State(app): State<App>,
    caller: Caller,
    Named(name): Named<String>,
    Given(edit): Given<UserEdit>,
) -> Done {
    let (store, by) = (&app.services.store, caller.by(Time::now()));
    if let Some(role) = edit.role {
        may_give(&caller, role)?;
        store.set_role(&name, role, &by).await?;
    }
    if let Some(locked) = edit.locked {
        store.user(&name).await?.ok_or_else(|| Failure::missing("the person"))?;
        store.set_user(&name, PersonChange::Locked(locked), &by).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// A person with a role has no scopes: who has, would make somebody who may do more.
fn may_give(caller: &Caller, role: Option<Role>) -> Result<(), Failure> {
    match role {
        Some(_) if !caller.scopes.is_empty() => Err(Failure::new(
            StatusCode::FORBIDDEN,
            "scope",
            "cannot give a role with a token of limited scope; use one without scopes",
        )),
        Some(_) | None => Ok(()),
    }
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
    may_give(&caller, given.role)?;
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

/// API tokens, the newest first, in pages.
#[utoipa::path(get, operation_id = "listApiTokens", path = "/api/v1/api-tokens", tag = "people", params(Paged),
    responses((status = 200, body = Page<ApiToken>), (status = "default", body = ErrorBody)))]
pub(super) async fn api_tokens(State(app): State<App>, Asked(page): Asked<Paged>) -> Answer<Page<ApiToken>> {
    Ok(Json(app.services.store.api_tokens_page(page.offset, page.limit).await?))
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
