//! `hub api-token create|list|revoke`: tokens of programs.

use std::collections::BTreeSet;

use http::Method;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use crate::failure::{Failure, UsageError};
use crate::hub::{Body, Shown, Text, routes};
use crate::view::{Fields, table};

use super::super::args::Global;
use super::super::node::done;
use super::args::{ApiToken, ApiTokenCreate, HubRole};
use super::{List, hub_of, in_days, seconds, show_all};

/// An API token, without its text.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Known {
    id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    role: String,
    #[serde(default)]
    scopes: BTreeSet<String>,
    #[serde(default)]
    created_by: String,
    #[serde(default)]
    expires_at: Option<String>,
    #[serde(default)]
    last_used: Option<String>,
    #[serde(default)]
    revoked_at: Option<String>,
}

impl Known {
    fn state(&self, now: Timestamp) -> &'static str {
        let over = |time: &String| time.parse::<Timestamp>().is_ok_and(|end| end <= now);
        match (&self.revoked_at, &self.expires_at) {
            (Some(_), _) => "revoked",
            (None, Some(end)) if over(end) => "expired",
            (None, _) => "good",
        }
    }

    fn scopes(&self) -> String {
        if self.scopes.is_empty() { "all".to_owned() } else { self.scopes.iter().cloned().collect::<Vec<_>>().join(" ") }
    }
}

impl Text for List<Known> {
    fn text(&self) -> String {
        let now = Timestamp::now();
        let time = |time: &Option<String>| time.as_deref().map(seconds).unwrap_or_default();
        let row = |token: &Known| {
            [
                token.id.clone(),
                token.name.clone(),
                token.role.clone(),
                token.scopes(),
                token.state(now).to_owned(),
                time(&token.expires_at),
                time(&token.last_used),
                token.created_by.clone(),
            ]
        };
        table(["ID", "NAME", "ROLE", "SCOPES", "STATE", "ENDS", "LAST USED", "MADE BY"], self.items.iter().map(row))
    }
}

/// A token that was just made.
#[derive(Debug, Deserialize)]
struct Made {
    token: Known,
    text: String,
}

impl Text for Made {
    fn text(&self) -> String {
        let fields = Fields::new()
            .add("token", &self.text)
            .add("id", &self.token.id)
            .add("role", &self.token.role)
            .add("scopes", self.token.scopes())
            .add_some("ends", self.token.expires_at.as_deref().map(seconds).unwrap_or_default())
            .text();
        format!("{fields}\nThe hub keeps only its hash: it is shown this once.\n")
    }
}

pub(super) async fn run(global: &Global, command: ApiToken) -> Result<(), Failure> {
    let hub = hub_of(global)?;
    match command {
        ApiToken::List => show_all::<Known>(global, &hub, routes::API_TOKENS).await,
        ApiToken::Revoke { id } => {
            hub.ask(Method::DELETE, &routes::api_token(&id), Body::None).await?;
            done(global.output, "revoked", &id)
        }
        ApiToken::Create(ApiTokenCreate { name, role, scope, site, days }) => {
            check(role, &site)?;
            if !site.is_empty() {
                // First: a token that was made and has no sites yet would be shown to nobody if this failed.
                let sites = Body::Json(json!({ "sites": site }));
                hub.ask(Method::PUT, &routes::installer(&format!("token:{name}")), sites).await?;
            }
            let new = json!({ "name": name, "role": role, "scopes": scope, "expiresAt": in_days(days, Timestamp::now()) });
            let made = hub.ask(Method::POST, routes::API_TOKENS, Body::Json(new)).await?;
            let made: Shown<Made> = Shown::of(made, &hub, routes::API_TOKENS)?;
            global.output.show(&made)
        }
    }
}

/// Sites are an installer's, who claims nothing without.
fn check(role: HubRole, sites: &[String]) -> Result<(), UsageError> {
    let error = |message: &str, hint: &str| Err(UsageError { message: message.into(), hint: hint.into() });
    match (role, sites.is_empty()) {
        (HubRole::Installer, true) => {
            error("an installer claims nothing without a site", "add --site NAME, or --site '*' for all")
        }
        (HubRole::Admin | HubRole::Operator | HubRole::Reader, false) => {
            error("sites are given to installers alone", "leave out --site, or make it --role installer")
        }
        (HubRole::Installer, false) | (HubRole::Admin | HubRole::Operator | HubRole::Reader, true) => Ok(()),
    }
}
