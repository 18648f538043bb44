//! `skerryctl hub`: what an operator does at a hub.

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

use machine_config::types::DeviceId;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::context::ContextFile;
use crate::failure::Failure;
use crate::hub::{self, Shown, Text, device_named, login};
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

/// A time of the hub's, to the second.
fn seconds(time: &str) -> String {
    match time.parse::<jiff::Timestamp>() {
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
