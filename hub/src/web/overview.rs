//! The first page: the fleet in numbers, and what needs somebody, the worst first.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};

use super::Web;
use super::oops::{Oops, shown};
use super::shell::{Section, Shell};
use super::view::{BAD, Badge, GOOD, Moment, QUIET, WARN, device_href, short, title};
use super::visitor::Visitor;
use crate::auth::Area;
use crate::model::{Device, DeviceFilter, DeviceState, Overview, Time};
use crate::people::Role;
use crate::store::{HeardCounts, RefusedDelivery, SILENT_AFTER};

/// Entries of each list.
const LIST: u32 = 12;

struct Tile {
    key: &'static str,
    word: &'static str,
    count: u64,
    tone: &'static str,
    href: &'static str,
}

struct Trouble {
    href: String,
    name: String,
    badge: Badge,
    what: String,
    since: Moment,
}

struct Bar {
    word: &'static str,
    count: u64,
    of: u64,
}

struct Waiting {
    href: String,
    name: String,
    board: String,
    first: Moment,
}

#[derive(Template)]
#[template(path = "overview.html")]
struct Page {
    shell: Shell,
    tiles: Vec<Tile>,
    troubles: Vec<Trouble>,
    seen: Vec<Bar>,
    waiting: Vec<Waiting>,
}

/// The page. Installers have another first page.
pub(super) async fn page(State(web): State<Web>, visitor: Visitor) -> Result<Response, Oops> {
    if visitor.caller.role == Role::Installer {
        return Ok(Redirect::to("/claim").into_response());
    }
    visitor.may_see(Role::Reader, Area::Devices)?;
    let (store, now) = (&web.services.store, visitor.now);
    let unhealthy = DeviceFilter { state: Some(DeviceState::Admitted), healthy: Some(false), limit: LIST, ..Default::default() };
    let pending = DeviceFilter { state: Some(DeviceState::Pending), limit: LIST, ..Default::default() };
    let facts = Facts {
        counts: store.overview(now).await?,
        unhealthy: store.devices(&unhealthy).await?.items,
        silent: store.silent_devices(now.before(SILENT_AFTER), LIST).await?,
        refused: store.refused_deliveries(LIST).await?,
        heard: store.heard_counts(now).await?,
        pending: store.devices(&pending).await?.items,
    };
    let shell = visitor.shell(&web, Section::Overview, "Fleet").await?;
    shown(&view(shell, &facts, now))
}

/// What the database says.
struct Facts {
    counts: Overview,
    unhealthy: Vec<Device>,
    silent: Vec<Device>,
    refused: Vec<RefusedDelivery>,
    heard: HeardCounts,
    pending: Vec<Device>,
}

fn view(shell: Shell, facts: &Facts, now: Time) -> Page {
    Page {
        shell,
        tiles: tiles(&facts.counts),
        troubles: troubles(facts, now),
        seen: bars(&facts.heard),
        waiting: facts.pending.iter().map(|device| waiting(device, now)).collect(),
    }
}

fn tiles(counts: &Overview) -> Vec<Tile> {
    let Overview { pending, admitted, refused, quarantined, removed, connected, unhealthy } = *counts;
    let when = |count: u64, tone| if count > 0 { tone } else { QUIET };
    let tile = |key, word, count, tone, href| Tile { key, word, count, tone, href };
    vec![
        tile("unhealthy", "not healthy", unhealthy, when(unhealthy, BAD), "/devices?state=admitted&healthy=false"),
        tile("pending", "pending", pending, when(pending, WARN), "/pending"),
        tile("admitted", "admitted", admitted, when(admitted, GOOD), "/devices?state=admitted"),
        tile("connected", "connected", connected, when(connected, GOOD), "/devices?state=admitted"),
        tile("quarantined", "quarantined", quarantined, when(quarantined, BAD), "/devices?state=quarantined"),
        tile("refused", "refused", refused, QUIET, "/devices?state=refused"),
        tile("removed", "removed", removed, QUIET, "/devices?state=removed"),
    ]
}

/// Failures first, then refusals, then silence. A device appears once.
fn troubles(facts: &Facts, now: Time) -> Vec<Trouble> {
    let unhealthy = facts.unhealthy.iter().map(|device| trouble(device, Badge::new("not healthy", BAD), complaint(device), now));
    let refused = facts.refused.iter().map(|one| Trouble {
        href: device_href(&one.device),
        name: one.name.clone().unwrap_or_else(|| short(one.device.as_str())),
        badge: Badge::new(format!("refused config: {}", one.code), BAD),
        what: one.message.clone(),
        since: Moment::of(one.at, now),
    });
    let silent = facts.silent.iter().map(|device| {
        let place = if device.site.is_empty() { String::new() } else { format!("site {}", device.site) };
        trouble(device, Badge::new("silent", WARN), place, now)
    });
    let mut all: Vec<Trouble> = Vec::new();
    for one in unhealthy.chain(refused).chain(silent) {
        if all.iter().all(|earlier| earlier.href != one.href) {
            all.push(one);
        }
    }
    all
}

fn trouble(device: &Device, badge: Badge, what: String, now: Time) -> Trouble {
    Trouble { href: device_href(&device.id), name: title(device), badge, what, since: Moment::of(device.last_seen, now) }
}

/// What a device says is wrong with it, in one line.
fn complaint(device: &Device) -> String {
    let Some(status) = &device.status else { return format!("in phase {}", device.phase) };
    let waiting = Some(&status.waiting_for).filter(|line| !line.is_empty());
    match status.errors.first().or(waiting) {
        Some(line) => line.clone(),
        None => format!("in phase {}", device.phase),
    }
}

fn bars(heard: &HeardCounts) -> Vec<Bar> {
    let HeardCounts { minutes, hour, day, longer } = *heard;
    let of = (minutes + hour + day + longer).max(1);
    let bar = |word, count| Bar { word, count, of };
    vec![bar("within 10 minutes", minutes), bar("within the hour", hour), bar("within the day", day), bar("longer ago", longer)]
}

fn waiting(device: &Device, now: Time) -> Waiting {
    Waiting {
        href: device_href(&device.id),
        name: title(device),
        board: device.release.board.clone(),
        first: Moment::of(device.first_seen, now),
    }
}
