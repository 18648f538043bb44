//! Who looks at a page. Whoever is not signed in is sent to the sign-in page, and back afterwards.

use axum::extract::{Extension, FromRequestParts};
use http::Method;
use http::request::Parts;

use super::Web;
use super::oops::Oops;
use super::shell::{Person, Section, Shell};
use crate::auth::{Area, AuthError, Caller};
use crate::listen::Peer;
use crate::model::{By, DeviceFilter, DeviceState, Time};
use crate::people::Role;

/// Somebody who is signed in.
#[derive(Debug)]
pub(super) struct Visitor {
    pub(super) caller: Caller,
    pub(super) now: Time,
}

impl FromRequestParts<Web> for Visitor {
    type Rejection = Oops;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Oops> {
        let Extension(peer) = Extension::<Peer>::from_request_parts(parts, web).await.map_err(|error| Oops::internal(&error))?;
        web.auth.count_call(peer.address)?;
        let now = Time::now();
        match web.auth.visitor(&parts.headers, peer, now).await {
            Ok(caller) => Ok(Self { caller, now }),
            Err(AuthError::Nobody | AuthError::Over) => {
                let asked = parts.uri.path_and_query().map_or("/", |asked| asked.as_str());
                Err(Oops::SignIn(if parts.method == Method::GET { asked.to_owned() } else { "/".to_owned() }))
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl Visitor {
    /// Whether they may look at this.
    pub(super) fn may_see(&self, role: Role, area: Area) -> Result<(), Oops> {
        Ok(self.caller.check(role, area, false)?)
    }

    /// Whether they may change this, as far as it is theirs to change.
    pub(super) fn may_use(&self, role: Role, area: Area) -> Result<(), Oops> {
        Ok(self.caller.check(role, area, true)?)
    }

    /// Whether they may change this, and whether the form is from a page of their login: `csrf` is what it repeats.
    pub(super) fn may_change(&self, csrf: Option<&str>, role: Role, area: Area) -> Result<(), Oops> {
        self.caller.check_csrf(csrf)?;
        self.may_use(role, area)
    }

    /// Whether forms for it are shown.
    pub(super) fn can_change(&self, role: Role, area: Area) -> bool {
        self.may_use(role, area).is_ok()
    }

    /// For the audit.
    pub(super) fn by(&self) -> By {
        self.caller.by(self.now)
    }

    /// What forms repeat.
    pub(super) fn csrf(&self) -> String {
        self.caller.csrf().unwrap_or_default().to_owned()
    }

    /// What surrounds their page.
    pub(super) async fn shell(&self, web: &Web, section: Section, title: impl Into<String>) -> Result<Shell, Oops> {
        let waiting = DeviceFilter { state: Some(DeviceState::Pending), limit: 1, ..Default::default() };
        let pending = match self.caller.role {
            Role::Installer => 0,
            Role::Admin | Role::Operator | Role::Reader => web.services.store.devices(&waiting).await?.total,
        };
        Ok(Shell { title: title.into(), section, person: Some(Person::of(&self.caller, pending)) })
    }
}
