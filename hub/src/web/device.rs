//! A device: how it is, what it is, which configuration it has, what happened; and what people may do with it.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use machine_config::DeviceId;

use super::Web;
use super::at::At;
use super::devices::Row;
use super::fields::Fields;
use super::logs::NO_READER;
use super::oops::{Oops, shown};
use super::pager::address;
use super::pending::done;
use super::shell::{Section, Shell};
use super::view::{BAD, Badge, Fact, GOOD, Moment, QUIET, WARN, device_href, facts, label_lines, short, size, span, title};
use super::visitor::Visitor;
use crate::auth::Area;
use crate::enrol::Act;
use crate::model::{Config, Delivery, Device, DeviceEvent, DeviceState, Inventory, Labels, Replica, Stream, Time};
use crate::people::Role;
use crate::store::{Edit, Seen};

/// Events shown.
const EVENTS: u32 = 50;
/// Deliveries shown.
const DELIVERIES: usize = 10;

/// What the address may say.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    done: String,
}

struct Warning {
    text: String,
    tone: &'static str,
}

struct DeliveryRow {
    digest: String,
    config: String,
    badge: Badge,
    why: String,
    at: Moment,
}

struct EventRow {
    at: Moment,
    what: String,
    message: String,
}

struct ActButton {
    value: &'static str,
    word: &'static str,
    tone: &'static str,
}

struct EditForm {
    name: String,
    site: String,
    labels: String,
    groups: String,
}

struct Logs {
    /// Why there are none; none: there are.
    obstacle: Option<&'static str>,
    service: &'static str,
}

#[derive(Template)]
#[template(path = "device.html")]
struct Page {
    shell: Shell,
    id: String,
    row: Row,
    done: Option<String>,
    warnings: Vec<Warning>,
    status: Vec<Fact>,
    first: Moment,
    errors: Vec<String>,
    config: Vec<Fact>,
    deliveries: Vec<DeliveryRow>,
    inventory: Vec<Fact>,
    events: Vec<EventRow>,
    logs: Logs,
    edit: EditForm,
    acts: Vec<ActButton>,
    /// The digest of the inventory that is shown.
    seen: String,
    can_change: bool,
    can_remove: bool,
    csrf: String,
}

/// What the database says.
struct Facts {
    device: Device,
    stream: Option<(Stream, Replica)>,
    namesakes: usize,
    deliveries: Vec<(Delivery, Option<Config>)>,
    running: Option<Config>,
    events: Vec<DeviceEvent>,
}

async fn read(web: &Web, id: &DeviceId, now: Time) -> Result<Facts, Oops> {
    let store = &web.services.store;
    let device = store.device(id).await?.ok_or_else(|| Oops::missing("there is no such device at this hub"))?;
    let mut deliveries = Vec::new();
    for delivery in store.deliveries_of(id).await?.into_iter().take(DELIVERIES) {
        let config = store.config(&delivery.digest).await?;
        deliveries.push((delivery, config));
    }
    let namesakes = match &device.name {
        Some(name) => store.devices_named(name).await?.into_iter().filter(|other| other.id != device.id).count(),
        None => 0,
    };
    let running = match &device.config_digest {
        Some(digest) => store.config(digest).await?,
        None => None,
    };
    let (stream, events) = (store.stream_of(id, now).await?, store.events(id, EVENTS).await?);
    Ok(Facts { device, stream, namesakes, deliveries, running, events })
}

/// The page.
pub(super) async fn page(
    State(web): State<Web>,
    visitor: Visitor,
    At(id): At<DeviceId>,
    Query(asked): Query<Asked>,
) -> Result<Response, Oops> {
    visitor.may_see(Role::Reader, Area::Devices)?;
    let facts = read(&web, &id, visitor.now).await?;
    let mut page = view(visitor.shell(&web, Section::Devices, title(&facts.device)).await?, &facts, visitor.now);
    page.done = done(&asked.done, 1);
    page.can_change = visitor.can_change(Role::Operator, Area::Devices) && facts.device.state != DeviceState::Removed;
    page.csrf = visitor.csrf();
    page.logs.obstacle = web.reader.is_none().then_some(NO_READER);
    shown(&page)
}

fn view(shell: Shell, all: &Facts, now: Time) -> Page {
    let Facts { device, stream, deliveries, events, .. } = all;
    let mut row = Row::of(device, now);
    if device.state == DeviceState::Admitted {
        row.badges.push(if stream.is_some() { Badge::new("connected", GOOD) } else { Badge::new("not connected", WARN) });
    }
    Page {
        shell,
        id: device.id.to_string(),
        row,
        done: None,
        warnings: warnings(all),
        status: status(device, stream.as_ref(), now),
        first: Moment::of(device.first_seen, now),
        errors: device.status.as_ref().map(|status| status.errors.clone()).unwrap_or_default(),
        config: config(device, all.running.as_ref()),
        deliveries: deliveries.iter().map(|(delivery, config)| delivery_row(delivery, config.as_ref(), now)).collect(),
        inventory: device.inventory.as_ref().map(|inventory| inventory_facts(device, inventory)).unwrap_or_default(),
        events: events.iter().map(|event| event_row(event, now)).collect(),
        logs: Logs { obstacle: None, service: "containerd" },
        edit: EditForm {
            name: device.name.clone().unwrap_or_default(),
            site: device.site.clone(),
            labels: label_lines(&device.labels).join("\n"),
            groups: device.groups.join("\n"),
        },
        acts: acts(device.state, device.hardware_changed()),
        seen: device.inventory_digest.clone(),
        can_change: false,
        can_remove: device.state != DeviceState::Removed,
        csrf: String::new(),
    }
}

fn warnings(all: &Facts) -> Vec<Warning> {
    let device = &all.device;
    let mut warnings = Vec::new();
    if !device.reason.is_empty() {
        let tone = if device.state == DeviceState::Pending || device.hardware_changed() { WARN } else { QUIET };
        warnings.push(Warning { text: format!("{}: {}", device.state, device.reason), tone });
    }
    if all.namesakes > 0 {
        let name = device.name.as_deref().unwrap_or_default();
        let text =
            format!("{} more have the name {name}. Compare their ids before you change one.", count_devices(all.namesakes));
        warnings.push(Warning { text, tone: WARN });
    }
    if let Some(status) = &device.status
        && !status.not_yet_in_effect.is_empty()
    {
        let text = format!("Its version does not act on: {}", status.not_yet_in_effect.join(", "));
        warnings.push(Warning { text, tone: QUIET });
    }
    warnings
}

fn count_devices(count: usize) -> String {
    if count == 1 { "1 device".to_owned() } else { format!("{count} devices") }
}

fn status(device: &Device, stream: Option<&(Stream, Replica)>, now: Time) -> Vec<Fact> {
    let report = device.status.clone().unwrap_or_default();
    let resources = device.resources.map(|resources| {
        let mib = |count: u32| size(u64::from(count) << 20);
        let (memory, data) = (mib(resources.memory_available_mib), mib(resources.data_available_mib));
        format!("load {} %, {memory} of memory free, {data} of DATA free", resources.load_percent)
    });
    let release = [&device.release.version, &device.release.board, &device.release.architecture];
    let uptime = if report.uptime_ms == 0 { String::new() } else { span(report.uptime_ms / 1000) };
    facts([
        ("Site", device.site.clone()),
        ("Phase", device.phase.clone()),
        ("Waits for", report.waiting_for),
        ("Installation", report.install),
        ("Connected", stream.map(|(stream, _)| format!("since {}", super::view::ago(stream.since, now))).unwrap_or_default()),
        ("Calls from", device.last_address.map(|address| address.to_string()).unwrap_or_default()),
        ("Addresses", report.addresses.join("\n")),
        ("Up for", uptime),
        ("In use", resources.unwrap_or_default()),
        ("Clock", report.clock),
        ("Runs from", report.runs_from),
        ("Skerry", release.into_iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join(", ")),
        ("Kernel", device.release.kernel.clone()),
        ("Image", short(&device.release.runtime_root_hash)),
        ("Labels", label_lines(&device.labels).join("\n")),
        ("Groups", device.groups.join(", ")),
        ("Admitted by", device.admitted_by.clone().unwrap_or_default()),
        ("Join token", device.token.clone().unwrap_or_default()),
    ])
}

fn config(device: &Device, running: Option<&Config>) -> Vec<Fact> {
    let generation = match device.config_generation {
        0 => "it has none".to_owned(),
        generation => format!("generation {generation}"),
    };
    let digest = device.config_digest.as_ref().map(|digest| short(&digest.to_string())).unwrap_or_default();
    let name = running.map_or_else(
        || if digest.is_empty() { String::new() } else { "not from this hub".to_owned() },
        |config| config.name.clone(),
    );
    facts([("It has", generation), ("Called", name), ("SHA-256", digest), ("Fleet", device.fleet.clone())])
}

fn delivery_row(delivery: &Delivery, config: Option<&Config>, now: Time) -> DeliveryRow {
    let (badge, why) = Badge::of_delivery(delivery);
    let digest = delivery.digest.to_string();
    let config = config.map_or_else(|| short(&digest), |config| format!("{}, generation {}", config.name, config.generation));
    DeliveryRow { digest, config, badge, why, at: Moment::of(delivery.at, now) }
}

fn inventory_facts(device: &Device, inventory: &Inventory) -> Vec<Fact> {
    let machine = [&inventory.vendor, &inventory.product].map(String::as_str).join(" ").trim().to_owned();
    let nics = inventory.nics.iter().map(|nic| format!("{} {} {}", nic.name, nic.mac, nic.driver).trim_end().to_owned());
    let disks = inventory.disks.iter().map(|disk| {
        let boot = if disk.boot { ", runs Skerry" } else { "" };
        format!("{} {} {} {}{boot}", disk.name, size(disk.size_bytes), disk.model, disk.serial)
    });
    let lines = |lines: &mut dyn Iterator<Item = String>| lines.collect::<Vec<_>>().join("\n");
    facts([
        ("Machine", machine),
        ("Serial number", device.serials.join(", ")),
        ("Processor", format!("{} × {}", inventory.cpu_count, inventory.cpu_model)),
        ("Memory", size(inventory.memory_bytes)),
        ("Network", lines(&mut { nics })),
        ("Disks", lines(&mut { disks })),
        ("TPM", if inventory.tpm { "there".to_owned() } else { "none".to_owned() }),
        ("Secure boot", inventory.secure_boot.clone()),
        ("Firmware", inventory.firmware.clone()),
    ])
}

fn event_row(event: &DeviceEvent, now: Time) -> EventRow {
    let what = [event.kind.as_str(), event.subject.as_str()].join(" ").trim().to_owned();
    EventRow { at: Moment::of(event.received, now), what, message: event.message.clone() }
}

/// What may be done with a device in this state, but for removing it. To approve one whose hardware changed is to confirm that.
fn acts(state: DeviceState, changed: bool) -> Vec<ActButton> {
    let buttons = [(Act::Approve, "Approve", "main"), (Act::Refuse, "Refuse", BAD), (Act::Quarantine, "Quarantine", BAD)];
    let useful = buttons
        .into_iter()
        .filter(|(act, ..)| act.is_allowed(state) && (act.target() != state || (changed && *act == Act::Approve)));
    useful.map(|(act, word, tone)| ActButton { value: act.as_str(), word, tone }).collect()
}

/// Changes what people say of a device.
pub(super) async fn edit(
    State(web): State<Web>,
    visitor: Visitor,
    At(id): At<DeviceId>,
    fields: Fields,
) -> Result<Response, Oops> {
    visitor.may_change(fields.csrf(), Role::Operator, Area::Devices)?;
    let device = web.services.store.device(&id).await?.ok_or_else(|| Oops::missing("there is no such device at this hub"))?;
    let edit = changed(&fields, &device.labels, &device.groups)?;
    let done = if edit == Edit::default() { "unchanged" } else { "saved" };
    if edit != Edit::default() {
        web.services.store.edit_device(&id, edit, &visitor.by()).await?;
    }
    Ok(Redirect::to(&address(&device_href(&id), &[("done", done)])).into_response())
}

/// What the form says differently than the page had it: `NAME.was` is that. What somebody else changed meanwhile stays, of labels and groups each
/// one for itself: the device has `labels` and `groups` now.
fn changed(fields: &Fields, labels: &Labels, groups: &[String]) -> Result<Edit, Oops> {
    let text =
        |name: &str| Some(fields.text(name)).filter(|text| *text != fields.text(&format!("{name}.was"))).map(str::to_owned);
    let (said, was) = (fields.labels("labels")?, fields.labels("labels.was")?);
    let mut labels = labels.clone();
    labels.retain(|key, _| said.contains_key(key) || !was.contains_key(key));
    labels.extend(said.clone().into_iter().filter(|(key, value)| was.get(key) != Some(value)));
    let (listed, listed_was) = (fields.lines("groups"), fields.lines("groups.was"));
    let mut groups = groups.to_vec();
    groups.retain(|group| listed.contains(group) || !listed_was.contains(group));
    groups.extend(listed.iter().filter(|group| !listed_was.contains(group)).cloned());
    Ok(Edit {
        name: text("name"),
        site: text("site"),
        labels: (said != was).then_some(labels),
        groups: (listed != listed_was).then_some(groups),
    })
}

struct Failure {
    id: String,
    short_id: String,
    why: String,
}

#[derive(Template)]
#[template(path = "acted.html")]
struct Acted {
    shell: Shell,
    good: usize,
    total: usize,
    failures: Vec<Failure>,
    back: String,
}

/// Approves, refuses, quarantines or removes the chosen devices. One that cannot be takes no other along.
pub(super) async fn act(State(web): State<Web>, visitor: Visitor, fields: Fields) -> Result<Response, Oops> {
    visitor.may_change(fields.csrf(), Role::Operator, Area::Devices)?;
    let act: Act = fields.parsed("act")?.ok_or_else(|| Oops::unusable("say what to do with the devices"))?;
    let ids = chosen(&fields)?;
    if act == Act::Remove && fields.text("sure") != "yes" {
        return Err(Oops::unusable("removing is final: tick that you know it"));
    }
    let seen = if act == Act::Approve { seen(&fields, &ids)? } else { Seen::new() };
    let results = web.services.store.change_seen(act, &ids, &seen, fields.text("reason"), &visitor.by()).await;
    let mut failures = Vec::new();
    for (id, result) in ids.iter().zip(results) {
        if let Err(error) = result {
            let why = if error.is_internal() { "the hub failed; its log says why".to_owned() } else { error.to_string() };
            failures.push(Failure { id: id.to_string(), short_id: short(id.as_str()), why });
        }
    }
    let back = match (fields.text("back"), ids.as_slice()) {
        ("device", [id]) => device_href(id),
        _ => "/pending".to_owned(),
    };
    let (good, total) = (ids.len() - failures.len(), ids.len());
    if failures.is_empty() {
        let count = good.to_string();
        return Ok(Redirect::to(&address(&back, &[("done", act.target().as_str()), ("count", &count)])).into_response());
    }
    let shell = visitor.shell(&web, Section::Devices, "Not all were changed").await?;
    shown(&Acted { shell, good, total, failures, back })
}

/// What the page showed of the devices that are approved: `seen.ID`.
fn seen(fields: &Fields, ids: &[DeviceId]) -> Result<Seen, Oops> {
    let digest = |id: &DeviceId| fields.all(&format!("seen.{id}")).next().map(|digest| (id.clone(), digest.to_owned()));
    let seen: Option<Seen> = ids.iter().map(digest).collect();
    seen.ok_or_else(|| Oops::unusable("it is not said what was shown of the devices; load the page again"))
}

fn chosen(fields: &Fields) -> Result<Vec<DeviceId>, Oops> {
    let ids: Result<Vec<DeviceId>, _> = fields.all("id").map(str::parse).collect();
    let ids = ids.map_err(|_| Oops::unusable("a chosen device has no id; load the page again"))?;
    if ids.is_empty() { Err(Oops::unusable("choose at least one device")) } else { Ok(ids) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_changes_what_somebody_changed_in_it_and_nothing_else() {
        let now = Labels::from([("a".into(), "1".into()), ("b".into(), "2".into()), ("meanwhile".into(), "3".into())]);
        let form = |site: &str, labels: &str, groups: &str| {
            let pairs = [
                ("name", "till"),
                ("name.was", "till"),
                ("site", site),
                ("site.was", "Store 1"),
                ("labels", labels),
                ("labels.was", "a=1\r\nb=2"),
                ("groups", groups),
                ("groups.was", "shops\r\nold"),
            ];
            changed(&Fields::of(&pairs), &now, &["shops".into(), "old".into(), "meanwhile".into()]).expect("a form")
        };
        assert_eq!(form("Store 1", "b=2\na=1", "shops\nold"), Edit::default());
        assert_eq!(form(" Store 2", "a=1\nb=2", "shops\nold"), Edit { site: Some("Store 2".into()), ..Edit::default() });
        let labels = Labels::from([("a".into(), "9".into()), ("c".into(), "4".into()), ("meanwhile".into(), "3".into())]);
        assert_eq!(form("Store 1", "a=9\nc=4", "shops\nold"), Edit { labels: Some(labels), ..Edit::default() });
        let groups = vec!["shops".to_owned(), "meanwhile".into(), "new".into()];
        assert_eq!(form("Store 1", "a=1\nb=2", "shops\nnew"), Edit { groups: Some(groups), ..Edit::default() });
    }

    #[test]
    fn whoever_approves_says_what_he_was_shown() {
        let id: DeviceId = "ab".repeat(32).parse().expect("an id");
        let name = format!("seen.{id}");
        let said = seen(&Fields::of(&[("id", id.as_str()), (&name, "")]), std::slice::from_ref(&id)).expect("it is said");
        assert_eq!(said.get(&id).map(String::as_str), Some(""), "no inventory was shown, and that counts");
        assert!(seen(&Fields::of(&[("id", id.as_str())]), &[id]).is_err());
    }

    #[test]
    fn only_what_would_change_something_is_offered() {
        let words = |state| acts(state, false).iter().map(|act| act.word).collect::<Vec<_>>().join(" ");
        assert_eq!(words(DeviceState::Pending), "Approve Refuse");
        assert_eq!(words(DeviceState::Admitted), "Quarantine");
        assert_eq!(words(DeviceState::Refused), "Approve");
        assert_eq!(words(DeviceState::Quarantined), "Approve Refuse");
        assert_eq!(words(DeviceState::Removed), "");
        assert_eq!(acts(DeviceState::Admitted, true).len(), 2, "its changed hardware is confirmed");
    }
}
