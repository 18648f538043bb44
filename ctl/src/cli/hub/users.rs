//! `hub user list|role|lock|unlock|sites`: people at the hub, what each may do, and where installers claim devices.

use http::Method;
use serde::Deserialize;
use serde_json::json;

use crate::failure::Failure;
use crate::hub::{Body, Text, routes};
use crate::view::table;

use super::super::args::Global;
use super::super::node::done;
use super::args::User;
use super::{List, hub_of, seconds, show_all};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Known {
    name: String,
    #[serde(default)]
    display_name: String,
    #[serde(default)]
    effective_role: Option<String>,
    #[serde(default)]
    role: Option<String>,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    last_login: Option<String>,
    #[serde(default)]
    locked: bool,
}

impl Text for List<Known> {
    fn text(&self) -> String {
        let row = |user: &Known| {
            [
                user.name.clone(),
                user.display_name.clone(),
                user.effective_role.clone().unwrap_or_else(|| "none".to_owned()),
                user.role.clone().unwrap_or_default(),
                user.groups.join(" "),
                user.last_login.as_deref().map(seconds).unwrap_or_else(|| "never".to_owned()),
                if user.locked { "locked out".to_owned() } else { String::new() },
            ]
        };
        table(["NAME", "CALLED", "MAY DO AS", "BY HAND", "GROUPS", "LAST SIGN-IN", ""], self.items.iter().map(row))
    }
}

pub(super) async fn run(global: &Global, command: User) -> Result<(), Failure> {
    let hub = hub_of(global)?;
    match command {
        User::List => show_all::<Known>(global, &hub, routes::USERS).await,
        User::Role { name, role } => {
            let edit = json!({ "role": role.word() });
            hub.ask(Method::PATCH, &routes::user(&name), Body::Json(edit)).await?;
            done(global.output, "changed", &name)
        }
        User::Lock { name } => {
            hub.ask(Method::PATCH, &routes::user(&name), Body::Json(json!({ "locked": true }))).await?;
            done(global.output, "locked out", &name)
        }
        User::Unlock { name } => {
            hub.ask(Method::PATCH, &routes::user(&name), Body::Json(json!({ "locked": false }))).await?;
            done(global.output, "let in again", &name)
        }
        User::Sites { name, site } => {
            let sites = json!({ "sites": site });
            hub.ask(Method::PUT, &routes::installer(&format!("user:{name}")), Body::Json(sites)).await?;
            done(global.output, "changed", &name)
        }
    }
}
