//! Where a node answers: a host and a port. Names are resolved when connecting, not here.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// `HOST`, `HOST:PORT`, `IPV6` or `[IPV6]:PORT`; the port defaults to [`api::DEFAULT_PORT`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeAddress {
    /// Name or address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl FromStr for NodeAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text, api::DEFAULT_PORT)
    }
}

impl NodeAddress {
    /// The same with another port where none is given.
    pub fn parse(text: &str, default_port: u16) -> Result<Self, String> {
        let (host, port) = split(text)?;
        let port = match port {
            None => default_port,
            Some(port) => match port.parse() {
                Ok(port) if port != 0 => port,
                Ok(_) | Err(_) => return Err(format!("`{port}` is not a port: 1 to 65535")),
            },
        };
        Ok(Self { host, port })
    }
}

fn split(text: &str) -> Result<(String, Option<&str>), String> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or("the bracket is not closed")?;
        host.parse::<Ipv6Addr>().map_err(|_| format!("`{host}` is not an IPv6 address"))?;
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host.to_owned(), Some(port))),
            None if rest.is_empty() => Ok((host.to_owned(), None)),
            None => Err(format!("`{rest}` follows the bracket")),
        };
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Ok((text.to_owned(), None));
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let sensible =
        !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
    if sensible { Ok((host.to_owned(), port)) } else { Err(format!("`{host}` is not a host name or address")) }
}

impl TryFrom<String> for NodeAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<NodeAddress> for String {
    fn from(address: NodeAddress) -> Self {
        address.to_string()
    }
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_in_every_usual_form() {
        for (given, expected) in [
            ("10.0.0.5", "10.0.0.5:7440"),
            ("10.0.0.5:7441", "10.0.0.5:7441"),
            ("shop.example", "shop.example:7440"),
            ("::1", "[::1]:7440"),
            ("[fe80::1]", "[fe80::1]:7440"),
            ("[fe80::1]:1", "[fe80::1]:1"),
        ] {
            assert_eq!(given.parse::<NodeAddress>().unwrap().to_string(), expected);
        }
    }

    #[test]
    fn senseless_addresses_are_refused() {
        for given in
            ["", ":7440", "a b", "host:", "host:0", "host:65536", "[::1", "[::1]7440", "[host]:1", "http://host", "a:b:c"]
        {
            assert!(given.parse::<NodeAddress>().is_err(), "{given}");
        }
    }
}
