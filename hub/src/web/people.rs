//! People and API tokens: for admins.

use std::collections::{BTreeMap, BTreeSet};

use askama::Template;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};

use super::Web;
use super::at::At;
use super::fields::Fields;
use super::oops::{Oops, shown};
use super::pager::{PAGE, Pager};
use super::shell::{Section, Shell};
use super::tokens::standing;
use super::view::{Badge, GOOD, Moment, ago};
use super::visitor::Visitor;
use crate::auth::{Area, end_logins_of_token, is_scope};
use crate::model::{Actor, Time};
use crate::people::{ApiToken, Role, User};
use crate::rest::actor_of;
use crate::store::{Installer, NewApiToken, PersonChange};

/// What the address may say.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    done: String,
    /// People before the page.
    people: u64,
    /// API tokens before the page.
    tokens: u64,
}

struct PersonRow {
    name: String,
    display: String,
    /// What they may do, by their groups or by hand; none: nothing.
    role: Option<Role>,
    /// What an admin gave them; none: nothing.
    by_hand: Option<Role>,
    groups: String,
    last: String,
    locked: bool,
}

/// Somebody with the role installer, or who was given sites.
struct InstallerRow {
    actor: String,
    sites: String,
    /// Their role lets them claim devices as an installer.
    counts: bool,
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
    people_pager: Pager,
    tokens: Vec<TokenRow>,
    tokens_pager: Pager,
    installers: Vec<InstallerRow>,
    roles: &'static [Role],
    csrf: String,
}

fn moment_or_never(time: Option<Time>, now: Time) -> String {
    time.map_or_else(|| "never".to_owned(), |time| ago(time, now))
}

impl PersonRow {
    fn of(user: &User, role: Option<Role>, now: Time) -> Self {
        let display = if user.display_name.is_empty() { &user.name } else { &user.display_name };
        Self {
            name: user.name.clone(),
            display: display.clone(),
            role,
            by_hand: user.role,
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

/// Who claims as an installer, and for which sites: those who were given some, and those shown who were not.
fn installers(given: Vec<Installer>, people: &[PersonRow], tokens: &[TokenRow]) -> Vec<InstallerRow> {
    let people = people.iter().filter(|row| row.role == Some(Role::Installer)).map(|row| Actor::User(row.name.clone()));
    let tokens = tokens.iter().filter(|row| row.counts && row.role == Role::Installer).map(|row| Actor::Token(row.name.clone()));
    let role: BTreeSet<String> = people.chain(tokens).map(|actor| actor.to_string()).collect();
    let mut rows: BTreeMap<String, String> = role.iter().map(|actor| (actor.clone(), String::new())).collect();
    rows.extend(given.into_iter().map(|one| (one.actor, one.sites.join("\n"))));
    rows.into_iter().map(|(actor, sites)| InstallerRow { counts: role.contains(&actor), actor, sites }).collect()
}

async fn render(web: &Web, visitor: &Visitor, asked: &Asked, made: Option<(String, String)>) -> Result<Response, Oops> {
    let (store, now) = (&web.services.store, visitor.now);
    let (made_name, made) = made.map_or((String::new(), None), |(name, text)| (name, Some(text)));
    let (found, known) = (store.users_page(asked.people, PAGE).await?, store.api_tokens_page(asked.tokens, PAGE).await?);
    let people: Vec<_> = found.items.iter().map(|user| PersonRow::of(user, web.auth.role_of(user), now)).collect();
    let tokens: Vec<_> = known.items.iter().map(|token| TokenRow::of(token, now)).collect();
    let (before_people, before_tokens) = (asked.people.to_string(), asked.tokens.to_string());
    let done = match asked.done.as_str() {
        "locked" => Some("Locked out; their logins have ended."),
        "unlocked" => Some("They may sign in again."),
        "role" => Some("Said; their logins have ended, and count anew when they sign in."),
        "sites" => Some("Given; it counts at once."),
        "revoked" => Some("Revoked; the logins made with it have ended."),
        _ => None,
    };
    shown(&Page {
        shell: visitor.shell(web, Section::People, "People").await?,
        done,
        made,
        made_name,
        installers: installers(store.installers().await?, &people, &tokens),
        people,
        people_pager: Pager::named("people", "/people", &[("tokens", &before_tokens)], asked.people, found.total),
        tokens,
        tokens_pager: Pager::named("tokens", "/people", &[("people", &before_people)], asked.tokens, known.total),
        roles: Role::ALL,
        csrf: visitor.csrf(),
    })
}

/// The page.
pub(super) async fn page(State(web): State<Web>, visitor: Visitor, Query(asked): Query<Asked>) -> Result<Response, Oops> {
    visitor.may_see(Role::Admin, Area::People)?;
    render(&web, &visitor, &asked, None).await
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

/// Says what somebody may do; they may never have signed in yet.
pub(super) async fn role(State(web): State<Web>, visitor: Visitor, fields: Fields) -> Result<Response, Oops> {
    visitor.may_change(fields.csrf(), Role::Admin, Area::People)?;
    let role = match fields.text("role") {
        "none" => None,
        _ => Some(fields.parsed("role")?.ok_or_else(|| Oops::unusable("choose a role"))?),
    };
    web.services.store.set_role(fields.text("name"), role, &visitor.by()).await?;
    Ok(Redirect::to("/people?done=role").into_response())
}

/// Says for which sites somebody claims devices as an installer.
pub(super) async fn sites(State(web): State<Web>, visitor: Visitor, fields: Fields) -> Result<Response, Oops> {
    visitor.may_change(fields.csrf(), Role::Admin, Area::People)?;
    let actor = actor_of(fields.text("actor")).ok_or_else(|| Oops::unusable("write `user:NAME` or `token:NAME`"))?;
    web.services.store.put_installer(&actor, &fields.lines("sites"), &visitor.by()).await?;
    Ok(Redirect::to("/people?done=sites").into_response())
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
    render(&web, &visitor, &Asked::default(), Some((token.name, text.expose().to_owned()))).await
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_installer_without_sites_is_shown_to_be_given_some() {
        let person = |name: &str, role| PersonRow {
            name: name.into(),
            display: String::new(),
            role,
            by_hand: role,
            groups: String::new(),
            last: String::new(),
            locked: false,
        };
        let given = vec![Installer { actor: "user:ada".into(), sites: vec!["Store 1".into(), "Store 2".into()] }];
        let people = [person("kim", Some(Role::Installer)), person("ada", Some(Role::Reader))];
        let rows = installers(given, &people, &[]);
        let rows: Vec<_> = rows.iter().map(|row| (row.actor.as_str(), row.sites.as_str(), row.counts)).collect();
        assert_eq!(rows, [("user:ada", "Store 1\nStore 2", false), ("user:kim", "", true)]);
    }
}
