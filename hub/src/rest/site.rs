//! Who may claim a device for which site: the one place that decides it, for the pages and the REST interface. An installer claims for the sites that
//! an admin gave them, and for no others; operators and admins for all.

use http::StatusCode;

use super::{App, Failure};
use crate::auth::Caller;
use crate::model::Time;
use crate::model::text::bounded;
use crate::people::Role;
use crate::store::{Claim, ClaimBy, Claimed, Installer, StoreError};

/// Why a device is not claimed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClaimError {
    /// The site is none of theirs.
    #[error("cannot claim a device for `{site}`: your sites are {}; ask an admin for others", .sites.join(", "))]
    Site {
        /// As asked for.
        site: String,
        /// Theirs.
        sites: Vec<String>,
    },
    /// They have none.
    #[error("cannot claim devices: no site was given to you; ask an admin of this hub")]
    NoSites,
    /// It cannot be claimed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<ClaimError> for Failure {
    fn from(error: ClaimError) -> Self {
        match error {
            ClaimError::Store(error) => error.into(),
            error @ (ClaimError::Site { .. } | ClaimError::NoSites) => {
                Self::new(StatusCode::FORBIDDEN, "site", error.to_string())
            }
        }
    }
}

/// The sites to which a caller is bound; none: to no site.
pub(crate) async fn bound_to(app: &App, caller: &Caller) -> Result<Option<Installer>, StoreError> {
    match caller.role {
        Role::Installer => app.services.store.installer(&caller.actor).await.map(Some),
        Role::Admin | Role::Operator | Role::Reader => Ok(None),
    }
}

/// Claims a device for a site, if the caller may claim for it.
pub(crate) async fn claim(app: &App, caller: &Caller, by: ClaimBy, site: &str) -> Result<Claimed, ClaimError> {
    let site = bounded(site.trim(), 128);
    match bound_to(app, caller).await? {
        Some(installer) if installer.sites.is_empty() => return Err(ClaimError::NoSites),
        Some(installer) if !installer.claims_for(&site) => return Err(ClaimError::Site { site, sites: installer.sites }),
        Some(_) | None => {}
    }
    Ok(app.services.store.claim(Claim { by, site }, &caller.by(Time::now())).await?)
}
