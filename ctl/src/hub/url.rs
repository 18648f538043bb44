//! A hub's address as people write it: `https://NAME[:PORT]`, or without the scheme. Nothing else than TLS is spoken to it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use client::NodeAddress;

const SCHEME: &str = "https://";

/// Where a hub answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HubUrl(NodeAddress);

impl HubUrl {
    /// Host and port.
    pub fn address(&self) -> &NodeAddress {
        &self.0
    }

    /// What stands between scheme and path: the port only when it is not the usual one.
    pub fn authority(&self) -> String {
        let text = self.0.to_string();
        match text.strip_suffix(&format!(":{}", api::hub::DEFAULT_PORT)) {
            Some(host) => host.to_owned(),
            None => text,
        }
    }
}

impl FromStr for HubUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix(SCHEME).unwrap_or(text);
        if rest.contains("://") {
            return Err("a hub is reached over `https://`".to_owned());
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#', '@']) {
            return Err("a hub's address is `https://NAME[:PORT]`, with nothing after it".to_owned());
        }
        NodeAddress::parse(rest, api::hub::DEFAULT_PORT).map(Self)
    }
}

impl fmt::Display for HubUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.authority())
    }
}

impl TryFrom<String> for HubUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<HubUrl> for String {
    fn from(url: HubUrl) -> Self {
        url.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_with_and_without_what_goes_without_saying() {
        for (given, shown, port) in [
            ("https://hub.example", "https://hub.example", 443),
            ("https://hub.example/", "https://hub.example", 443),
            ("hub.example:443", "https://hub.example", 443),
            ("https://hub.example:8443", "https://hub.example:8443", 8443),
            ("https://[::1]:4430", "https://[::1]:4430", 4430),
            ("10.0.0.1", "https://10.0.0.1", 443),
        ] {
            let url: HubUrl = given.parse().unwrap();
            assert_eq!((url.to_string().as_str(), url.address().port), (shown, port), "{given}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for given in [
            "",
            "http://hub.example",
            "https://hub.example/path",
            "https://kim:secret@hub.example",
            "https://hub?x",
            "https://a b",
        ] {
            assert!(given.parse::<HubUrl>().is_err(), "{given}");
        }
    }
}
