//! `hub images` and `hub download`.

use http::Method;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::failure::{Exit, Explain, Failure};
use crate::files::{Access, Draft};
use crate::hub::{Arriving, Body, Hub, HubError, Shown, Text, routes};
use crate::view::{Fields, View, bytes, table};

use super::super::args::Global;
use super::args::Download;
use super::{List, ask, hub_of, seconds};

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Image {
    name: String,
    bytes: u64,
    #[serde(default)]
    sha256: Option<String>,
    #[serde(default)]
    stampable: bool,
    #[serde(default)]
    beside: Vec<String>,
}

impl Text for List<Image> {
    fn text(&self) -> String {
        let row = |image: &Image| {
            let stampable = if image.stampable { "yes" } else { "no" };
            let sha256 = image.sha256.clone().unwrap_or_default();
            [image.name.clone(), bytes(image.bytes), stampable.to_owned(), image.beside.join(" "), sha256]
        };
        table(["IMAGE", "SIZE", "STAMPABLE", "BESIDE", "SHA-256"], self.items.iter().map(row))
    }
}

/// The image is not the one that the hub lists.
#[derive(Debug, thiserror::Error)]
#[error("cannot keep {image}: its SHA-256 is {found}, the hub lists {expected}")]
struct OtherBytes {
    image: String,
    expected: String,
    found: String,
}

impl Explain for OtherBytes {
    fn exit(&self) -> Exit {
        Exit::Failure
    }

    fn hint(&self) -> Option<String> {
        Some("something changed it on its way or at the hub; nothing was written".into())
    }
}

/// A stamped image as the hub prepared it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Prepared {
    path: String,
    bytes: u64,
    base_sha256: String,
    token: TokenId,
    expires_at: String,
}

#[derive(Debug, Deserialize)]
struct TokenId {
    id: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Downloaded {
    file: String,
    bytes: u64,
    sha256: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    base_sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

impl View for Downloaded {
    fn text(&self) -> String {
        let fields = Fields::new()
            .add("file", &self.file)
            .add("size", bytes(self.bytes))
            .add("SHA-256", &self.sha256)
            .add_some("of the image before it was stamped", self.base_sha256.as_deref().unwrap_or_default())
            .add_some("join token inside", self.token.as_deref().unwrap_or_default());
        fields.text()
    }
}

pub(super) async fn list(global: &Global) -> Result<(), Failure> {
    super::show::<List<Image>>(global, &hub_of(global)?, routes::IMAGES).await
}

pub(super) async fn download(global: &Global, command: Download) -> Result<(), Failure> {
    let hub = hub_of(global)?;
    if command.as_is { as_is(global, &hub, command).await } else { stamped(global, &hub, command).await }
}

async fn as_is(global: &Global, hub: &Hub, command: Download) -> Result<(), Failure> {
    let Download { image: name, out, .. } = command;
    let list: Shown<List<Image>> = ask(hub, routes::IMAGES).await?;
    let unknown = || HubError::Unknown { url: hub.url.clone(), what: "image", name: name.clone() };
    let image = list.read.items.into_iter().find(|image| image.name == name).ok_or_else(unknown)?;
    let mut draft = Draft::begin(&out, Access::Public)?;
    let sha256 = fetch(Arriving::new(hub, routes::image(&name), image.bytes), &mut draft).await?;
    if let Some(expected) = image.sha256.filter(|expected| *expected != sha256) {
        return Err(OtherBytes { image: name, expected, found: sha256 }.into());
    }
    draft.finish()?;
    let file = out.display().to_string();
    global.output.show(&Downloaded { file, bytes: image.bytes, sha256, base_sha256: None, token: None })
}

async fn stamped(global: &Global, hub: &Hub, command: Download) -> Result<(), Failure> {
    let Download { image, out, as_is: _, name, fleet, terms } = command;
    // Before the hub makes a join token for it.
    let mut draft = Draft::begin(&out, Access::Secret)?;
    let mut request = terms.request();
    request["deviceName"] = name.into();
    request["fleet"] = fleet.into();
    request["tokenExpiresAt"] = terms.end(Timestamp::now()).into();
    let path = routes::downloads(&image);
    let prepared: Shown<Prepared> = Shown::of(hub.ask(Method::POST, &path, Body::Json(request)).await?, hub, &path)?;
    let Prepared { path, bytes, base_sha256, token, expires_at } = prepared.read;
    eprintln!("the hub keeps it until {}; if this breaks off for good, revoke its join token {}", seconds(&expires_at), token.id);
    let sha256 = fetch(Arriving::new(hub, path, bytes), &mut draft).await?;
    draft.finish()?;
    let (file, base_sha256, token) = (out.display().to_string(), Some(base_sha256), Some(token.id));
    global.output.show(&Downloaded { file, bytes, sha256, base_sha256, token })
}

/// Writes what comes; its SHA-256.
async fn fetch(mut arriving: Arriving<'_>, draft: &mut Draft) -> Result<String, Failure> {
    let mut hash = Sha256::new();
    while let Some(piece) = arriving.next().await? {
        hash.update(&piece);
        draft.add(&piece)?;
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
