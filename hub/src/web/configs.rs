//! Configurations: listed with how far they came, and brought in by a form. Their content is never shown: it holds the fleet's secrets.

use askama::Template;
use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use machine_config::MAX_CONFIG_BYTES;

use super::Web;
use super::oops::{Oops, shown};
use super::pager::{PAGE, Pager};
use super::shell::{Section, Shell};
use super::upload::file as uploaded;
use super::view::{Badge, Moment, short};
use super::visitor::Visitor;
use crate::auth::Area;
use crate::model::{Config, Rollout, Time};
use crate::people::Role;

/// Bytes of an upload at most: a configuration and what surrounds it in a form.
pub(super) const MAX_UPLOAD: usize = MAX_CONFIG_BYTES + (16 << 10);

/// What the address may say.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    done: String,
    offset: u64,
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
    pager: Pager,
    can_change: bool,
    csrf: String,
}

/// The page.
pub(super) async fn page(State(web): State<Web>, visitor: Visitor, Query(asked): Query<Asked>) -> Result<Response, Oops> {
    visitor.may_see(Role::Reader, Area::Configs)?;
    let store = &web.services.store;
    let mut rows = Vec::new();
    let part = store.configs_page(asked.offset, PAGE).await?;
    for config in &part.items {
        rows.push(Row::of(config, &store.rollout(&config.digest).await?, visitor.now));
    }
    shown(&Page {
        shell: visitor.shell(&web, Section::Configs, "Configurations").await?,
        done: asked.words(),
        rows,
        pager: Pager::of("/configs", &[], asked.offset, part.total),
        can_change: visitor.can_change(Role::Operator, Area::Configs),
        csrf: visitor.csrf(),
    })
}

/// Takes a signed configuration, if its devices would take it.
pub(super) async fn upload(State(web): State<Web>, visitor: Visitor, request: Request) -> Result<Response, Oops> {
    let file = uploaded(&visitor, request, (Role::Operator, Area::Configs), "a signed configuration").await?;
    let config = web.services.store.put_config(&file, &visitor.by()).await?;
    Ok(Redirect::to(&format!("/configs/{}?done=brought", config.digest)).into_response())
}
