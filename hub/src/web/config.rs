//! One configuration: whom it is assigned to, and how far it came on each device.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use machine_config::DeviceId;
use machine_config::types::Digest;

use super::Web;
use super::at::At;
use super::configs::{Asked, Row};
use super::fields::Fields;
use super::oops::{Oops, shown};
use super::shell::{Section, Shell};
use super::view::{Badge, Moment, device_href, short, title};
use super::visitor::Visitor;
use crate::auth::Area;
use crate::model::{AssignTo, MAX_PAGE, Time};
use crate::people::Role;

struct AssignmentRow {
    /// As the form says it back.
    to: String,
    word: String,
    href: Option<String>,
    by: String,
    at: Moment,
}

struct DeliveryRow {
    device: String,
    name: String,
    badge: Badge,
    why: String,
    at: Moment,
}

#[derive(Template)]
#[template(path = "config.html")]
struct Page {
    shell: Shell,
    row: Row,
    done: Option<&'static str>,
    assignments: Vec<AssignmentRow>,
    deliveries: Vec<DeliveryRow>,
    can_change: bool,
    csrf: String,
}

/// The page.
pub(super) async fn page(
    State(web): State<Web>,
    visitor: Visitor,
    At(digest): At<Digest>,
    Query(asked): Query<Asked>,
) -> Result<Response, Oops> {
    visitor.may_see(Role::Reader, Area::Configs)?;
    let (store, now) = (&web.services.store, visitor.now);
    let config = store.config(&digest).await?.ok_or_else(|| Oops::missing("there is no such configuration at this hub"))?;
    let row = Row::of(&config, &store.rollout(&digest).await?, now);
    shown(&Page {
        shell: visitor.shell(&web, Section::Configs, config.name).await?,
        row,
        done: asked.words(),
        assignments: assignments(&web, &digest, now).await?,
        deliveries: deliveries(&web, &digest, now).await?,
        can_change: visitor.can_change(Role::Operator, Area::Configs),
        csrf: visitor.csrf(),
    })
}

async fn name_of(web: &Web, id: &DeviceId) -> Result<String, Oops> {
    Ok(web.services.store.device(id).await?.map_or_else(|| short(id.as_str()), |device| title(&device)))
}

async fn assignments(web: &Web, digest: &Digest, now: Time) -> Result<Vec<AssignmentRow>, Oops> {
    let mut rows = Vec::new();
    for one in web.services.store.assignments(Some(digest)).await? {
        let (word, href) = match &one.to {
            AssignTo::Device(id) => (name_of(web, id).await?, Some(device_href(id))),
            AssignTo::Group(group) => (format!("group {group}"), None),
            AssignTo::Label(label) => (format!("label {label}"), None),
        };
        rows.push(AssignmentRow { to: one.to.to_string(), word, href, by: one.by, at: Moment::of(one.at, now) });
    }
    Ok(rows)
}

async fn deliveries(web: &Web, digest: &Digest, now: Time) -> Result<Vec<DeliveryRow>, Oops> {
    let mut rows = Vec::new();
    for one in web.services.store.deliveries(digest, MAX_PAGE).await? {
        let (badge, why) = Badge::of_delivery(&one);
        let (device, name) = (one.device.to_string(), name_of(web, &one.device).await?);
        rows.push(DeliveryRow { device, name, badge, why, at: Moment::of(one.at, now) });
    }
    // Refusals first: they are what somebody looks for.
    rows.sort_by_key(|row| !row.badge.word.starts_with("refused"));
    Ok(rows)
}

/// Whom a form names. A device may be named by its id, its name or its serial number.
async fn named(web: &Web, fields: &Fields) -> Result<AssignTo, Oops> {
    let (kind, value) = (fields.text("kind"), fields.text("value"));
    if kind != "device" || value.parse::<DeviceId>().is_ok() {
        let to = format!("{kind}:{value}").parse();
        return to.map_err(|error: crate::model::AssignToError| Oops::unusable(error.to_string()));
    }
    Ok(AssignTo::Device(super::replace::named(web, value).await?.id))
}

fn back(digest: &Digest, done: &str) -> Response {
    Redirect::to(&format!("/configs/{digest}?done={done}")).into_response()
}

/// Assigns it.
pub(super) async fn assign(
    State(web): State<Web>,
    visitor: Visitor,
    At(digest): At<Digest>,
    fields: Fields,
) -> Result<Response, Oops> {
    visitor.may_change(fields.csrf(), Role::Operator, Area::Configs)?;
    let to = named(&web, &fields).await?;
    web.services.store.assign(&digest, to, &visitor.by()).await?;
    Ok(back(&digest, "assigned"))
}

/// Takes an assignment back.
pub(super) async fn unassign(
    State(web): State<Web>,
    visitor: Visitor,
    At(digest): At<Digest>,
    fields: Fields,
) -> Result<Response, Oops> {
    visitor.may_change(fields.csrf(), Role::Operator, Area::Configs)?;
    let to = fields.parsed("to")?.ok_or_else(|| Oops::unusable("say whom to take it back from"))?;
    web.services.store.unassign(&digest, to, &visitor.by()).await?;
    Ok(back(&digest, "unassigned"))
}

/// Deletes it.
pub(super) async fn delete(
    State(web): State<Web>,
    visitor: Visitor,
    At(digest): At<Digest>,
    fields: Fields,
) -> Result<Response, Oops> {
    visitor.may_change(fields.csrf(), Role::Operator, Area::Configs)?;
    web.services.store.delete_config(&digest, &visitor.by()).await?;
    Ok(Redirect::to("/configs?done=deleted").into_response())
}
