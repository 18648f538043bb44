//! `hub login`, `hub logout`, `hub whoami`.

use std::io::{self, IsTerminal as _, Read as _};
use std::ops::RangeInclusive;
use std::path::Path;

use machine_config::types::{Digest, Secret};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::context::ContextFile;
use crate::failure::{Exit, Explain, Failure, UsageError};
use crate::files;
use crate::hub::{Hub, HubTrust, Shown, Text, routes};
use crate::view::{Fields, View};

use super::super::args::Global;
use super::args::Login;
use super::{ask, hub_of};

/// Bytes of a token at most; a wrong file is not read to its end.
const MAX_TOKEN: u64 = 4096;

/// What the hub says of whoever asks.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Me {
    actor: String,
    role: String,
    #[serde(default)]
    scopes: Vec<String>,
    #[serde(default)]
    pin: String,
    #[serde(default)]
    url: Option<String>,
}

impl Text for Me {
    fn text(&self) -> String {
        let scopes = if self.scopes.is_empty() { "all that the role may".to_owned() } else { self.scopes.join(" ") };
        Fields::new()
            .add("actor", &self.actor)
            .add("role", &self.role)
            .add("scopes", scopes)
            .add_some("hub", self.url.as_deref().unwrap_or_default())
            .add("pin for devices", &self.pin)
            .text()
    }
}

/// The token cannot be had.
#[derive(Debug, thiserror::Error)]
enum TokenError {
    /// Standard input or the terminal cannot be read.
    #[error("cannot read the token")]
    Read(#[from] io::Error),
    /// Nothing, or more than a token.
    #[error("cannot use the token: it is one line of visible characters")]
    Form,
}

impl Explain for TokenError {
    fn exit(&self) -> Exit {
        match self {
            Self::Read(_) => Exit::Failure,
            Self::Form => Exit::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(
            "`skerry-hub serve` prints the first admin token once; `skerry-hub admin-token`, on the hub's host, makes another"
                .into(),
        )
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LoggedIn {
    url: String,
    pin: Option<Digest>,
    actor: String,
    role: String,
    context: String,
}

impl View for LoggedIn {
    fn text(&self) -> String {
        let trusted = self.pin.as_ref().map_or("the authorities of this host vouch for it".to_owned(), ToString::to_string);
        Fields::new()
            .add("hub", &self.url)
            .add("key", trusted)
            .add("you are", &self.actor)
            .add("role", &self.role)
            .add("written to", &self.context)
            .text()
    }
}

pub(super) async fn login(global: &Global, command: Login) -> Result<(), Failure> {
    let Login { url, pin, token_file } = command;
    let mut file = ContextFile::load(global.context.as_deref())?;
    let token = token(token_file.as_deref())?;
    let trust = HubTrust::of(pin.clone());
    // Asked before anything is written: a wrong pin or token changes nothing.
    let hub = Hub { url: url.clone(), trust, token: Some(token.clone()), timeout: global.timeout };
    let me: Shown<Me> = ask(&hub, routes::ME).await?;
    file.log_in(&url, pin.as_ref(), &token)?;
    let Me { actor, role, .. } = me.read;
    global.output.show(&LoggedIn { url: url.to_string(), pin, actor, role, context: file.path().display().to_string() })
}

/// From the file, from standard input, or from the terminal, where it is not echoed.
fn token(file: Option<&Path>) -> Result<Secret, Failure> {
    let text = match file {
        Some(file) => secret_text(file)?,
        None if io::stdin().is_terminal() => Zeroizing::new(rpassword::prompt_password("Token: ").map_err(TokenError::from)?),
        None => {
            return Err(UsageError {
                message: "cannot ask for the token: there is no terminal".into(),
                hint: "add --token-file FILE, or --token-file - to read it from standard input".into(),
            }
            .into());
        }
    };
    first_line(&text, 1..=512).ok_or_else(|| TokenError::Form.into())
}

/// The text of a file, or of standard input where it is `-`.
pub(super) fn secret_text(file: &Path) -> Result<Zeroizing<String>, Failure> {
    if file != Path::new("-") {
        return Ok(Zeroizing::new(files::read_text(file)?));
    }
    let mut text = Zeroizing::new(String::new());
    io::stdin().lock().take(MAX_TOKEN).read_to_string(&mut text).map_err(TokenError::from)?;
    Ok(text)
}

/// The first line, if it is a word of visible characters, so many as that.
pub(super) fn first_line(text: &str, length: RangeInclusive<usize>) -> Option<Secret> {
    let line = text.lines().next().unwrap_or_default().trim();
    let is_word = length.contains(&line.len()) && line.bytes().all(|byte| byte.is_ascii_graphic());
    is_word.then(|| Secret::from(line.to_owned()))
}

#[derive(Debug, Serialize)]
struct LoggedOut {
    url: Option<String>,
}

impl View for LoggedOut {
    fn text(&self) -> String {
        match &self.url {
            None => "no hub was known here\n".into(),
            Some(url) => {
                format!("forgot {url} and the token for it; an admin revokes the token itself, if nobody is to use it again\n")
            }
        }
    }
}

pub(super) fn logout(global: &Global) -> Result<(), Failure> {
    let mut file = ContextFile::load(global.context.as_deref())?;
    let url = file.log_out()?.map(|url| url.to_string());
    global.output.show(&LoggedOut { url })
}

pub(super) async fn whoami(global: &Global) -> Result<(), Failure> {
    super::show::<Me>(global, &hub_of(global)?, routes::ME).await
}
