//! What a device knows of its hub, read once from what init says: where it is, how to get there, and what a session begins with.
//!
//! Addresses in any but the plain form `https://host[:port]` are refused: no user, no path, no query.

use std::fmt;

use api::hub::v1::{Hello, Release};
use api::internal;
use machine_config::types::Secret;

use super::pin::{NoPin, Pin};

/// Everything of the hub that init says.
#[derive(Debug, Clone, PartialEq)]
pub struct HubSettings {
    /// Where to; a session ends when it changes.
    pub target: Target,
    /// Shown when the hub asks for it; none: the device has none for this hub.
    pub join_token: Option<Secret>,
    /// What the device is called; may be empty.
    pub device_name: String,
    /// Whose keys the device obeys; may be empty.
    pub fleet: String,
    /// What it runs.
    pub release: Release,
    /// Generation of the configuration accepted last; 0: none.
    pub config_generation: u64,
    /// SHA-256 of its bytes, hex; empty: none.
    pub config_digest: String,
}

/// Whom to call and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The hub's addresses, at least one, tried in turn.
    pub addresses: Vec<Address>,
    /// The key that must answer.
    pub pin: Pin,
    /// The way there; none: directly.
    pub proxy: Option<Proxy>,
    /// The device's own Ed25519 key.
    pub public_key: [u8; 32],
}

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// A name or an address, an IPv6 one without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

/// An HTTP proxy that is asked to connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Where it is.
    pub address: Address,
    /// The key of a proxy that is itself reached over TLS; none: over plain TCP.
    pub tls: Option<Pin>,
    /// User and password, when it asks for them.
    pub credentials: Option<(String, Secret)>,
}

/// Why settings name no hub that could be called.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// None at all.
    #[error("cannot call the hub: hub.url is missing")]
    NoAddress,
    /// Not of the plain form.
    #[error("cannot call the hub: an address is not of the form https://host[:port]")]
    Address,
    /// Not a pin.
    #[error("cannot call the hub: hub.pin is wrong")]
    Pin(#[source] NoPin),
    /// Not the form of a proxy's address.
    #[error("cannot call the hub: hub.proxy.url is not of the form http://host:port or https://host:port")]
    ProxyAddress,
    /// Not a pin, or missing where TLS needs one.
    #[error("cannot call the hub: hub.proxy.pin is wrong, and a proxy with https needs one")]
    ProxyPin(#[source] NoPin),
    /// The device has no key to prove.
    #[error("cannot call the hub: the device's own key is not known")]
    PublicKey,
}

impl HubSettings {
    /// Reads what init says.
    pub fn from_wire(wire: &internal::HubSettings) -> Result<Self, SettingsError> {
        let addresses = wire.urls.iter().map(|url| Address::parse(url, "https", Some(api::hub::DEFAULT_PORT)));
        let addresses: Vec<_> = addresses.collect::<Option<_>>().ok_or(SettingsError::Address)?;
        if addresses.is_empty() {
            return Err(SettingsError::NoAddress);
        }
        let target = Target {
            addresses,
            pin: wire.pin.parse().map_err(SettingsError::Pin)?,
            proxy: wire.proxy.as_ref().map(Proxy::from_wire).transpose()?,
            public_key: wire.public_key.as_slice().try_into().map_err(|_| SettingsError::PublicKey)?,
        };
        Ok(Self {
            target,
            join_token: Some(wire.join_token.clone()).filter(|token| !token.is_empty()).map(Secret::from),
            device_name: wire.device_name.clone(),
            fleet: wire.fleet.clone(),
            release: wire.release.clone().unwrap_or_default(),
            config_generation: wire.config_generation,
            config_digest: wire.config_digest.clone(),
        })
    }

    /// The greeting with this proof.
    pub(super) fn hello(&self, proof: [u8; 64], inventory_digest: [u8; 32]) -> Hello {
        Hello {
            protocol: api::hub::PROTOCOL,
            public_key: self.target.public_key.to_vec(),
            proof: proof.to_vec(),
            device_name: self.device_name.clone(),
            release: Some(self.release.clone()),
            config_generation: self.config_generation,
            config_digest: self.config_digest.clone(),
            inventory_digest: inventory_digest.to_vec(),
            fleet: self.fleet.clone(),
        }
    }
}

impl Proxy {
    fn from_wire(wire: &internal::HubProxy) -> Result<Self, SettingsError> {
        let credentials = (!wire.user.is_empty()).then(|| (wire.user.clone(), Secret::from(wire.password.clone())));
        let (address, tls) = match Address::parse(&wire.url, "https", None) {
            Some(address) => (address, Some(wire.pin.parse().map_err(SettingsError::ProxyPin)?)),
            None => (Address::parse(&wire.url, "http", None).ok_or(SettingsError::ProxyAddress)?, None),
        };
        Ok(Self { address, tls, credentials })
    }
}

impl Address {
    /// Reads `scheme://host[:port]`, with or without a slash behind it.
    pub fn parse(url: &str, scheme: &str, default_port: Option<u16>) -> Option<Self> {
        let authority = url.strip_prefix(scheme)?.strip_prefix("://")?;
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => rest.split_once(']').filter(|(host, _)| host.parse::<std::net::Ipv6Addr>().is_ok())?,
            None => Some(authority.split_at(authority.find(':').unwrap_or(authority.len()))).filter(|(host, _)| is_name(host))?,
        };
        let port = match port.strip_prefix(':') {
            Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => port.parse().ok().filter(|port| *port > 0)?,
            None if port.is_empty() => default_port?,
            Some(_) | None => return None,
        };
        Some(Self { host: host.to_owned(), port })
    }

    /// `host:port`, as a request to a proxy has it.
    pub fn authority(&self) -> String {
        if self.host.contains(':') { format!("[{}]:{}", self.host, self.port) } else { format!("{}:{}", self.host, self.port) }
    }
}

/// A DNS name or an IPv4 address, as far as it could do harm in a request.
fn is_name(host: &str) -> bool {
    !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
}

impl fmt::Display for Address {
    /// As in the settings: `https://host[:port]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = self.authority();
        let standard = format!(":{}", api::hub::DEFAULT_PORT);
        write!(f, "https://{}", authority.strip_suffix(&standard).unwrap_or(&authority))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wire() -> internal::HubSettings {
        internal::HubSettings {
            urls: vec!["https://hub.example".into(), "https://[fd00::1]:8443/".into()],
            pin: "ab".repeat(32),
            proxy: Some(internal::HubProxy {
                url: "https://proxy.example:3129".into(),
                user: "kim".into(),
                password: "hunter2".into(),
                pin: "cd".repeat(32),
            }),
            join_token: "skj_secret".into(),
            public_key: vec![7; 32],
            ..internal::HubSettings::default()
        }
    }

    #[test]
    fn settings_are_read_and_show_no_secret() {
        let settings = HubSettings::from_wire(&wire()).expect("well-formed");
        let shown: Vec<_> = settings.target.addresses.iter().map(Address::to_string).collect();
        assert_eq!(shown, ["https://hub.example", "https://[fd00::1]:8443"]);
        let debug = format!("{settings:?}");
        assert!(!debug.contains("hunter2") && !debug.contains("skj_secret"), "{debug}");
        assert_eq!(settings.join_token.map(|token| token.expose().to_owned()), Some("skj_secret".to_owned()));
    }

    #[test]
    fn settings_that_name_no_hub_are_refused() {
        type Break = fn(&mut internal::HubSettings);
        let cases: [(Break, SettingsError); 6] = [
            (|wire| wire.urls.clear(), SettingsError::NoAddress),
            (|wire| wire.urls.push("http://hub.example".into()), SettingsError::Address),
            (|wire| wire.pin.clear(), SettingsError::Pin(NoPin)),
            (|wire| wire.public_key.clear(), SettingsError::PublicKey),
            (|wire| wire.proxy.iter_mut().for_each(|proxy| proxy.url = "socks://proxy:1".into()), SettingsError::ProxyAddress),
            (|wire| wire.proxy.iter_mut().for_each(|proxy| proxy.pin.clear()), SettingsError::ProxyPin(NoPin)),
        ];
        for (change, expected) in cases {
            let mut wire = wire();
            change(&mut wire);
            assert_eq!(HubSettings::from_wire(&wire), Err(expected));
        }
    }

    #[test]
    fn addresses_have_one_form() {
        let good = [
            ("https://a", "a:443"),
            ("https://a:1", "a:1"),
            ("https://[::1]", "[::1]:443"),
            ("https://192.0.2.1/", "192.0.2.1:443"),
        ];
        for (url, authority) in good {
            assert_eq!(
                Address::parse(url, "https", Some(443)).map(|address| address.authority()),
                Some(authority.to_owned()),
                "{url}"
            );
        }
        let bad = [
            "",
            "a",
            "http://a",
            "https://",
            "https://a:",
            "https://a:0",
            "https://a:70000",
            "https://a/b",
            "https://u@a",
            "https://a:1:2",
            "https://a:+1",
        ];
        for url in bad.into_iter().chain([
            "https://[::1",
            "https://[x]",
            "https://[::1]:",
            "https://[::1]x",
            "https://a b",
            "https://a\r\nb",
        ]) {
            assert_eq!(Address::parse(url, "https", Some(443)), None, "{url}");
        }
        assert_eq!(Address::parse("http://proxy", "http", None), None, "a proxy needs a port");
    }

    proptest! {
        #[test]
        fn whatever_is_read_as_an_address_breaks_out_of_no_request(url in "https://[\\PC\r\n]{0,40}") {
            if let Some(address) = Address::parse(&url, "https", Some(443)) {
                let authority = address.authority();
                prop_assert!(authority.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.:[]%".contains(&b)), "{}", authority);
                prop_assert_eq!(Address::parse(&address.to_string(), "https", Some(443)), Some(address));
            }
        }
    }
}
