//! How devices are let in without a person: rules, and what becomes of devices that nobody announced.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};

use super::Web;
use super::at::At;
use super::fields::Fields;
use super::oops::{Oops, shown};
use super::shell::{Section, Shell};
use super::view::{BAD, Badge, GOOD, Moment, label_lines};
use super::visitor::Visitor;
use crate::auth::Area;
use crate::model::{Policy, Rule, RuleKind, RuleOutcome, Strangers, Time};
use crate::people::Role;
use crate::store::NewRule;

/// What the address may say.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    done: String,
}

impl Asked {
    fn words(&self) -> Option<&'static str> {
        match self.done.as_str() {
            "made" => Some("Made. Devices that wait are looked at when they call next."),
            "deleted" => Some("Deleted. Devices that it dealt with stay as they are."),
            "policy" => Some("Changed."),
            _ => None,
        }
    }
}

struct Row {
    name: String,
    fits: String,
    badge: Badge,
    without_token: bool,
    gives: String,
    by: String,
    at: Moment,
}

impl Row {
    fn of(rule: &Rule, now: Time) -> Self {
        let groups = rule.groups.iter().map(|group| format!("group {group}"));
        Self {
            name: rule.name.clone(),
            fits: fits(&rule.kind),
            badge: badge(rule.outcome),
            without_token: rule.without_token,
            gives: label_lines(&rule.labels).into_iter().chain(groups).collect::<Vec<_>>().join(", "),
            by: rule.created_by.clone(),
            at: Moment::of(rule.created_at, now),
        }
    }
}

fn badge(outcome: RuleOutcome) -> Badge {
    match outcome {
        RuleOutcome::Admit => Badge::new("admits", GOOD),
        RuleOutcome::Refuse => Badge::new("refuses", BAD),
        RuleOutcome::Quarantine => Badge::new("quarantines", BAD),
    }
}

fn fits(kind: &RuleKind) -> String {
    match kind {
        RuleKind::Manifest => "expected devices".to_owned(),
        RuleKind::Serials(serials) if serials.len() == 1 => format!("serial number {}", serials[0]),
        RuleKind::Serials(serials) => format!("{} serial numbers", serials.len()),
        RuleKind::Label(label) => format!("label {label}"),
    }
}

#[derive(Template)]
#[template(path = "rules.html")]
struct Page {
    shell: Shell,
    done: Option<&'static str>,
    rows: Vec<Row>,
    waits: bool,
    pending_limit: u32,
    can_change: bool,
    csrf: String,
}

/// The page.
pub(super) async fn page(State(web): State<Web>, visitor: Visitor, Query(asked): Query<Asked>) -> Result<Response, Oops> {
    visitor.may_see(Role::Reader, Area::Rules)?;
    let store = &web.services.store;
    let Policy { strangers, pending_limit } = store.policy().await?;
    shown(&Page {
        shell: visitor.shell(&web, Section::Rules, "Rules").await?,
        done: asked.words(),
        rows: store.rules().await?.iter().map(|rule| Row::of(rule, visitor.now)).collect(),
        waits: strangers == Strangers::Wait,
        pending_limit,
        can_change: visitor.can_change(Role::Admin, Area::Rules),
        csrf: visitor.csrf(),
    })
}

fn back(done: &str) -> Response {
    Redirect::to(&format!("/rules?done={done}")).into_response()
}

/// What the form says a rule looks at.
fn kind(fields: &Fields) -> Result<RuleKind, Oops> {
    match fields.text("kind") {
        "manifest" => Ok(RuleKind::Manifest),
        "serials" => Ok(RuleKind::Serials(fields.lines("serials"))),
        "label" => {
            let label = fields.parsed("label")?;
            label.map(RuleKind::Label).ok_or_else(|| Oops::unusable("say which label a device must have, as key=value"))
        }
        _ => Err(Oops::unusable("choose what the rule looks at")),
    }
}

/// Makes a rule; one of the same name is replaced.
pub(super) async fn make(State(web): State<Web>, visitor: Visitor, fields: Fields) -> Result<Response, Oops> {
    visitor.may_change(fields.csrf(), Role::Admin, Area::Rules)?;
    let new = NewRule {
        name: fields.text("name").to_owned(),
        kind: kind(&fields)?,
        outcome: fields.parsed("outcome")?.unwrap_or_default(),
        without_token: fields.text("without_token") == "yes",
        labels: fields.labels("labels")?,
        groups: fields.lines("groups"),
    };
    web.services.store.put_rule(new, &visitor.by()).await?;
    Ok(back("made"))
}

/// Deletes a rule.
pub(super) async fn delete(
    State(web): State<Web>,
    visitor: Visitor,
    At(name): At<String>,
    fields: Fields,
) -> Result<Response, Oops> {
    visitor.may_change(fields.csrf(), Role::Admin, Area::Rules)?;
    web.services.store.delete_rule(&name, &visitor.by()).await?;
    Ok(back("deleted"))
}

/// Changes what becomes of devices that nobody announced.
pub(super) async fn policy(State(web): State<Web>, visitor: Visitor, fields: Fields) -> Result<Response, Oops> {
    visitor.may_change(fields.csrf(), Role::Admin, Area::Rules)?;
    let strangers = match fields.text("strangers") {
        "refuse" => Strangers::Refuse,
        "wait" => Strangers::Wait,
        _ => return Err(Oops::unusable("choose what becomes of them")),
    };
    let pending_limit = fields.parsed("pending_limit")?.ok_or_else(|| Oops::unusable("say how many may wait at once"))?;
    web.services.store.put_policy(&Policy { strangers, pending_limit }, &visitor.by()).await?;
    Ok(back("policy"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_says_whom_it_fits() {
        assert_eq!(fits(&RuleKind::Serials(vec!["FZ1".into()])), "serial number FZ1");
        assert_eq!(fits(&RuleKind::Serials(vec![String::new(); 12])), "12 serial numbers");
        assert_eq!(fits(&RuleKind::Label("shop=1".parse().expect("a label"))), "label shop=1");
    }
}
