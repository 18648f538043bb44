//! The page behind the code on a device's label: an installer says where the device stands. He sees of it what stands on its label, and no more.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};

use super::Web;
use super::at::At;
use super::fields::Fields;
use super::oops::{Oops, shown};
use super::pager::{address, encode};
use super::shell::{Section, Shell};
use super::view::{Fact, facts, short, title};
use super::visitor::Visitor;
use crate::auth::Area;
use crate::model::DeviceState;
use crate::people::Role;
use crate::rest::{bound_to, claim as claim_for};
use crate::store::{ClaimBy, Claimed, Installer, StoreError};

/// What the form of the first page says.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Wanted {
    kind: String,
    value: String,
}

#[derive(Template)]
#[template(path = "claim_find.html")]
struct FindPage {
    shell: Shell,
}

/// The page for who has no camera, or the way to the device that was typed in.
pub(super) async fn find(State(web): State<Web>, visitor: Visitor, Query(wanted): Query<Wanted>) -> Result<Response, Oops> {
    visitor.may_see(Role::Installer, Area::Claims)?;
    let value = wanted.value.trim();
    if !value.is_empty() && matches!(wanted.kind.as_str(), "id" | "serial" | "name") {
        return Ok(Redirect::to(&place(&wanted.kind, value)).into_response());
    }
    shown(&FindPage { shell: visitor.shell(&web, Section::Claim, "Claim a device").await? })
}

fn place(kind: &str, value: &str) -> String {
    format!("/claim/{kind}/{}", encode(value))
}

/// What the code says.
fn meant(kind: &str, value: &str) -> Result<ClaimBy, Oops> {
    match kind {
        "id" => value.parse().map(ClaimBy::Id).map_err(|_| Oops::unusable("a device id has 64 hexadecimal digits")),
        "serial" => Ok(ClaimBy::Serial(value.to_owned())),
        "name" => Ok(ClaimBy::Name(value.to_owned())),
        _ => Err(Oops::missing("there is no such page; scan the code on the device's label again")),
    }
}

#[derive(Template)]
#[template(path = "claim.html")]
struct Page {
    shell: Shell,
    name: String,
    done: Option<&'static str>,
    facts: Vec<Fact>,
    obstacle: Option<String>,
    can_claim: bool,
    site: String,
    /// The sites to choose from; empty: any.
    sites: Vec<String>,
    path: String,
    csrf: String,
}

/// What the address may say.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    done: String,
}

/// The page.
pub(super) async fn page(
    State(web): State<Web>,
    visitor: Visitor,
    At((kind, value)): At<(String, String)>,
    Query(asked): Query<Asked>,
) -> Result<Response, Oops> {
    visitor.may_see(Role::Installer, Area::Claims)?;
    let found = web.services.store.find_claim(&meant(&kind, &value)?).await;
    let seen = match found {
        Ok(found) => Seen::of(found.as_ref(), &kind, &value),
        Err(error @ StoreError::Ambiguous { .. }) => Seen::several(&kind, &value, &error),
        Err(error) => return Err(error.into()),
    };
    let seen = seen.by(bound_to(&web, &visitor.caller).await?.as_ref());
    shown(&Page {
        shell: visitor.shell(&web, Section::Claim, "Claim").await?,
        done: (asked.done == "claimed").then_some(seen.next),
        name: seen.name,
        facts: seen.facts,
        obstacle: seen.obstacle,
        can_claim: seen.is_open && asked.done != "claimed",
        site: seen.site,
        sites: seen.sites,
        path: place(&kind, &value),
        csrf: visitor.csrf(),
    })
}

/// Claims the device.
pub(super) async fn claim(
    State(web): State<Web>,
    visitor: Visitor,
    At((kind, value)): At<(String, String)>,
    fields: Fields,
) -> Result<Response, Oops> {
    visitor.may_change(fields.csrf(), Role::Installer, Area::Claims)?;
    claim_for(&web, &visitor.caller, meant(&kind, &value)?, fields.text("site")).await?;
    Ok(Redirect::to(&address(&place(&kind, &value), &[("done", "claimed")])).into_response())
}

/// What an installer sees of a device.
struct Seen {
    name: String,
    facts: Vec<Fact>,
    site: String,
    sites: Vec<String>,
    /// What happens next when it is claimed.
    next: &'static str,
    obstacle: Option<String>,
    is_open: bool,
}

impl Seen {
    fn of(found: Option<&Claimed>, kind: &str, value: &str) -> Self {
        match found {
            Some(Claimed::Device(device)) => Self {
                name: title(device),
                facts: facts([
                    ("Serial number", device.serials.join(", ")),
                    ("Board", device.release.board.clone()),
                    ("Device id", short(device.id.as_str())),
                    ("Site", device.site.clone()),
                    ("It stands", device.state.to_string()),
                ]),
                site: device.site.clone(),
                sites: vec![],
                next: next(device.state),
                obstacle: obstacle(device.state).map(str::to_owned),
                is_open: obstacle(device.state).is_none(),
            },
            Some(Claimed::Awaited(place)) => Self {
                name: place.name.clone().unwrap_or_else(|| value.to_owned()),
                facts: facts([
                    ("Serial number", place.serial.clone().unwrap_or_default()),
                    ("Board", place.board.clone()),
                    ("Site", place.site.clone()),
                    ("It stands", "has not called yet".to_owned()),
                ]),
                site: place.site.clone(),
                sites: vec![],
                next: "Claimed. Plug it in: it will call.",
                obstacle: None,
                is_open: true,
            },
            None => Self::unknown(kind, value),
        }
    }

    /// Nobody has heard of it. By its id or serial number it can be claimed before it calls.
    fn unknown(kind: &str, value: &str) -> Self {
        let is_open = kind != "name";
        let obstacle = if is_open {
            "This hub has not heard of it yet. Claim it, and it is expected here."
        } else {
            "This hub knows no device with this name. Use its serial number or its id."
        };
        Self {
            name: short_value(kind, value),
            facts: vec![],
            site: String::new(),
            sites: vec![],
            next: "Claimed. Plug it in: it will call.",
            obstacle: Some(obstacle.to_owned()),
            is_open,
        }
    }

    /// As it is for somebody who is bound to sites; none: to none of them.
    fn by(self, installer: Option<&Installer>) -> Self {
        match installer {
            Some(installer) if installer.sites.is_empty() => {
                let obstacle = "No site was given to you: an admin of this hub says for which sites you claim. Call them.";
                Self { obstacle: Some(obstacle.to_owned()), is_open: false, ..self }
            }
            Some(installer) if self.is_open && !self.site.is_empty() && !installer.claims_for(&self.site) => {
                let obstacle = "It is for a site that is none of yours. Call an operator.";
                Self { obstacle: Some(obstacle.to_owned()), is_open: false, ..self }
            }
            Some(installer) if !installer.is_everywhere() => Self { sites: installer.sites.clone(), ..self },
            Some(_) | None => self,
        }
    }

    fn several(kind: &str, value: &str, error: &StoreError) -> Self {
        Self { obstacle: Some(error.to_string()), is_open: false, ..Self::unknown(kind, value) }
    }
}

fn short_value(kind: &str, value: &str) -> String {
    if kind == "id" { short(value) } else { value.to_owned() }
}

fn next(state: DeviceState) -> &'static str {
    match state {
        DeviceState::Pending => "Claimed. An operator approves it now; you are done here.",
        DeviceState::Admitted => "Claimed, and the hub serves it. You are done here.",
        DeviceState::Refused | DeviceState::Quarantined | DeviceState::Removed => "",
    }
}

/// Why a device in this state cannot be claimed.
fn obstacle(state: DeviceState) -> Option<&'static str> {
    match state {
        DeviceState::Pending | DeviceState::Admitted => None,
        DeviceState::Refused => Some("An operator refused this device. Call them."),
        DeviceState::Quarantined => Some("An operator quarantined this device. Call them."),
        DeviceState::Removed => Some("This device was removed for good; it must be flashed again. Call an operator."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_installer_is_offered_his_own_sites() {
        let installer =
            |sites: &[&str]| Installer { actor: "user:kim".into(), sites: sites.iter().map(|site| (*site).to_owned()).collect() };
        let seen = |site: &str, sites: &[&str]| {
            let seen = Seen { site: site.to_owned(), ..Seen::unknown("serial", "FZ1") }.by(Some(&installer(sites)));
            (seen.is_open, seen.sites)
        };
        assert_eq!(seen("", &[]), (false, vec![]));
        assert_eq!(seen("", &["Store 1"]), (true, vec!["Store 1".to_owned()]));
        assert!(seen("Store 1", &["Store 1"]).0);
        assert!(!seen("Store 2", &["Store 1"]).0);
        assert_eq!(seen("Store 2", &["*"]), (true, vec![]));
        assert!(Seen::unknown("serial", "FZ1").by(None).is_open);
    }

    #[test]
    fn what_nobody_heard_of_is_claimed_by_what_is_sure() {
        assert!(Seen::of(None, "serial", "FZ1").is_open);
        assert!(Seen::of(None, "id", &"ab".repeat(32)).is_open);
        assert!(!Seen::of(None, "name", "box").is_open);
        assert!(meant("id", "xy").is_err() && meant("elsewhere", "x").is_err());
        assert_eq!(place("serial", "A/1 ü?"), "/claim/serial/A%2F1%20%C3%BC%3F");
    }
}
