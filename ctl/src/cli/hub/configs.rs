//! `hub config push|list` and `hub rollout status`.

use std::path::Path;

use http::Method;
use machine_config::types::{DeviceId, Digest};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::files;
use crate::hub::{Body, Hub, HubError, Shown, Text, routes};
use crate::view::{Fields, View, table};

use super::super::args::Global;
use super::args::{HubConfig, Push, Rollout};
use super::{List, all, ask, hub_of, id_of, seconds, short, show_all};

/// Beginnings of a digest count from this length.
const MIN_PREFIX: usize = 8;

/// A configuration, without its file.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    digest: Digest,
    name: String,
    #[serde(default)]
    fleet: String,
    generation: u64,
    #[serde(default)]
    target: String,
    #[serde(default)]
    key_id: String,
    #[serde(default)]
    uploaded_by: String,
    #[serde(default)]
    uploaded_at: String,
}

impl Text for List<Config> {
    fn text(&self) -> String {
        let row = |config: &Config| {
            [
                config.name.clone(),
                config.fleet.clone(),
                config.generation.to_string(),
                config.target.clone(),
                config.uploaded_by.clone(),
                seconds(&config.uploaded_at),
                short(config.digest.as_str()),
            ]
        };
        table(["NAME", "FLEET", "GENERATION", "TARGET", "UPLOADED BY", "AT", "DIGEST"], self.items.iter().map(row))
    }
}

pub(super) async fn run(global: &Global, command: HubConfig) -> Result<(), Failure> {
    match command {
        HubConfig::Push(command) => push(global, command).await,
        HubConfig::List => show_all::<Config>(global, &hub_of(global)?, routes::CONFIGS).await,
    }
}

#[derive(Debug, Serialize)]
struct Pushed {
    config: Value,
    #[serde(rename = "assignedTo")]
    assigned_to: Vec<String>,
    #[serde(skip)]
    read: Config,
}

impl View for Pushed {
    fn text(&self) -> String {
        let Config { digest, name, fleet, generation, target, key_id, .. } = &self.read;
        let fields = Fields::new()
            .add("configuration", name)
            .add("fleet", fleet)
            .add("generation", generation)
            .add("target", target)
            .add("signed by", key_id)
            .add("digest", digest)
            .add_each("assigned to", &self.assigned_to)
            .text();
        if self.assigned_to.is_empty() {
            return format!("{fields}\nIt is assigned to nobody yet: push it again with --device, --group or --label.\n");
        }
        format!("{fields}\nFollow it with `skerryctl hub rollout status {}`.\n", short(digest.as_str()))
    }
}

async fn push(global: &Global, command: Push) -> Result<(), Failure> {
    let Push { file, group, label } = command;
    let hub = hub_of(global)?;
    let bytes = files::read(&file)?;
    let mut to = Vec::new();
    // The device first: a misspelt name stops it before anything is uploaded.
    if let Some(device) = &global.device {
        to.push(format!("device:{}", id_of(&hub, device).await?));
    }
    to.extend(group.map(|group| format!("group:{group}")));
    to.extend(label.map(|label| format!("label:{label}")));
    let body = Body::File { bytes, media: "application/yaml" };
    let config = hub.ask(Method::POST, routes::CONFIGS, body).await.map_err(HubError::of_config)?;
    let read: Shown<Config> = Shown::of(config.clone(), &hub, routes::CONFIGS)?;
    for to in &to {
        hub.ask(Method::POST, &routes::assignments(&read.read.digest), Body::Json(json!({ "to": to }))).await?;
    }
    global.output.show(&Pushed { config, assigned_to: to, read: read.read })
}

/// One configuration with whom it is assigned to.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Assigned {
    #[serde(flatten)]
    config: Config,
    #[serde(default)]
    assignments: Vec<Assignment>,
    #[serde(default)]
    rollout: Counts,
}

#[derive(Debug, Deserialize)]
struct Assignment {
    to: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Counts {
    running: u64,
    taken: u64,
    offered: u64,
    refused: u64,
}

#[derive(Debug, Deserialize)]
struct Delivery {
    device: DeviceId,
    state: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    at: String,
}

#[derive(Debug, Serialize)]
struct RolloutView {
    config: Shown<Assigned>,
    deliveries: Shown<List<Delivery>>,
}

impl View for RolloutView {
    fn text(&self) -> String {
        let Assigned { config, assignments, rollout } = &self.config.read;
        let to: Vec<_> = assignments.iter().map(|assignment| assignment.to.clone()).collect();
        let Counts { running, taken, offered, refused } = rollout;
        let fields = Fields::new()
            .add("configuration", &config.name)
            .add("generation", config.generation)
            .add("digest", &config.digest)
            .add_each("assigned to", &to)
            .add("running", running)
            .add("taken", taken)
            .add("offered", offered)
            .add("refused", refused)
            .text();
        let row = |delivery: &Delivery| {
            let why = [delivery.code.as_str(), delivery.message.as_str()].join(" ").trim().to_owned();
            [delivery.device.to_string(), delivery.state.clone(), seconds(&delivery.at), why]
        };
        format!("{fields}\n{}", table(["DEVICE", "STATE", "SINCE", "WHY"], self.deliveries.read.items.iter().map(row)))
    }
}

pub(super) async fn rollout(global: &Global, command: Rollout) -> Result<(), Failure> {
    let Rollout::Status { config } = command;
    let hub = hub_of(global)?;
    let digest = digest_of(&hub, &config).await?;
    let config = ask(&hub, &routes::config(&digest)).await?;
    let deliveries = ask(&hub, &routes::deliveries(&digest)).await?;
    global.output.show(&RolloutView { config, deliveries })
}

/// A whole digest, a file's, or that of the one configuration the hub has which fits.
async fn digest_of(hub: &Hub, given: &str) -> Result<Digest, Failure> {
    if let Ok(digest) = given.parse() {
        return Ok(digest);
    }
    if Path::new(given).is_file() {
        return Ok(Digest::of(&files::read(Path::new(given))?));
    }
    let list = all::<Config>(hub, routes::CONFIGS).await?;
    Ok(choose(list.read.items, given).map_err(|all| {
        let (url, what, name) = (hub.url.clone(), "configuration", given.to_owned());
        if all.is_empty() { HubError::Unknown { url, what, name } } else { HubError::Several { url, what, name, all } }
    })?)
}

/// The newest of that name; else the only one whose digest begins so; else the digests of all that fit.
fn choose(configs: Vec<Config>, given: &str) -> Result<Digest, Vec<String>> {
    let named: Vec<_> = configs.iter().filter(|config| config.name == given).collect();
    let begins = |config: &&Config| given.len() >= MIN_PREFIX && config.digest.as_str().starts_with(given);
    let newest = named.iter().map(|config| config.generation).max();
    let fitting: Vec<_> = match newest {
        Some(newest) => named.into_iter().filter(|config| config.generation == newest).collect(),
        None => configs.iter().filter(begins).collect(),
    };
    match fitting.as_slice() {
        [one] => Ok(one.digest.clone()),
        all => Err(all.iter().map(|config| config.digest.to_string()).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_meant_by_its_name_or_the_beginning_of_its_digest() {
        let config = |name: &str, generation: u64| {
            let digest = Digest::of(format!("{name}{generation}").as_bytes());
            serde_json::from_value::<Config>(json!({ "digest": digest, "name": name, "generation": generation })).unwrap()
        };
        let all = || vec![config("shop", 1), config("shop", 3), config("shop", 2), config("hall", 1)];
        assert_eq!(choose(all(), "shop"), Ok(config("shop", 3).digest));
        let hall = config("hall", 1).digest;
        assert_eq!(choose(all(), &hall.as_str()[..12]), Ok(hall.clone()));
        assert_eq!(choose(all(), &hall.as_str()[..4]), Err(vec![]), "too short");
        let mut twins = all();
        twins.push(Config { digest: Digest::of(b"twin"), ..config("shop", 3) });
        assert_eq!(choose(twins, "shop").unwrap_err().len(), 2, "one generation twice: for two devices");
    }
}
