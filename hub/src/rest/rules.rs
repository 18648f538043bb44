//! How devices are let in without a person.

use axum::Json;
use axum::extract::State;
use http::StatusCode;

use super::input::{Given, Named};
use super::{Answer, App, Done, ErrorBody, List};
use crate::auth::Caller;
use crate::model::{Policy, Rule, Time};
use crate::store::NewRule;

/// All rules, in the order in which they are asked.
#[utoipa::path(get, operation_id = "listRules", path = "/api/v1/rules", tag = "rules", responses((status = 200, body = List<Rule>), (status = "default", body = ErrorBody)))]
pub(super) async fn list(State(app): State<App>) -> Answer<List<Rule>> {
    super::list(app.services.store.rules().await?)
}

/// Makes a rule; one with the same name is replaced.
#[utoipa::path(post, operation_id = "putRule", path = "/api/v1/rules", tag = "rules", request_body = NewRule,
    responses((status = 204, description = "Made"), (status = "default", body = ErrorBody)))]
pub(super) async fn put(State(app): State<App>, caller: Caller, Given(new): Given<NewRule>) -> Done {
    app.services.store.put_rule(new, &caller.by(Time::now())).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Deletes a rule. Devices that it admitted stay.
#[utoipa::path(delete, operation_id = "deleteRule", path = "/api/v1/rules/{name}", tag = "rules", params(("name" = String, Path, description = "Its name")),
    responses((status = 204, description = "Deleted"), (status = "default", body = ErrorBody)))]
pub(super) async fn delete(State(app): State<App>, caller: Caller, Named(name): Named<String>) -> Done {
    app.services.store.delete_rule(&name, &caller.by(Time::now())).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What becomes of devices that nobody announced.
#[utoipa::path(get, operation_id = "getPolicy", path = "/api/v1/policy", tag = "rules", responses((status = 200, body = Policy), (status = "default", body = ErrorBody)))]
pub(super) async fn policy(State(app): State<App>) -> Answer<Policy> {
    Ok(Json(app.services.store.policy().await?))
}

/// Changes what becomes of devices that nobody announced.
#[utoipa::path(put, operation_id = "putPolicy", path = "/api/v1/policy", tag = "rules", request_body = Policy,
    responses((status = 204, description = "Changed"), (status = "default", body = ErrorBody)))]
pub(super) async fn put_policy(State(app): State<App>, caller: Caller, Given(policy): Given<Policy>) -> Done {
    app.services.store.put_policy(&policy, &caller.by(Time::now())).await?;
    Ok(StatusCode::NO_CONTENT)
}
