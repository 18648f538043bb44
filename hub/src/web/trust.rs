//! Whose signatures count here: fleets for configurations, stations for manifests. The hub has public keys only.

use askama::Template;
use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use machine_config::{FleetTrust, KeyId, PublicKey};

use super::Web;
use super::at::At;
use super::fields::Fields;
use super::oops::{Oops, shown};
use super::shell::{Section, Shell};
use super::upload;
use super::view::Moment;
use super::visitor::Visitor;
use crate::auth::Area;
use crate::model::{Fleet, Station, Time};
use crate::people::Role;

/// What the address may say.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    done: String,
}

impl Asked {
    fn words(&self) -> Option<&'static str> {
        match self.done.as_str() {
            "fleet" => Some("Registered. Configurations signed with these keys are taken from now on."),
            "fleet-gone" => Some("Deleted. Nothing of this fleet is taken or offered any more; devices keep what they have."),
            "station" => Some("Registered. Import its manifests under Expected."),
            "station-gone" => Some("Deleted. What it signed before stays."),
            _ => None,
        }
    }
}

struct FleetRow {
    name: String,
    keys: Vec<String>,
    since: Moment,
}

impl FleetRow {
    fn of(fleet: &Fleet, now: Time) -> Self {
        let keys = fleet.keys.iter().map(|key| key.id().to_string()).collect();
        Self { name: fleet.name.to_string(), keys, since: Moment::of(fleet.updated_at, now) }
    }
}

struct StationRow {
    name: String,
    id: String,
    since: Moment,
}

impl StationRow {
    fn of(station: &Station, now: Time) -> Self {
        Self { name: station.name.clone(), id: station.key.id().to_string(), since: Moment::of(station.added_at, now) }
    }
}

#[derive(Template)]
#[template(path = "trust.html")]
struct Page {
    shell: Shell,
    done: Option<&'static str>,
    fleets: Vec<FleetRow>,
    stations: Vec<StationRow>,
    can_change: bool,
    csrf: String,
}

/// The page.
pub(super) async fn page(State(web): State<Web>, visitor: Visitor, Query(asked): Query<Asked>) -> Result<Response, Oops> {
    visitor.may_see(Role::Reader, Area::Fleets)?;
    let (store, now) = (&web.services.store, visitor.now);
    shown(&Page {
        shell: visitor.shell(&web, Section::Trust, "Trust").await?,
        done: asked.words(),
        fleets: store.fleets().await?.iter().map(|fleet| FleetRow::of(fleet, now)).collect(),
        stations: store.stations().await?.iter().map(|station| StationRow::of(station, now)).collect(),
        can_change: visitor.can_change(Role::Admin, Area::Fleets),
        csrf: visitor.csrf(),
    })
}

fn back(done: &str) -> Response {
    Redirect::to(&format!("/trust?done={done}")).into_response()
}

/// Registers a fleet by its `fleet.pub`, or the keys that it has now.
pub(super) async fn put_fleet(State(web): State<Web>, visitor: Visitor, request: Request) -> Result<Response, Oops> {
    let file = upload::file(&visitor, request, (Role::Admin, Area::Fleets), "the fleet's fleet.pub").await?;
    let fleet = FleetTrust::from_json(&file);
    let fleet = fleet.map_err(|error| Oops::unusable(format!("this is no fleet.pub: {error}")))?;
    web.services.store.put_fleet(fleet, &visitor.by()).await?;
    Ok(back("fleet"))
}

/// Takes nothing of a fleet any more.
pub(super) async fn delete_fleet(
    State(web): State<Web>,
    visitor: Visitor,
    At(name): At<String>,
    fields: Fields,
) -> Result<Response, Oops> {
    visitor.may_change(fields.csrf(), Role::Admin, Area::Fleets)?;
    web.services.store.delete_fleet(&name, &visitor.by()).await?;
    Ok(back("fleet-gone"))
}

/// Believes what a station signs.
pub(super) async fn put_station(State(web): State<Web>, visitor: Visitor, fields: Fields) -> Result<Response, Oops> {
    visitor.may_change(fields.csrf(), Role::Admin, Area::Fleets)?;
    let key: PublicKey = fields.parsed("key")?.ok_or_else(|| Oops::unusable("give the station's public key"))?;
    let name = Some(fields.text("name")).filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| Oops::unusable("say what people call the station"))?;
    web.services.store.register_station(name, key, &visitor.by()).await?;
    Ok(back("station"))
}

/// Believes a station no longer.
pub(super) async fn delete_station(
    State(web): State<Web>,
    visitor: Visitor,
    At(id): At<KeyId>,
    fields: Fields,
) -> Result<Response, Oops> {
    visitor.may_change(fields.csrf(), Role::Admin, Area::Fleets)?;
    web.services.store.delete_station(&id, &visitor.by()).await?;
    Ok(back("station-gone"))
}
