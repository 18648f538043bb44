//! `hub rule add|list|delete`.

use std::collections::BTreeMap;

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::files;
use crate::hub::{Body, Text, routes};
use crate::view::table;

use super::super::args::Global;
use super::super::node::done;
use super::args::{LooksAt, Rule, RuleAdd};
use super::{List, hub_of, labels};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Known {
    name: String,
    kind: Value,
    #[serde(default)]
    outcome: String,
    #[serde(default)]
    without_token: bool,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    created_by: String,
}

impl Known {
    fn fits(&self) -> String {
        let which = match (&self.kind["serials"], &self.kind["label"]) {
            (Value::Array(serials), _) => format!("{} serial numbers", serials.len()),
            (_, Value::String(label)) => format!("label {label}"),
            _ if self.kind == "manifest" => "expected devices".to_owned(),
            _ => self.kind.to_string(),
        };
        if self.without_token { format!("{which}, without a token") } else { which }
    }
}

impl Text for List<Known> {
    fn text(&self) -> String {
        let row = |rule: &Known| {
            let gives = [rule.groups.join(" "), labels(&rule.labels)].join(" ").trim().to_owned();
            [rule.name.clone(), rule.outcome.clone(), rule.fits(), gives, rule.created_by.clone()]
        };
        table(["RULE", "OUTCOME", "FITS", "GIVES", "MADE BY"], self.items.iter().map(row))
    }
}

pub(super) async fn run(global: &Global, command: Rule) -> Result<(), Failure> {
    let hub = hub_of(global)?;
    match command {
        Rule::List => super::show::<List<Known>>(global, &hub, routes::RULES).await,
        Rule::Delete { name } => {
            hub.ask(Method::DELETE, &routes::rule(&name), Body::None).await?;
            done(global.output, "deleted", &name)
        }
        Rule::Add(command) => {
            let RuleAdd { name, looks_at, outcome, without_token, label, group } = command;
            let labels: BTreeMap<_, _> = label.into_iter().collect();
            let rule = json!({
                "name": name, "kind": kind(looks_at)?, "outcome": outcome, "withoutToken": without_token, "labels": labels, "groups": group,
            });
            hub.ask(Method::POST, routes::RULES, Body::Json(rule)).await?;
            done(global.output, "made", &name)
        }
    }
}

fn kind(looks_at: LooksAt) -> Result<Value, Failure> {
    let LooksAt { expected: _, serials, having } = looks_at;
    Ok(match (serials, having) {
        (Some(file), _) => {
            let text = files::read_text(&file)?;
            json!({ "serials": text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>() })
        }
        (None, Some(label)) => json!({ "label": label }),
        // One of the three is always given.
        (None, None) => json!("manifest"),
    })
}
