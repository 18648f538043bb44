//! Join tokens: made, shown once, listed, revoked.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};

use super::Web;
use super::at::At;
use super::fields::Fields;
use super::oops::{Oops, shown};
use super::pager::{PAGE, Pager};
use super::shell::{Section, Shell};
use super::view::{BAD, Badge, GOOD, Moment, QUIET, WARN, ago, label_lines};
use super::visitor::Visitor;
use crate::auth::Area;
use crate::model::{Binding, Time, Token};
use crate::people::Role;
use crate::store::NewToken;

struct Row {
    id: String,
    name: String,
    badge: Badge,
    /// It lets somebody in.
    counts: bool,
    ends: String,
    used: String,
    binding: String,
    gives: String,
    made: Moment,
    by: String,
}

#[derive(Template)]
#[template(path = "tokens.html")]
struct Page {
    shell: Shell,
    /// The text of one that was made just now.
    made: Option<String>,
    made_name: String,
    rows: Vec<Row>,
    pager: Pager,
    can_change: bool,
    csrf: String,
}

/// What the address may say.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    offset: u64,
}

async fn render(web: &Web, visitor: &Visitor, asked: &Asked, made: Option<(String, String)>) -> Result<Response, Oops> {
    let tokens = web.services.store.tokens_page(asked.offset, PAGE).await?;
    let (made_name, made) = made.map_or((String::new(), None), |(name, text)| (name, Some(text)));
    shown(&Page {
        shell: visitor.shell(web, Section::Tokens, "Join tokens").await?,
        made,
        made_name,
        rows: tokens.items.iter().map(|token| Row::of(token, visitor.now)).collect(),
        pager: Pager::of("/tokens", &[], asked.offset, tokens.total),
        can_change: visitor.can_change(Role::Operator, Area::Tokens),
        csrf: visitor.csrf(),
    })
}

/// The page.
pub(super) async fn page(State(web): State<Web>, visitor: Visitor, Query(asked): Query<Asked>) -> Result<Response, Oops> {
    visitor.may_see(Role::Reader, Area::Tokens)?;
    render(&web, &visitor, &asked, None).await
}

/// Makes a token. It is shown in the answer and nowhere else.
pub(super) async fn create(State(web): State<Web>, visitor: Visitor, fields: Fields) -> Result<Response, Oops> {
    visitor.may_change(fields.csrf(), Role::Operator, Area::Tokens)?;
    let serial = Some(fields.text("serial").to_owned()).filter(|serial| !serial.is_empty());
    let new = NewToken {
        name: fields.text("name").to_owned(),
        uses: fields.parsed("uses")?.unwrap_or(1),
        binding: Binding { serial, mac: fields.parsed("mac")?, label: fields.parsed("label")? },
        labels: fields.labels("labels")?,
        groups: fields.lines("groups"),
        expires_at: fields.days("days", visitor.now)?,
        text: None,
    };
    let (token, text) = web.services.store.create_token(new, &visitor.by()).await?;
    render(&web, &visitor, &Asked::default(), Some((token.name, text.expose().to_owned()))).await
}

/// Revokes a token.
pub(super) async fn revoke(
    State(web): State<Web>,
    visitor: Visitor,
    At(id): At<String>,
    fields: Fields,
) -> Result<Response, Oops> {
    visitor.may_change(fields.csrf(), Role::Operator, Area::Tokens)?;
    web.services.store.revoke_token(&id, &visitor.by()).await?;
    Ok(Redirect::to("/tokens").into_response())
}

/// How something that may end and be revoked stands.
pub(super) fn standing(revoked: Option<Time>, expires: Option<Time>, now: Time) -> (Badge, String) {
    match (revoked, expires) {
        (Some(_), _) => (Badge::new("revoked", BAD), String::new()),
        (None, Some(end)) if end <= now => (Badge::new("expired", QUIET), ago(end, now)),
        (None, Some(end)) => (Badge::new("good", GOOD), format!("ends {}", ago(end, now))),
        (None, None) => (Badge::new("good", GOOD), String::new()),
    }
}

impl Row {
    fn of(token: &Token, now: Time) -> Self {
        let Binding { serial, mac, label } = &token.binding;
        let binding = [
            serial.as_ref().map(|serial| format!("serial {serial}")),
            mac.as_ref().map(|mac| format!("MAC {mac}")),
            label.as_ref().map(|label| format!("label {label}")),
        ];
        let groups = token.groups.iter().map(|group| format!("group {group}"));
        let (badge, ends) = match (standing(token.revoked_at, token.expires_at, now), token.uses_left) {
            ((badge, _), 0) if badge.tone == GOOD => (Badge::new("used up", WARN), String::new()),
            (other, _) => other,
        };
        Self {
            id: token.id.clone(),
            name: if token.name.is_empty() { "(no name)".to_owned() } else { token.name.clone() },
            counts: badge.tone == GOOD,
            badge,
            ends,
            used: format!("{} of {}", token.uses, u64::from(token.uses) + u64::from(token.uses_left)),
            binding: binding.into_iter().flatten().collect::<Vec<_>>().join(", "),
            gives: label_lines(&token.labels).into_iter().chain(groups).collect::<Vec<_>>().join(", "),
            made: Moment::of(token.created_at, now),
            by: token.created_by.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_why_it_does_not_count() {
        let now = Time::from_millis(1_000_000);
        let word = |token: &Token| {
            let row = Row::of(token, now);
            (row.badge.word, row.counts)
        };
        let token = crate::tokens::testing::token();
        assert_eq!(word(&token), ("good".into(), true));
        assert_eq!(word(&Token { uses_left: 0, ..token.clone() }), ("used up".into(), false));
        assert_eq!(word(&Token { expires_at: Some(now), uses_left: 0, ..token.clone() }), ("expired".into(), false));
        assert_eq!(word(&Token { revoked_at: Some(now), ..token }), ("revoked".into(), false));
    }
}
