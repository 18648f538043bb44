//! The values of one row: each read by its column's name, and refused with its place.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use machine_config::check_hub;
use machine_config::schema::{Hub, HubProxy};
use machine_config::types::{MacAddress, Secret, ValueError};

use super::{ConfigChoice, HUB_COLUMNS, IdentityChoice, InventoryError, Token, place};

/// Bytes of a join token that somebody chose.
const TOKEN_BYTES: std::ops::RangeInclusive<usize> = 16..=256;

/// The values of one line, by column.
pub(super) struct Cells<'a> {
    pub(super) line: usize,
    pub(super) header: &'a [String],
    pub(super) values: Vec<String>,
}

impl Cells<'_> {
    /// The value in a column; none when it is empty or the inventory has no such column.
    pub(super) fn get(&self, column: &str) -> Option<&str> {
        let index = self.header.iter().position(|name| name == column)?;
        self.values.get(index).map(String::as_str).filter(|value| !value.is_empty())
    }

    pub(super) fn wrong(&self, column: &str, problem: impl Into<String>) -> InventoryError {
        InventoryError::Value { place: place(self.header, self.line, column), problem: problem.into() }
    }

    pub(super) fn parsed<T: FromStr<Err: fmt::Display>>(&self, column: &str) -> Result<Option<T>, InventoryError> {
        let parse = |value: &str| value.parse().map_err(|error: T::Err| self.wrong(column, error.to_string()));
        self.get(column).map(parse).transpose()
    }

    /// No value begins or ends with a space or goes over a line's end: both are slips that nobody sees in a table.
    pub(super) fn check_text(&self) -> Result<(), InventoryError> {
        for (column, value) in self.header.iter().zip(&self.values) {
            if value.chars().any(|c| c.is_control() || c == char::REPLACEMENT_CHARACTER) {
                let problem = "it holds a line break, a control character or what is not UTF-8; is a quote not closed?";
                return Err(self.wrong(column, problem));
            }
            if value.trim() != value {
                return Err(self.wrong(column, "it begins or ends with a space; remove it"));
            }
        }
        Ok(())
    }

    /// Labels on boxes have capitals; the address is the same.
    pub(super) fn mac(&self) -> Result<Option<MacAddress>, InventoryError> {
        let parse = |value: &str| value.to_ascii_lowercase().parse();
        self.get("mac").map(parse).transpose().map_err(|error: ValueError| self.wrong("mac", error.to_string()))
    }

    pub(super) fn hub(&self) -> Result<Option<Hub>, InventoryError> {
        let hub = match (self.get("hub"), self.get("hub_pin")) {
            (None, None) => return self.no_hub(),
            (Some(_), None) => return Err(self.wrong("hub", "it needs a pin; add the column `hub_pin` and the pin in it")),
            (None, Some(_)) => return Err(self.wrong("hub_pin", "it pins no hub; name the hub in the column `hub`")),
            (Some(url), Some(pin)) => {
                let fallbacks = self.get("hub_fallbacks").into_iter().flat_map(|value| value.split(';')).map(str::to_owned);
                Hub { url: url.to_owned(), pin: pin.to_owned(), fallbacks: fallbacks.collect(), proxy: self.proxy()? }
            }
        };
        match check_hub(&hub) {
            Ok(()) => Ok(Some(hub)),
            Err(errors) => Err(self.wrong(column_of(&errors[0].path), errors[0].problem.to_string())),
        }
    }

    /// What says how a hub is reached says nothing without one.
    fn no_hub(&self) -> Result<Option<Hub>, InventoryError> {
        match HUB_COLUMNS.iter().find(|(_, column)| self.get(column).is_some()) {
            Some((_, column)) => Err(self.wrong(column, "it is about a hub, and there is none; name one in the column `hub`")),
            None => Ok(None),
        }
    }

    fn proxy(&self) -> Result<Option<HubProxy>, InventoryError> {
        let text = |column| self.get(column).map(str::to_owned);
        let (user, password, pin) = (text("hub_proxy_user"), text("hub_proxy_password"), text("hub_proxy_pin"));
        match text("hub_proxy") {
            Some(url) => Ok(Some(HubProxy { url, user, password: password.map(Secret::from), pin })),
            None if user.is_none() && password.is_none() && pin.is_none() => Ok(None),
            None => Err(self.wrong("hub_proxy", "it is empty, and another column is about a proxy; name the proxy")),
        }
    }

    /// The value of a token is not said in any error.
    pub(super) fn token(&self) -> Result<Token, InventoryError> {
        let Some(value) = self.get("join_token").filter(|value| *value != "none") else { return Ok(Token::None) };
        if self.get("hub").is_none() {
            return Err(self.wrong("join_token", "there is no hub to show it to; name one in the column `hub`"));
        }
        if value == "auto" {
            return Ok(Token::Auto);
        }
        if !TOKEN_BYTES.contains(&value.len()) || !value.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(self.wrong("join_token", "a token has 16 to 256 visible ASCII characters; or write `auto`"));
        }
        Ok(Token::Given(Secret::from(value.to_owned())))
    }

    pub(super) fn config(&self) -> ConfigChoice {
        match self.get("config") {
            None => ConfigChoice::Unsaid,
            Some("none") => ConfigChoice::None,
            Some(path) => ConfigChoice::Given(path.into()),
        }
    }

    pub(super) fn identity(&self) -> IdentityChoice {
        match self.get("identity") {
            None | Some("none") => IdentityChoice::Own,
            Some("auto") => IdentityChoice::Auto,
            Some(path) => IdentityChoice::Given(path.into()),
        }
    }

    pub(super) fn labels(&self) -> Result<BTreeMap<String, String>, InventoryError> {
        let mut labels = BTreeMap::new();
        for label in self.get("labels").into_iter().flat_map(|value| value.split(';')) {
            let Some((key, value)) = label.split_once('=').filter(|(key, _)| is_label_key(key)) else {
                return Err(self.wrong("labels", format!("`{label}` is not a label; write `key=value;key=value`")));
            };
            if labels.insert(key.to_owned(), value.to_owned()).is_some() {
                return Err(self.wrong("labels", format!("the label `{key}` stands twice; keep one")));
            }
        }
        Ok(labels)
    }
}

/// The column of a setting of the hub.
fn column_of(path: &str) -> &'static str {
    HUB_COLUMNS.iter().find(|(setting, _)| path.starts_with(setting)).map_or("hub", |(_, column)| column)
}

fn is_label_key(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._/-".contains(&byte))
}
