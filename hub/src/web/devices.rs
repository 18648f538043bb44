//! The list of devices: filtered, searched, in pages.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;

use super::Web;
use super::oops::{Oops, shown};
use super::pager::{PAGE, Pager};
use super::shell::{Section, Shell};
use super::view::{Badge, Moment, badges, device_href, short_id, title};
use super::visitor::Visitor;
use crate::auth::Area;
use crate::model::{Device, DeviceFilter, DeviceState, Label, LabelError, Page as Part, Time};
use crate::people::Role;

/// What was asked for, as it stands in the address.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    search: String,
    state: String,
    healthy: String,
    group: String,
    label: String,
    site: String,
    board: String,
    version: String,
    offset: u64,
}

impl Asked {
    fn pairs(&self) -> [(&'static str, &str); 8] {
        [
            ("search", &self.search),
            ("state", &self.state),
            ("healthy", &self.healthy),
            ("group", &self.group),
            ("label", &self.label),
            ("site", &self.site),
            ("board", &self.board),
            ("version", &self.version),
        ]
    }

    fn is_any(&self) -> bool {
        self.pairs().iter().any(|(_, value)| !value.is_empty())
    }

    fn is_narrow(&self) -> bool {
        self.pairs()[3..].iter().any(|(_, value)| !value.is_empty())
    }

    fn filter(&self) -> Result<DeviceFilter, Oops> {
        let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let label: Option<Result<Label, LabelError>> = given(&self.label).map(|text| text.parse());
        let state: Option<Result<DeviceState, _>> = given(&self.state).map(|text| text.parse());
        Ok(DeviceFilter {
            state: state.transpose().map_err(|error| Oops::unusable(format!("cannot show such devices: {error}")))?,
            search: self.search.clone(),
            label: label.transpose().map_err(|error| Oops::unusable(error.to_string()))?,
            group: given(&self.group),
            site: given(&self.site),
            board: given(&self.board),
            version: given(&self.version),
            config: None,
            healthy: given(&self.healthy).map(|text| text == "true"),
            offset: self.offset,
            limit: PAGE,
        })
    }
}

struct Choice {
    value: &'static str,
    word: &'static str,
    chosen: bool,
}

/// A device in a list.
pub(super) struct Row {
    pub(super) href: String,
    pub(super) name: String,
    pub(super) short_id: String,
    pub(super) badges: Vec<Badge>,
    pub(super) site: String,
    pub(super) board: String,
    pub(super) version: String,
    pub(super) generation: String,
    pub(super) seen: Moment,
}

impl Row {
    pub(super) fn of(device: &Device, now: Time) -> Self {
        let generation = device.config_generation;
        Self {
            href: device_href(&device.id),
            name: title(device),
            short_id: short_id(device),
            badges: badges(device, now),
            site: device.site.clone(),
            board: device.release.board.clone(),
            version: device.release.version.clone(),
            generation: if generation == 0 { "none".to_owned() } else { generation.to_string() },
            seen: Moment::of(device.last_seen, now),
        }
    }
}

#[derive(Template)]
#[template(path = "devices.html")]
struct Page {
    shell: Shell,
    asked: Asked,
    states: Vec<Choice>,
    healths: [Choice; 2],
    rows: Vec<Row>,
    total: u64,
    pager: Pager,
}

/// The page.
pub(super) async fn page(State(web): State<Web>, visitor: Visitor, Query(asked): Query<Asked>) -> Result<Response, Oops> {
    visitor.may_see(Role::Reader, Area::Devices)?;
    let part = web.services.store.devices(&asked.filter()?).await?;
    let shell = visitor.shell(&web, Section::Devices, "Devices").await?;
    shown(&view(shell, asked, &part, visitor.now))
}

fn view(shell: Shell, asked: Asked, part: &Part<Device>, now: Time) -> Page {
    let choice = |value, word, asked: &str| Choice { value, word, chosen: value == asked };
    Page {
        shell,
        states: DeviceState::ALL.iter().map(|state| choice(state.as_str(), "", &asked.state)).collect(),
        healths: [choice("true", "healthy", &asked.healthy), choice("false", "not healthy", &asked.healthy)],
        rows: part.items.iter().map(|device| Row::of(device, now)).collect(),
        total: part.total,
        pager: Pager::of("/devices", &asked.pairs(), asked.offset, part.total),
        asked,
    }
}
