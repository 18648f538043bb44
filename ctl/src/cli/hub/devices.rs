//! `hub devices`, and what is done with devices: approve, refuse, quarantine, remove.

use http::Method;
use machine_config::types::DeviceId;
use serde::Deserialize;
use serde_json::json;

use crate::failure::{Exit, Explain, Failure};
use crate::hub::{self, Body, Device, Page, Shown, Text, routes};
use crate::view::table;

use super::super::args::{DeviceName, Global};
use super::super::ask::confirm;
use super::args::{Act, Devices, Remove};
use super::{hub_of, id_of, labels, seconds, short};

impl Text for Page<Device> {
    fn text(&self) -> String {
        let headers = ["NAME", "STATE", "SITE", "BOARD", "VERSION", "CONFIG", "HEALTHY", "LAST SEEN", "GROUPS AND LABELS", "ID"];
        let text = table(headers, self.items.iter().map(row));
        let shown = self.items.len() as u64;
        if self.total > shown { format!("{text}{shown} of {}; --offset and --limit show others\n", self.total) } else { text }
    }
}

fn row(device: &Device) -> [String; 10] {
    let state = if device.reason.is_empty() { device.state.clone() } else { format!("{}: {}", device.state, device.reason) };
    let generation = if device.config_generation == 0 { String::new() } else { device.config_generation.to_string() };
    let marks = [device.groups.join(" "), labels(&device.labels)].join(" ").trim().to_owned();
    [
        device.name.clone().unwrap_or_default(),
        state,
        device.site.clone(),
        device.release.board.clone(),
        device.release.version.clone(),
        generation,
        if device.healthy { "yes" } else { "no" }.to_owned(),
        seconds(&device.last_seen),
        marks,
        short(device.id.as_str()),
    ]
}

pub(super) async fn list(global: &Global, command: Devices) -> Result<(), Failure> {
    let Devices { state, label, group, site, search, offset, limit } = command;
    let query = routes::Query::default()
        .with("state", state)
        .with("label", label)
        .with("group", group)
        .with("site", site)
        .with("search", search)
        .with("offset", offset)
        .with("limit", Some(limit));
    let page = hub::devices(&hub_of(global)?, &query).await?;
    global.output.show(&page)
}

/// What came of it, device by device.
#[derive(Debug, Deserialize)]
struct Outcomes {
    results: Vec<Outcome>,
}

#[derive(Debug, Deserialize)]
struct Outcome {
    id: DeviceId,
    #[serde(default)]
    state: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

impl Text for Outcomes {
    fn text(&self) -> String {
        let row = |outcome: &Outcome| {
            let state = outcome.state.clone().unwrap_or_else(|| "unchanged".to_owned());
            [outcome.id.to_string(), state, outcome.message.clone().unwrap_or_default()]
        };
        table(["DEVICE", "STATE", "MESSAGE"], self.results.iter().map(row))
    }
}

/// Some devices are as they were.
#[derive(Debug, thiserror::Error)]
#[error("{unchanged} of {all} devices are as they were")]
struct Unchanged {
    unchanged: usize,
    all: usize,
}

impl Explain for Unchanged {
    fn exit(&self) -> Exit {
        Exit::Failure
    }
}

pub(super) async fn approve(global: &Global, devices: Vec<DeviceName>) -> Result<(), Failure> {
    act(global, "approve", Act { devices, reason: String::new() }).await
}

pub(super) async fn refuse(global: &Global, command: Act) -> Result<(), Failure> {
    act(global, "refuse", command).await
}

pub(super) async fn quarantine(global: &Global, command: Act) -> Result<(), Failure> {
    act(global, "quarantine", command).await
}

pub(super) async fn remove(global: &Global, command: Remove) -> Result<(), Failure> {
    let names = command.act.devices.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    confirm(&format!("revoke the key of {names}, for good"), command.yes)?;
    act(global, "remove", command.act).await
}

/// All names are looked up first, so that a misspelt one stops everything before anything is done.
async fn act(global: &Global, verb: &str, command: Act) -> Result<(), Failure> {
    let hub = hub_of(global)?;
    let mut ids = Vec::new();
    for device in &command.devices {
        ids.push(id_of(&hub, device).await?);
    }
    let path = routes::act(verb);
    let answer = hub.ask(Method::POST, &path, Body::Json(json!({ "ids": ids, "reason": command.reason }))).await?;
    let outcomes: Shown<Outcomes> = Shown::of(answer, &hub, &path)?;
    global.output.show(&outcomes)?;
    let all = outcomes.read.results.len();
    match outcomes.read.results.iter().filter(|outcome| outcome.state.is_none()).count() {
        0 => Ok(()),
        unchanged => Err(Unchanged { unchanged, all }.into()),
    }
}
