//! `skerryctl hub`: what an operator does at a hub.

mod api_tokens;
pub(super) mod args;
mod audit;
mod configs;
mod devices;
mod edit;
mod images;
mod rules;
mod session;
mod signers;
mod tokens;
mod tunnel;
mod users;

use jiff::{SignedDuration, Timestamp};
use machine_config::types::DeviceId;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::context::ContextFile;
use crate::failure::Failure;
use crate::hub::{self, Shown, Text, device_named, login, routes};
use crate::view;

use super::args::{DeviceName, Global};
use args::Hub;

pub(super) async fn run(global: &Global, command: Hub) -> Result<(), Failure> {
    match command {
        Hub::Login(command) => session::login(global, command).await,
        Hub::Logout => session::logout(global),
        Hub::Whoami => session::whoami(global).await,
        Hub::Devices(command) => devices::list(global, command).await,
        Hub::Approve { devices } => devices::approve(global, devices).await,
        Hub::Refuse(command) => devices::refuse(global, command).await,
        Hub::Quarantine(command) => devices::quarantine(global, command).await,
        Hub::Remove(command) => devices::remove(global, command).await,
        Hub::Edit(command) => edit::edit(global, command).await,
        Hub::Replace(command) => edit::replace(global, command).await,
        Hub::Rule(command) => rules::run(global, command).await,
        Hub::Token(command) => tokens::run(global, command).await,
        Hub::Config(command) => configs::run(global, command).await,
        Hub::Rollout(command) => configs::rollout(global, command).await,
        Hub::Tunnel(command) => tunnel::run(global, command).await,
        Hub::Fleet(command) => signers::fleet(global, command).await,
        Hub::Station(command) => signers::station(global, command).await,
        Hub::Manifest(command) => signers::manifest(global, command).await,
        Hub::User(command) => users::run(global, command).await,
        Hub::ApiToken(command) => api_tokens::run(global, command).await,
        Hub::Audit(command) => audit::run(global, command).await,
        Hub::Images => images::list(global).await,
        Hub::Download(command) => images::download(global, command).await,
    }
}

/// The hub of the context.
fn hub_of(global: &Global) -> Result<hub::Hub, Failure> {
    login::known(&ContextFile::load(global.context.as_deref())?, global.timeout)
}

/// The id of a device; the hub is asked only when a name is given.
async fn id_of(hub: &hub::Hub, device: &DeviceName) -> Result<DeviceId, Failure> {
    match device {
        DeviceName::Id(id) => Ok(id.clone()),
        DeviceName::Name(name) => Ok(device_named(hub, name).await?.id),
    }
}

/// A list as the hub gives it.
#[derive(Debug, Deserialize)]
struct List<T> {
    items: Vec<T>,
}

/// Asks for something and shows it.
async fn show<T: DeserializeOwned + Text>(global: &Global, hub: &hub::Hub, path: &str) -> Result<(), Failure> {
    global.output.show(&ask::<T>(hub, path).await?)
}

async fn ask<T: DeserializeOwned>(hub: &hub::Hub, path: &str) -> Result<Shown<T>, Failure> {
    Ok(Shown::of(hub.get(path).await?, hub, path)?)
}

/// A whole list that the hub tells in pages.
async fn all<T: DeserializeOwned>(hub: &hub::Hub, path: &str) -> Result<Shown<List<T>>, Failure> {
    let mut whole = hub.get(&routes::page(path, 0)).await?;
    loop {
        let have = whole["items"].as_array().map_or(0, Vec::len);
        if have == 0 || whole["total"].as_u64().is_none_or(|total| have as u64 >= total) {
            return Ok(Shown::of(whole, hub, path)?);
        }
        let next = hub.get(&routes::page(path, have)).await?;
        match (whole.get_mut("items").and_then(Value::as_array_mut), next["items"].as_array()) {
            (Some(items), Some(more)) if !more.is_empty() => items.extend(more.iter().cloned()),
            // Some were taken away meanwhile.
            (Some(_) | None, Some(_) | None) => return Ok(Shown::of(whole, hub, path)?),
        }
    }
}

/// Asks for a whole list and shows it.
async fn show_all<T: DeserializeOwned>(global: &Global, hub: &hub::Hub, path: &str) -> Result<(), Failure>
where
    List<T>: Text,
{
    global.output.show(&all::<T>(hub, path).await?)
}

/// The moment so many days from now, as the hub reads it.
fn in_days(days: Option<u32>, now: Timestamp) -> Option<String> {
    let hours = |days: u32| SignedDuration::from_hours(24 * i64::from(days));
    days.map(|days| now.checked_add(hours(days)).expect("ten years from now is in the calendar").to_string())
}

/// A time of the hub's, to the second.
fn seconds(time: &str) -> String {
    match time.parse::<Timestamp>() {
        Ok(time) => format!("{time:.0}"),
        Err(_) => time.to_owned(),
    }
}

/// Labels on one line.
fn labels<'a>(labels: impl IntoIterator<Item = (&'a String, &'a String)>) -> String {
    labels.into_iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
}

/// The beginning of a digest or an id, as long as people need it.
fn short(text: &str) -> String {
    view::clean(text.get(..16).unwrap_or(text))
}
