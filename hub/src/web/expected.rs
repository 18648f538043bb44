//! Devices that are expected: what warehouses signed for, brought in by a form, and forgotten again.

use askama::Template;
use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::Web;
use super::fields::Fields;
use super::oops::{Oops, shown};
use super::pager::{PAGE, Pager, address};
use super::shell::{Section, Shell};
use super::upload;
use super::view::{Badge, GOOD, Moment, QUIET, WARN, device_href, label_lines, short};
use super::visitor::Visitor;
use crate::auth::Area;
use crate::model::{Expected, ExpectedKey, Time};
use crate::people::Role;
use crate::store::Imported;

/// Bytes of an upload at most: a log of flashed drives and what surrounds it in a form.
pub(super) const MAX_UPLOAD: usize = 17 << 20;

/// What the address may say.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    offset: u64,
    done: String,
}

struct Row {
    key: String,
    name: String,
    known_by: String,
    badge: Badge,
    taken_href: Option<String>,
    taken_by: String,
    board: String,
    site: String,
    labels: String,
    source: &'static str,
    at: Moment,
}

impl Row {
    fn of(place: &Expected, now: Time) -> Self {
        let key = place.key();
        let badge = match (&place.taken_by, &key) {
            (Some(_), _) => Badge::new("came", GOOD),
            (None, Some(ExpectedKey::Name(_)) | None) => Badge::new("cannot be recognised", WARN),
            (None, Some(ExpectedKey::Id(_) | ExpectedKey::Serial(_) | ExpectedKey::Mac(_))) => Badge::new("awaited", QUIET),
        };
        let serial = place.serial.as_ref().map(|serial| format!("serial {serial}"));
        let mac = place.mac.as_ref().map(|mac| format!("MAC {mac}"));
        let id = place.device_id.as_ref().map(|id| format!("id {}", short(id.as_str())));
        Self {
            key: key.map(|key| key.to_string()).unwrap_or_default(),
            name: place.name.clone().unwrap_or_else(|| "(no name)".to_owned()),
            known_by: [id, serial, mac].into_iter().flatten().collect::<Vec<_>>().join(", "),
            badge,
            taken_href: place.taken_by.as_ref().map(device_href),
            taken_by: place.taken_by.as_ref().map(|id| short(id.as_str())).unwrap_or_default(),
            board: place.board.clone(),
            site: place.site.clone(),
            labels: label_lines(&place.labels).join(", "),
            source: place.source.as_str(),
            at: Moment::of(place.imported_at, now),
        }
    }
}

#[derive(Template)]
#[template(path = "expected.html")]
struct Page {
    shell: Shell,
    done: Option<&'static str>,
    imported: Option<Imported>,
    rows: Vec<Row>,
    total: u64,
    pager: Pager,
    can_change: bool,
    csrf: String,
}

async fn render(web: &Web, visitor: &Visitor, asked: &Asked, imported: Option<Imported>) -> Result<Response, Oops> {
    let part = web.services.store.expected(asked.offset, PAGE).await?;
    shown(&Page {
        shell: visitor.shell(web, Section::Expected, "Expected").await?,
        done: (asked.done == "forgotten").then_some("Forgotten. A device that called already stays."),
        imported,
        rows: part.items.iter().map(|place| Row::of(place, visitor.now)).collect(),
        total: part.total,
        pager: Pager::of("/expected", &[], asked.offset, part.total),
        can_change: visitor.can_change(Role::Operator, Area::Expected),
        csrf: visitor.csrf(),
    })
}

/// The page.
pub(super) async fn page(State(web): State<Web>, visitor: Visitor, Query(asked): Query<Asked>) -> Result<Response, Oops> {
    visitor.may_see(Role::Reader, Area::Expected)?;
    render(&web, &visitor, &asked, None).await
}

/// Imports a manifest of `imager stamp` or a log of `imager flash`.
pub(super) async fn import(State(web): State<Web>, visitor: Visitor, request: Request) -> Result<Response, Oops> {
    let file = upload::file(&visitor, request, (Role::Operator, Area::Expected), "a manifest or a log").await?;
    let store = &web.services.store;
    let imported = match is_log(&file) {
        true => store.import_log(&file, &visitor.by()).await?,
        false => store.import_manifest(&file, &visitor.by()).await?,
    };
    render(&web, &visitor, &Asked::default(), Some(imported)).await
}

/// A log of flashed drives has one record a line and says so in each; anything else is a manifest, or nothing.
fn is_log(file: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Record {
        form: String,
    }
    let first = file.split(|byte| *byte == b'\n').next().unwrap_or_default();
    serde_json::from_slice::<Record>(first).is_ok_and(|record| record.form.ends_with("flash record"))
}

/// Expects a device no longer.
pub(super) async fn forget(State(web): State<Web>, visitor: Visitor, fields: Fields) -> Result<Response, Oops> {
    visitor.may_change(fields.csrf(), Role::Operator, Area::Expected)?;
    web.services.store.forget_expected(fields.text("key"), &visitor.by()).await?;
    Ok(Redirect::to(&address("/expected", &[("done", "forgotten")])).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_told_from_a_manifest_and_from_nonsense() {
        assert!(is_log(b"{\"form\":\"skerry.dev/v1 flash record\",\"line\":1}\n{"));
        assert!(!is_log(b"{\n  \"form\": \"skerry.dev/v1 stamp manifest\"\n}\n"));
        assert!(!is_log(b"") && !is_log(b"\xff\n"));
    }
}
