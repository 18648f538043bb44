//! The queue of devices that wait for approval: chosen and approved or refused together.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;

use super::Web;
use super::oops::{Oops, shown};
use super::pager::{PAGE, Pager};
use super::shell::{Section, Shell};
use super::view::{Moment, device_href, short_id, title};
use super::visitor::Visitor;
use crate::auth::Area;
use crate::model::{Device, DeviceFilter, DeviceState, Time};
use crate::people::Role;

/// What the address may say.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    offset: u64,
    done: String,
    count: u64,
}

struct Row {
    id: String,
    href: String,
    name: String,
    short_id: String,
    serial: String,
    board: String,
    token: String,
    address: String,
    first: Moment,
    /// The digest of the inventory that is shown.
    seen: String,
    /// Another device has this name.
    is_doubled: bool,
}

#[derive(Template)]
#[template(path = "pending.html")]
struct Page {
    shell: Shell,
    done: Option<String>,
    rows: Vec<Row>,
    total: u64,
    pager: Pager,
    can_change: bool,
    csrf: String,
}

/// The page.
pub(super) async fn page(State(web): State<Web>, visitor: Visitor, Query(asked): Query<Asked>) -> Result<Response, Oops> {
    visitor.may_see(Role::Reader, Area::Devices)?;
    let store = &web.services.store;
    let waiting =
        DeviceFilter { state: Some(DeviceState::Pending), offset: asked.offset, limit: PAGE, ..DeviceFilter::default() };
    let part = store.devices(&waiting).await?;
    let mut rows = Vec::with_capacity(part.items.len());
    for device in &part.items {
        let is_doubled = match &device.name {
            Some(name) => store.devices_named(name).await?.len() > 1,
            None => false,
        };
        rows.push(Row::of(device, is_doubled, visitor.now));
    }
    shown(&Page {
        shell: visitor.shell(&web, Section::Pending, "Pending").await?,
        done: done(&asked.done, asked.count),
        rows,
        total: part.total,
        pager: Pager::of("/pending", &[], asked.offset, part.total),
        can_change: visitor.can_change(Role::Operator, Area::Devices),
        csrf: visitor.csrf(),
    })
}

/// What was just done, in words. The address can be anybody's: of it, only known words and a number are said.
pub(super) fn done(word: &str, count: u64) -> Option<String> {
    let devices = if count == 1 { "1 device".to_owned() } else { format!("{count} devices") };
    match word {
        "admitted" => Some(format!("{devices} approved.")),
        "refused" => Some(format!("{devices} refused.")),
        "quarantined" => Some(format!("{devices} quarantined.")),
        "removed" => Some(format!("{devices} removed for good.")),
        "saved" => Some("Saved.".to_owned()),
        "unchanged" => Some("Nothing was changed.".to_owned()),
        "replaced" => Some("It has the place now, and the old one is removed for good.".to_owned()),
        _ => None,
    }
}

impl Row {
    fn of(device: &Device, is_doubled: bool, now: Time) -> Self {
        Self {
            id: device.id.to_string(),
            href: device_href(&device.id),
            name: title(device),
            short_id: short_id(device),
            serial: device.serials.join(", "),
            board: device.release.board.clone(),
            token: device.token.clone().unwrap_or_default(),
            address: device.last_address.map(|address| address.to_string()).unwrap_or_default(),
            first: Moment::of(device.first_seen, now),
            seen: device.inventory_digest.clone(),
            is_doubled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_puts_no_words_into_the_page() {
        assert_eq!(done("admitted", 1).as_deref(), Some("1 device approved."));
        assert_eq!(done("refused", 12).as_deref(), Some("12 devices refused."));
        assert_eq!(done("<script>", 1), None);
    }
}
