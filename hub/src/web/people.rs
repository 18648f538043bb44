//! People and API tokens: for admins.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};

use super::Web;
use super::at::At;
use super::fields::Fields;
use super::oops::{Oops, shown};
use super::shell::{Section, Shell};
use super::tokens::standing;
use super::view::{Badge, GOOD, Moment, ago};
use super::visitor::Visitor;
use crate::auth::{Area, end_logins_of_token, is_scope};
use crate::model::Time;
use crate::people::{ApiToken, Role, User};
use crate::store::{NewApiToken, PersonChange};

/// What the address may say.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    done: String,
}

struct PersonRow {
    name: String,
    display: String,
    role: String,
    groups: String,
    last: String,
    locked: bool,
}

struct TokenRow {
    id: String,
    name: String,
    role: Role,
    scopes: String,
    badge: Badge,
    counts: bool,
    ends: String,
    used: String,
    made: Moment,
    by: String,
}

#[derive(Template)]
#[template(path = "people.html")]
struct Page {
    shell: Shell,
    done: Option<&'static str>,
    made: Option<String>,
    made_name: String,
    people: Vec<PersonRow>,
    tokens: Vec<TokenRow>,
    roles: &'static [Role],
    csrf: String,
}

fn moment_or_never(time: Option<Time>, now: Time) -> String {
    time.map_or_else(|| "never".to_owned(), |time| ago(time, now))
}

impl PersonRow {
    fn of(user: &User, now: Time) -> Self {
        let display = if user.display_name.is_empty() { &user.name } else { &user.display_name };
        Self {
            name: user.name.clone(),
            display: display.clone(),
            role: user.role.map_or_else(|| "none yet".to_owned(), |role| role.to_string()),
            groups: user.groups.join(", "),
            last: moment_or_never(user.last_login, now),
            locked: user.locked,
        }
    }
}

impl TokenRow {
    fn of(token: &ApiToken, now: Time) -> Self {
        let (badge, ends) = standing(token.revoked_at, token.expires_at, now);
        let scopes = token.scopes.iter().cloned().collect::<Vec<_>>().join(", ");
        Self {
            id: token.id.clone(),
            name: token.name.clone(),
            role: token.role,
            scopes: if scopes.is_empty() { "all".to_owned() } else { scopes },
            counts: badge.tone == GOOD,
            badge,
            ends,
            used: moment_or_never(token.last_used, now),
            made: Moment::of(token.created_at, now),
            by: token.created_by.clone(),
        }
    }
}

async fn render(web: &Web, visitor: &Visitor, done: &str, made: Option<(String, String)>) -> Result<Response, Oops> {
    let (store, now) = (&web.services.store, visitor.now);
    let (made_name, made) = made.map_or((String::new(), None), |(name, text)| (name, Some(text)));
    let done = match done {
        "locked" => Some("Locked out; their logins have ended."),
        "unlocked" => Some("They may sign in again."),
        "revoked" => Some("Revoked; the logins made with it have ended."),
        _ => None,
    };
    shown(&Page {
        shell: visitor.shell(web, Section::People, "People").await?,
        done,
        made,
        made_name,
        people: store.users().await?.iter().map(|user| PersonRow::of(user, now)).collect(),
        tokens: store.api_tokens().await?.iter().map(|token| TokenRow::of(token, now)).collect(),
        roles: Role::ALL,
        csrf: visitor.csrf(),
    })
}

/// The page.
pub(super) async fn page(State(web): State<Web>, visitor: Visitor, Query(asked): Query<Asked>) -> Result<Response, Oops> {
    visitor.may_see(Role::Admin, Area::People)?;
    render(&web, &visitor, &asked.done, None).await
}

/// Locks somebody out, or lets them in again.
pub(super) async fn lock(State(web): State<Web>, visitor: Visitor, fields: Fields) -> Result<Response, Oops> {
    visitor.may_change(fields.csrf(), Role::Admin, Area::People)?;
    let (store, by) = (&web.services.store, visitor.by());
    let user = store.user(fields.text("name")).await?.ok_or_else(|| Oops::missing("there is no such person"))?;
    let locked = fields.text("locked") == "yes";
    store.set_user(&user.name, PersonChange::Locked(locked), &by).await?;
    Ok(Redirect::to(if locked { "/people?done=locked" } else { "/people?done=unlocked" }).into_response())
}

/// Makes an API token. It is shown in the answer and nowhere else.
pub(super) async fn create_token(State(web): State<Web>, visitor: Visitor, fields: Fields) -> Result<Response, Oops> {
    visitor.may_change(fields.csrf(), Role::Admin, Area::People)?;
    let scopes = fields.lines("scopes");
    if let Some(unknown) = scopes.iter().find(|scope| !is_scope(scope)) {
        return Err(Oops::unusable(format!("there is no scope `{unknown}`: write an area such as `devices`, or `devices:read`")));
    }
    let new = NewApiToken {
        name: fields.text("name").to_owned(),
        role: fields.parsed("role")?.ok_or_else(|| Oops::unusable("choose a role"))?,
        scopes: scopes.into_iter().collect(),
        expires_at: fields.days("days", visitor.now)?,
    };
    let (token, text) = web.services.store.create_api_token(new, &visitor.caller.scopes, &visitor.by()).await?;
    render(&web, &visitor, "", Some((token.name, text.expose().to_owned()))).await
}

/// Revokes an API token and ends the logins that began with it.
pub(super) async fn revoke_token(
    State(web): State<Web>,
    visitor: Visitor,
    At(id): At<String>,
    fields: Fields,
) -> Result<Response, Oops> {
    visitor.may_change(fields.csrf(), Role::Admin, Area::People)?;
    let (store, by) = (&web.services.store, visitor.by());
    store.revoke_api_token(&id, &by).await?;
    if let Some(token) = store.api_tokens().await?.iter().find(|token| token.id == id) {
        end_logins_of_token(store, token, &by).await?;
    }
    Ok(Redirect::to("/people?done=revoked").into_response())
}
