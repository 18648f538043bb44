//! `hub token create|list|revoke`.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use http::Method;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use crate::failure::{Exit, Explain, Failure};
use crate::hub::{Body, Hub, Shown, Text, routes};
use crate::view::{Fields, table};

use super::super::args::Global;
use super::super::node::done;
use super::args::{Terms, Token, TokenCreate};
use super::session::{first_line, secret_text};
use super::{List, hub_of, in_days, labels, seconds, show_all};

/// Characters of a token that was there already.
const TEXT_BYTES: RangeInclusive<usize> = 16..=256;

/// A join token, without its text.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Known {
    id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    uses_left: u32,
    #[serde(default)]
    uses: u32,
    #[serde(default)]
    binding: Binding,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    created_by: String,
    #[serde(default)]
    expires_at: Option<String>,
    #[serde(default)]
    revoked_at: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Binding {
    serial: Option<String>,
    mac: Option<String>,
    label: Option<String>,
}

impl Binding {
    fn text(&self) -> String {
        let parts = [("serial", &self.serial), ("mac", &self.mac), ("label", &self.label)];
        let set = parts.iter().filter_map(|(name, value)| value.as_ref().map(|value| format!("{name} {value}")));
        set.collect::<Vec<_>>().join(", ")
    }
}

impl Known {
    fn state(&self, now: Timestamp) -> &'static str {
        let over = |time: &String| time.parse::<Timestamp>().is_ok_and(|end| end <= now);
        match (&self.revoked_at, &self.expires_at) {
            (Some(_), _) => "revoked",
            (None, Some(end)) if over(end) => "expired",
            (None, _) if self.uses_left == 0 => "used",
            (None, _) => "good",
        }
    }

    fn gives(&self) -> String {
        [self.groups.join(" "), labels(&self.labels)].join(" ").trim().to_owned()
    }
}

impl Text for List<Known> {
    fn text(&self) -> String {
        let now = Timestamp::now();
        let row = |token: &Known| {
            [
                token.id.clone(),
                token.name.clone(),
                token.state(now).to_owned(),
                format!("{} of {}", token.uses, u64::from(token.uses) + u64::from(token.uses_left)),
                token.binding.text(),
                token.gives(),
                token.expires_at.as_deref().map(seconds).unwrap_or_default(),
                token.created_by.clone(),
            ]
        };
        table(["ID", "NAME", "STATE", "USED", "ONLY FOR", "GIVES", "ENDS", "MADE BY"], self.items.iter().map(row))
    }
}

/// A token that was just made.
#[derive(Debug, Deserialize)]
struct Made {
    token: Known,
    text: String,
}

impl Known {
    /// What it is good for, under its text where that is shown.
    fn fields(&self, text: &str) -> String {
        Fields::new()
            .add_some("token", text)
            .add("id", &self.id)
            .add("uses", self.uses_left)
            .add_some("only for", self.binding.text())
            .add_some("gives", self.gives())
            .add_some("ends", self.expires_at.as_deref().map(seconds).unwrap_or_default())
            .text()
    }
}

impl Text for Made {
    fn text(&self) -> String {
        format!("{}\nThe hub keeps only its hash: it is shown this once.\n", self.token.fields(&self.text))
    }
}

/// A token that was there already: whoever registered it has it, and it is not shown.
#[derive(Debug, Deserialize)]
struct Registered {
    token: Known,
}

impl Text for Registered {
    fn text(&self) -> String {
        self.token.fields("")
    }
}

/// The file holds no token.
#[derive(Debug, thiserror::Error)]
#[error("cannot register the token in {}: its first line is not one", file.display())]
struct NoToken {
    file: PathBuf,
}

impl Explain for NoToken {
    fn exit(&self) -> Exit {
        Exit::Usage
    }

    fn hint(&self) -> Option<String> {
        Some("a join token has 16 to 256 visible ASCII characters; `imager stamp` writes those it makes to NAME.token".into())
    }
}

pub(super) async fn run(global: &Global, command: Token) -> Result<(), Failure> {
    let hub = hub_of(global)?;
    match command {
        Token::Create(mut command) => match command.text_from.take() {
            Some(file) => register(global, &hub, &file, command).await,
            None => {
                let body = Body::Json(request(command, Timestamp::now()));
                let made: Shown<Made> = Shown::of(hub.ask(Method::POST, routes::TOKENS, body).await?, &hub, routes::TOKENS)?;
                global.output.show(&made)
            }
        },
        Token::List => show_all::<Known>(global, &hub, routes::TOKENS).await,
        Token::Revoke { id } => {
            hub.ask(Method::DELETE, &routes::token(&id), Body::None).await?;
            done(global.output, "revoked", &id)
        }
    }
}

async fn register(global: &Global, hub: &Hub, file: &Path, command: TokenCreate) -> Result<(), Failure> {
    let text = first_line(&secret_text(file)?, TEXT_BYTES).ok_or_else(|| NoToken { file: file.to_owned() })?;
    let mut request = request(command, Timestamp::now());
    request["text"] = text.expose().into();
    let mut answer = hub.ask(Method::POST, routes::TOKENS, Body::Json(request)).await?;
    // It is in a file already; in a log it would be a second time.
    if let Some(answer) = answer.as_object_mut() {
        answer.remove("text");
    }
    let registered: Shown<Registered> = Shown::of(answer, hub, routes::TOKENS)?;
    global.output.show(&registered)
}

fn request(command: TokenCreate, now: Timestamp) -> serde_json::Value {
    let end = command.terms.end(now);
    let mut request = command.terms.request();
    request["name"] = command.name.into();
    request["expiresAt"] = end.into();
    request
}

impl Terms {
    /// When the token ends.
    pub(super) fn end(&self, now: Timestamp) -> Option<String> {
        in_days(self.days, now)
    }

    /// As the hub wants them, but for the end.
    pub(super) fn request(&self) -> serde_json::Value {
        let Self { uses, serial, mac, bound_label, label, group, days: _ } = self;
        json!({
            "uses": uses,
            "binding": { "serial": serial, "mac": mac, "label": bound_label },
            "labels": label.iter().cloned().collect::<BTreeMap<_, _>>(),
            "groups": group,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_until_it_is_used_up_over_or_revoked() {
        let now: Timestamp = "2026-11-20T12:00:00Z".parse().unwrap();
        for (fields, expected) in [
            (json!({ "usesLeft": 1 }), "good"),
            (json!({ "usesLeft": 1, "expiresAt": "2026-11-20T12:00:01Z" }), "good"),
            (json!({ "usesLeft": 1, "expiresAt": "2026-11-20T12:00:00Z" }), "expired"),
            (json!({ "usesLeft": 0 }), "used"),
            (json!({ "usesLeft": 1, "revokedAt": "2026-11-20T12:00:00Z" }), "revoked"),
        ] {
            let mut token = fields;
            token["id"] = "abc".into();
            assert_eq!(serde_json::from_value::<Known>(token.clone()).unwrap().state(now), expected, "{token}");
        }
    }
}
