//! The audit: who did what, with which device, when and from where. It is only looked at.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use serde_json::Value;

use super::Web;
use super::oops::{Oops, shown};
use super::pager::{PAGE, address};
use super::shell::{Section, Shell};
use super::view::{Moment, short};
use super::visitor::Visitor;
use crate::auth::Area;
use crate::model::{AuditEntry, AuditFilter, Time};
use crate::people::Role;

/// What was asked for, as it stands in the address.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    actor: String,
    action: String,
    device: String,
    before: Option<i64>,
}

impl Asked {
    fn is_any(&self) -> bool {
        !(self.actor.is_empty() && self.action.is_empty() && self.device.is_empty() && self.before.is_none())
    }

    fn filter(&self) -> Result<AuditFilter, Oops> {
        let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let device = given(&self.device).map(|text| text.parse()).transpose();
        let device = device.map_err(|_| Oops::unusable("a device's id has 64 hexadecimal digits"))?;
        Ok(AuditFilter { device, actor: given(&self.actor), action: given(&self.action), before: self.before, limit: PAGE })
    }

    fn older(&self, last: i64) -> String {
        let before = last.to_string();
        let pairs = [("actor", self.actor.as_str()), ("action", &self.action), ("device", &self.device), ("before", &before)];
        address("/audit", &pairs)
    }
}

struct Row {
    seq: i64,
    at: Moment,
    /// To the second: in an audit the moment itself counts.
    when: String,
    actor: String,
    action: String,
    device: String,
    short_device: String,
    address: String,
    details: String,
    hash: String,
}

impl Row {
    fn of(entry: &AuditEntry, now: Time) -> Self {
        let device = entry.device.as_ref().map(ToString::to_string).unwrap_or_default();
        Self {
            seq: entry.seq,
            at: Moment::of(entry.at, now),
            when: entry.at.to_string().replace('T', " ").chars().take(19).collect(),
            actor: shortened(&entry.actor, &device),
            action: entry.action.clone(),
            short_device: short(&device),
            device,
            address: entry.address.clone(),
            details: details(&entry.details),
            hash: entry.hash.clone(),
        }
    }
}

/// An actor; a device's id is cut, or left out where it stands beside it anyway.
fn shortened(actor: &str, device: &str) -> String {
    match actor.strip_prefix("device:") {
        Some(id) if id == device => "the device".to_owned(),
        Some(id) => format!("device:{}", short(id)),
        None => actor.to_owned(),
    }
}

/// Details in one line: what is empty says nothing, and of an id or digest the beginning is enough.
fn details(value: &Value) -> String {
    match told(value) {
        Some(Value::Object(fields)) => {
            let words = fields.iter().map(|(name, value)| match value.as_str() {
                Some(text) => format!("{name}={text}"),
                None => format!("{name}={value}"),
            });
            words.collect::<Vec<_>>().join(" ")
        }
        Some(other) => other.to_string(),
        None => String::new(),
    }
}

/// What of a value says something.
fn told(value: &Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::String(text) if text.is_empty() => None,
        Value::String(text) if text.starts_with("device:") => Some(shortened(text, "").into()),
        Value::String(text) if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) => Some(short(text).into()),
        Value::Array(items) => {
            Some(items.iter().filter_map(told).collect::<Vec<_>>()).filter(|items| !items.is_empty()).map(Value::Array)
        }
        Value::Object(fields) => {
            let fields: serde_json::Map<_, _> =
                fields.iter().filter_map(|(name, value)| Some((name.clone(), told(value)?))).collect();
            Some(fields).filter(|fields| !fields.is_empty()).map(Value::Object)
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) => Some(value.clone()),
    }
}

#[derive(Template)]
#[template(path = "audit.html")]
struct Page {
    shell: Shell,
    asked: Asked,
    rows: Vec<Row>,
    older: Option<String>,
}

/// The page.
pub(super) async fn page(State(web): State<Web>, visitor: Visitor, Query(asked): Query<Asked>) -> Result<Response, Oops> {
    visitor.may_see(Role::Reader, Area::Audit)?;
    let entries = web.services.store.audit(&asked.filter()?).await?;
    let is_full = entries.len() == usize::try_from(PAGE).unwrap_or(usize::MAX);
    let older = entries.last().filter(|last| is_full && last.seq > 1).map(|last| asked.older(last.seq));
    let shell = visitor.shell(&web, Section::Audit, "Audit").await?;
    shown(&Page { shell, rows: entries.iter().map(|entry| Row::of(entry, visitor.now)).collect(), older, asked })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_one_line_without_what_says_nothing() {
        let value = serde_json::json!({ "from": "pending", "reason": "", "labels": {}, "uses": 3, "groups": ["a"], "name": null,
            "after": { "site": "", "digest": "ab".repeat(32) } });
        assert_eq!(details(&value), "after={\"digest\":\"abababababab\"} from=pending groups=[\"a\"] uses=3");
        assert_eq!(shortened(&format!("device:{}", "ab".repeat(32)), ""), "device:abababababab");
        assert_eq!(shortened("user:kim", ""), "user:kim");
    }
}
