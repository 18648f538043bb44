//! `hub fleet`, `hub station` and `hub manifest`: whose signatures count at the hub, and what stations signed.

use std::path::{Path, PathBuf};

use http::Method;
use machine_config::FleetTrust;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::failure::{Failure, UsageError};
use crate::files;
use crate::fleet::{Fleet, TRUST_FILE};
use crate::hub::{Body, Shown, Text, routes};
use crate::view::{View, table};

use super::super::args::Global;
use super::super::node::done;
use super::args::{HubFleet, Manifest, Station};
use super::{List, hub_of, seconds};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct KnownFleet {
    name: String,
    keys: Vec<String>,
    #[serde(default)]
    updated_at: String,
}

impl Text for List<KnownFleet> {
    fn text(&self) -> String {
        let row = |fleet: &KnownFleet| [fleet.name.clone(), fleet.keys.join(" "), seconds(&fleet.updated_at)];
        table(["FLEET", "KEYS", "SINCE"], self.items.iter().map(row))
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct KnownStation {
    name: String,
    key: String,
    #[serde(default)]
    added_at: String,
}

impl Text for List<KnownStation> {
    fn text(&self) -> String {
        let row = |station: &KnownStation| [station.name.clone(), station.key.clone(), seconds(&station.added_at)];
        table(["STATION", "KEY", "SINCE"], self.items.iter().map(row))
    }
}

pub(super) async fn fleet(global: &Global, command: HubFleet) -> Result<(), Failure> {
    let hub = hub_of(global)?;
    match command {
        HubFleet::List => super::show::<List<KnownFleet>>(global, &hub, routes::FLEETS).await,
        HubFleet::Add { fleet } => {
            let trust = trust_of(&fleet)?;
            let body = Body::File { bytes: trust.to_json().into_bytes(), media: "application/json" };
            hub.ask(Method::POST, routes::FLEETS, body).await?;
            done(global.output, "registered", trust.name.as_str())
        }
    }
}

/// From a fleet's folder, or from its `fleet.pub` alone. Nothing else of the folder is read.
fn trust_of(path: &Path) -> Result<FleetTrust, Failure> {
    if path.is_dir() {
        return Ok(Fleet::open(path)?.trust().clone());
    }
    FleetTrust::from_json(&files::read(path)?).map_err(|error| {
        let message = format!("cannot use {}: {error}", path.display());
        UsageError { message, hint: format!("name the fleet's folder, or its {TRUST_FILE}") }.into()
    })
}

pub(super) async fn station(global: &Global, command: Station) -> Result<(), Failure> {
    let hub = hub_of(global)?;
    match command {
        Station::List => super::show::<List<KnownStation>>(global, &hub, routes::STATIONS).await,
        Station::Add { name, key } => {
            let key = station_key(&key)?;
            hub.ask(Method::POST, routes::STATIONS, Body::Json(json!({ "name": name, "key": key }))).await?;
            done(global.output, "registered", &name)
        }
    }
}

/// The key itself, or the file that holds it.
fn station_key(given: &str) -> Result<String, Failure> {
    let is_key = given.len() == 64 && given.bytes().all(|byte| byte.is_ascii_hexdigit());
    let text = if is_key { given.to_owned() } else { files::read_text(Path::new(given))? };
    Ok(text.trim().to_owned())
}

/// What an import brought.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Imported {
    added: u64,
    updated: u64,
    tokens: u64,
    unrecognisable: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ImportedFile {
    file: PathBuf,
    imported: Shown<Imported>,
}

#[derive(Debug, Serialize)]
struct ImportedFiles {
    files: Vec<ImportedFile>,
}

impl View for ImportedFiles {
    fn text(&self) -> String {
        let row = |file: &ImportedFile| {
            let Imported { added, updated, tokens, unrecognisable } = &file.imported.read;
            let counts = [added, updated, tokens].map(u64::to_string);
            let [added, updated, tokens] = counts;
            [file.file.display().to_string(), added, updated, tokens, unrecognisable.join(" ")]
        };
        table(["FILE", "ADDED", "UPDATED", "TOKENS", "CANNOT BE RECOGNISED"], self.files.iter().map(row))
    }
}

/// Files that were imported before one that fails stay so: importing them again changes nothing.
pub(super) async fn manifest(global: &Global, command: Manifest) -> Result<(), Failure> {
    let Manifest::Import { files: given } = command;
    let hub = hub_of(global)?;
    let mut files = Vec::new();
    for file in given {
        let bytes = files::read(&file)?;
        let (path, media) = kind(&bytes);
        let answer = hub.ask(Method::POST, path, Body::File { bytes, media }).await?;
        files.push(ImportedFile { file, imported: Shown::of(answer, &hub, path)? });
    }
    global.output.show(&ImportedFiles { files })
}

/// A log of flashed drives has one record a line and says so in each; anything else is a manifest, or nothing.
fn kind(bytes: &[u8]) -> (&'static str, &'static str) {
    #[derive(Deserialize)]
    struct Record {
        form: String,
    }
    let first = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    match serde_json::from_slice::<Record>(first) {
        Ok(record) if record.form.ends_with("flash record") => (routes::RECORDS, "application/jsonl"),
        Ok(_) | Err(_) => (routes::MANIFESTS, "application/json"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_told_from_a_manifest() {
        assert_eq!(kind(b"{\"form\":\"skerry.dev/v1 flash record\",\"line\":1}\n{").0, routes::RECORDS);
        assert_eq!(kind(b"{\n  \"form\": \"skerry.dev/v1 stamp manifest\"\n}\n").0, routes::MANIFESTS);
        assert_eq!(kind(b"").0, routes::MANIFESTS, "the hub says what is wrong with it");
    }
}
