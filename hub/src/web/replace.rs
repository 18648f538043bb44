//! One device in another's place: both are shown before anything is done, the configuration is drafted for signing, and the old key is revoked.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use machine_config::DeviceId;

use super::Web;
use super::at::At;
use super::fields::Fields;
use super::oops::{Oops, shown};
use super::pager::address;
use super::shell::{Section, Shell};
use super::view::{Badge, Fact, Moment, badges, device_href, facts, label_lines, title};
use super::visitor::Visitor;
use crate::auth::Area;
use crate::model::{Device, DeviceFilter, MAX_PAGE, Time};
use crate::people::Role;

/// What the address may say.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    by: String,
}

/// One of the two.
struct Side {
    href: String,
    name: String,
    id: String,
    badges: Vec<Badge>,
    facts: Vec<Fact>,
    seen: Moment,
}

impl Side {
    fn of(device: &Device, now: Time) -> Self {
        Self {
            href: device_href(&device.id),
            name: title(device),
            id: device.id.to_string(),
            badges: badges(device, now),
            facts: facts([
                ("Serial number", device.serials.join(", ")),
                ("Board", device.release.board.clone()),
                ("Site", device.site.clone()),
                ("Labels", label_lines(&device.labels).join("\n")),
                ("Groups", device.groups.join(", ")),
                ("Configuration", generation(device)),
            ]),
            seen: Moment::of(device.last_seen, now),
        }
    }
}

fn generation(device: &Device) -> String {
    match device.config_generation {
        0 => "none".to_owned(),
        generation => format!("generation {generation}"),
    }
}

#[derive(Template)]
#[template(path = "replace.html")]
struct Page {
    shell: Shell,
    old: Side,
    by: String,
    /// The one that takes the place; none: nobody was chosen yet.
    new: Option<Side>,
    /// Where the draft is; none: there is none, or it is not this person's to have.
    draft: Option<Draft>,
    no_draft: Option<String>,
    csrf: String,
}

struct Draft {
    href: String,
    file: String,
}

/// The page.
pub(super) async fn page(
    State(web): State<Web>,
    visitor: Visitor,
    At(id): At<DeviceId>,
    Query(asked): Query<Asked>,
) -> Result<Response, Oops> {
    visitor.may_see(Role::Operator, Area::Devices)?;
    let old = there(&web, &id).await?;
    let new = match asked.by.trim() {
        "" => None,
        by => Some(named(&web, by).await?),
    };
    let shell = visitor.shell(&web, Section::Devices, "Replace a device").await?;
    let (draft, no_draft) = match &new {
        Some(new) => draft(&web, &visitor, &old, new).await?,
        None => (None, None),
    };
    shown(&Page {
        shell,
        old: Side::of(&old, visitor.now),
        by: asked.by,
        new: new.map(|new| Side::of(&new, visitor.now)),
        draft,
        no_draft,
        csrf: visitor.csrf(),
    })
}

async fn there(web: &Web, id: &DeviceId) -> Result<Device, Oops> {
    let device = web.services.store.device(id).await?;
    device.ok_or_else(|| Oops::missing("there is no such device at this hub"))
}

/// The draft for the new device, or why there is none. It holds the fleet's secrets, so that it is for admins.
async fn draft(web: &Web, visitor: &Visitor, old: &Device, new: &Device) -> Result<(Option<Draft>, Option<String>), Oops> {
    if visitor.caller.check(Role::Admin, Area::Configs, false).is_err() {
        return Ok((None, Some("An admin can have the old one's configuration drafted for the new one.".to_owned())));
    }
    match web.services.store.replacement_draft(&old.id, &new.id).await {
        Ok(_) => {
            let href = format!("/api/v1/devices/{}/replacement-draft?by={}", old.id, new.id);
            Ok((Some(Draft { href, file: format!("{}.yaml", title(old)) }), None))
        }
        Err(error) if error.is_internal() => Err(error.into()),
        Err(error) => Ok((None, Some(format!("There is no draft: {error}.")))),
    }
}

/// The device with this id, name or serial number.
pub(super) async fn named(web: &Web, value: &str) -> Result<Device, Oops> {
    if let Ok(id) = value.parse::<DeviceId>() {
        return there(web, &id).await;
    }
    let filter = DeviceFilter { search: value.to_owned(), limit: MAX_PAGE, ..DeviceFilter::default() };
    let mut found = web.services.store.devices(&filter).await?.items;
    found.retain(|device| device.name.as_deref() == Some(value) || device.serials.iter().any(|serial| serial == value));
    match (found.pop(), found.len()) {
        (Some(device), 0) => Ok(device),
        (None, _) => Err(Oops::missing(format!("no device has the name or serial number `{value}`"))),
        (Some(_), others) => {
            Err(Oops::unusable(format!("{} devices have the name or serial number `{value}`: use the id", others + 1)))
        }
    }
}

/// Puts the new device in the place of the old one, which is removed for good.
pub(super) async fn replace(
    State(web): State<Web>,
    visitor: Visitor,
    At(old): At<DeviceId>,
    fields: Fields,
) -> Result<Response, Oops> {
    visitor.may_change(fields.csrf(), Role::Operator, Area::Devices)?;
    let new: DeviceId = fields.parsed("by")?.ok_or_else(|| Oops::unusable("choose the device that takes the place"))?;
    if fields.text("sure") != "yes" {
        return Err(Oops::unusable("the old one is removed, which is final: tick that you know it"));
    }
    let heir = web.services.store.replace(&old, &new, &visitor.by()).await?;
    Ok(Redirect::to(&address(&device_href(&heir.id), &[("done", "replaced")])).into_response())
}
