//! For which sites installers claim devices.

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use super::input::{Given, Named};
use super::{Answer, App, Done, ErrorBody, Failure, List};
use crate::auth::Caller;
use crate::model::{Actor, Time};
use crate::store::Installer;

/// Sites to give.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Sites {
    /// All of them; `*` stands for every one, none takes all away.
    sites: Vec<String>,
}

/// All who were given sites.
#[utoipa::path(get, operation_id = "listInstallers", path = "/api/v1/installers", tag = "people", responses((status = 200, body = List<Installer>), (status = "default", body = ErrorBody)))]
pub(super) async fn list(State(app): State<App>) -> Answer<List<Installer>> {
    Ok(Json(List { items: app.services.store.installers().await? }))
}

/// Gives a person, or the API tokens of a name, the sites for which they claim devices as installer. It counts at once.
#[utoipa::path(put, operation_id = "putInstaller", path = "/api/v1/installers/{actor}", tag = "people",
    params(("actor" = String, Path, description = "`user:NAME` or `token:NAME`")), request_body = Sites,
    responses((status = 204, description = "Given"), (status = "default", body = ErrorBody)))]
pub(super) async fn put(State(app): State<App>, caller: Caller, Named(actor): Named<String>, Given(given): Given<Sites>) -> Done {
    let wrong = || {
        Failure::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "cannot tell who this is: write `user:NAME` or `token:NAME`")
    };
    let actor = actor_of(&actor).ok_or_else(wrong)?;
    app.services.store.put_installer(&actor, &given.sites, &caller.by(Time::now())).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A person or the API tokens of a name, as the audit writes them.
pub(crate) fn actor_of(text: &str) -> Option<Actor> {
    let is_name = |name: &str| !name.is_empty() && name.len() <= 255 && !name.chars().any(char::is_control);
    match text.split_once(':') {
        Some(("user", name)) if is_name(name) => Some(Actor::User(name.to_owned())),
        Some(("token", name)) if is_name(name) => Some(Actor::Token(name.to_owned())),
        Some(_) | None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sites_are_given_to_people_and_tokens_alone() {
        assert_eq!(actor_of("user:a:b"), Some(Actor::User("a:b".into())));
        assert_eq!(actor_of("token:ci"), Some(Actor::Token("ci".into())));
        for bad in ["", "user:", "admin-token", "device:ab", "kim", "user:a\nb"] {
            assert_eq!(actor_of(bad), None, "{bad}");
        }
    }
}
