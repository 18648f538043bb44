//! Configurations: listed with how far they came, and brought in by a form. Their content is never shown: it holds the fleet's secrets.

use askama::Template;
use axum::extract::{Multipart, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::{HeaderMap, Uri};
use machine_config::MAX_CONFIG_BYTES;

use super::Web;
use super::oops::{Oops, shown};
use super::shell::{Section, Shell};
use super::view::{Badge, Moment, short};
use super::visitor::Visitor;
use crate::auth::{Area, AuthError, is_same_origin};
use crate::model::{Config, Rollout, Time};
use crate::people::Role;

/// Bytes of an upload at most: a configuration and what surrounds it in a form.
pub(super) const MAX_UPLOAD: usize = MAX_CONFIG_BYTES + (16 << 10);
/// Bytes of a field beside the file.
const MAX_FIELD: usize = 256;

/// What the address may say.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    pub(super) done: String,
}

impl Asked {
    /// What was just done, in words.
    pub(super) fn words(&self) -> Option<&'static str> {
        match self.done.as_str() {
            "brought" => Some("The hub has it. Assign it, and its devices are offered it."),
            "assigned" => Some("Assigned. Devices that are connected are offered it at once, others when they call."),
            "unassigned" => Some("Taken back. Devices keep what they have accepted."),
            "deleted" => Some("Deleted."),
            _ => None,
        }
    }
}

/// A configuration in a list.
pub(super) struct Row {
    pub(super) digest: String,
    pub(super) short: String,
    pub(super) name: String,
    pub(super) fleet: String,
    pub(super) generation: u64,
    pub(super) target: String,
    pub(super) key: String,
    pub(super) rollout: Vec<Badge>,
    pub(super) by: String,
    pub(super) at: Moment,
}

impl Row {
    pub(super) fn of(config: &Config, rollout: &Rollout, now: Time) -> Self {
        let digest = config.digest.to_string();
        Self {
            short: short(&digest),
            digest,
            name: config.name.clone(),
            fleet: config.fleet.clone(),
            generation: config.generation,
            target: config.target.clone(),
            key: config.key_id.to_string(),
            rollout: Badge::of_rollout(rollout),
            by: config.uploaded_by.clone(),
            at: Moment::of(config.uploaded_at, now),
        }
    }
}

#[derive(Template)]
#[template(path = "configs.html")]
struct Page {
    shell: Shell,
    done: Option<&'static str>,
    rows: Vec<Row>,
    can_change: bool,
    csrf: String,
}

/// The page.
pub(super) async fn page(State(web): State<Web>, visitor: Visitor, Query(asked): Query<Asked>) -> Result<Response, Oops> {
    visitor.may_see(Role::Reader, Area::Configs)?;
    let store = &web.services.store;
    let mut rows = Vec::new();
    for config in store.configs().await? {
        rows.push(Row::of(&config, &store.rollout(&config.digest).await?, visitor.now));
    }
    shown(&Page {
        shell: visitor.shell(&web, Section::Configs, "Configurations").await?,
        done: asked.words(),
        rows,
        can_change: visitor.can_change(Role::Operator, Area::Configs),
        csrf: visitor.csrf(),
    })
}

/// A form with a file in it.
#[derive(Default)]
struct Upload {
    csrf: Option<String>,
    file: Option<Vec<u8>>,
}

async fn receive(mut form: Multipart) -> Result<Upload, Oops> {
    let broken = |error: axum::extract::multipart::MultipartError| Oops::unusable(error.body_text());
    let mut upload = Upload::default();
    while let Some(field) = form.next_field().await.map_err(broken)? {
        match field.name() {
            Some("csrf") => {
                upload.csrf = Some(field.text().await.map_err(broken)?).filter(|text| text.len() <= MAX_FIELD);
            }
            Some("file") => upload.file = Some(field.bytes().await.map_err(broken)?.to_vec()),
            Some(_) | None => return Err(Oops::unusable("the form has a field that this page does not know; load it again")),
        }
    }
    Ok(upload)
}

/// Takes a signed configuration, if its devices would take it.
pub(super) async fn upload(
    State(web): State<Web>,
    visitor: Visitor,
    uri: Uri,
    headers: HeaderMap,
    form: Multipart,
) -> Result<Response, Oops> {
    if !is_same_origin(&headers, &uri) {
        return Err(AuthError::Origin.into());
    }
    let Upload { csrf, file } = receive(form).await?;
    visitor.may_change(csrf.as_deref(), Role::Operator, Area::Configs)?;
    let file = file.filter(|file| !file.is_empty()).ok_or_else(|| Oops::unusable("choose a signed configuration first"))?;
    let config = web.services.store.put_config(&file, &visitor.by()).await?;
    Ok(Redirect::to(&format!("/configs/{}?done=brought", config.digest)).into_response())
}
