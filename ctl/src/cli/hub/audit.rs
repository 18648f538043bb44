//! `hub audit`: lines of the audit. Whether the chain holds is proved on the hub's host, by `skerry-hub audit verify`.

use serde::Deserialize;
use serde_json::Value;

use crate::failure::Failure;
use crate::hub::{Text, routes};
use crate::view::table;

use super::super::args::Global;
use super::args::Audit;
use super::{List, hub_of, id_of, seconds, short};

#[derive(Debug, Deserialize)]
struct Line {
    seq: i64,
    at: String,
    actor: String,
    action: String,
    #[serde(default)]
    device: Option<String>,
    #[serde(default)]
    address: String,
    #[serde(default)]
    details: Value,
}

impl Text for List<Line> {
    fn text(&self) -> String {
        let row = |line: &Line| {
            let details = match &line.details {
                Value::Object(fields) if fields.is_empty() => String::new(),
                Value::Null => String::new(),
                details => details.to_string(),
            };
            [
                line.seq.to_string(),
                seconds(&line.at),
                line.actor.clone(),
                line.action.clone(),
                line.device.as_deref().map(short).unwrap_or_default(),
                line.address.clone(),
                details,
            ]
        };
        table(["LINE", "AT", "WHO", "WHAT", "DEVICE", "FROM", "DETAILS"], self.items.iter().map(row))
    }
}

pub(super) async fn run(global: &Global, command: Audit) -> Result<(), Failure> {
    let Audit { actor, action, before, limit } = command;
    let hub = hub_of(global)?;
    let device = match &global.device {
        Some(device) => Some(id_of(&hub, device).await?),
        None => None,
    };
    let query = routes::Query::default()
        .with("device", device)
        .with("actor", actor)
        .with("action", action)
        .with("before", before)
        .with("limit", Some(limit));
    super::show::<List<Line>>(global, &hub, &routes::audit(&query)).await
}
