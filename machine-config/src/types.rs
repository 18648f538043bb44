//! Small validated types: parsed once, right from then on.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Why a value is not what its type needs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is not {expected}")]
pub struct ValueError {
    /// What was given.
    pub value: String,
    /// What is needed, with an example.
    pub expected: &'static str,
}

macro_rules! text_type {
    ($(#[$doc:meta])* $name:ident, $expected:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = ValueError;

            fn try_from(value: String) -> Result<Self, ValueError> {
                let valid: fn(&str) -> bool = $valid;
                if valid(&value) { Ok(Self(value)) } else { Err(ValueError { value, expected: $expected }) }
            }
        }

        impl FromStr for $name {
            type Err = ValueError;

            fn from_str(value: &str) -> Result<Self, ValueError> {
                Self::try_from(value.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "description": $expected })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

fn is_label(label: &str) -> bool {
    let bytes = label.as_bytes();
    !bytes.is_empty()
        && bytes.len() <= 63
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
        && bytes.first() != Some(&b'-')
        && bytes.last() != Some(&b'-')
}

fn is_dns_name(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_label)
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

text_type! {
    /// A host name: one DNS label (RFC 1123), lower case, as Kubernetes wants node names.
    HostName, "a host name: 1 to 63 of a-z, 0-9 and `-`, such as `store-0421-a`", is_label
}
text_type! {
    /// A DNS name of one or more labels, or an IPv4 address.
    DnsName, "a DNS name: labels of a-z, 0-9 and `-` joined by dots, such as `ntp.example.org`", is_dns_name
}
text_type! {
    /// SHA-256 of a device's Ed25519 public key, 64 lower-case hexadecimal digits.
    DeviceId, "a device id: 64 lower-case hexadecimal digits", |s| is_hex(s, 64)
}
text_type! {
    /// The kernel's name of a network link.
    InterfaceName, "a link name: 1 to 15 letters, digits, `.`, `_` or `-`, such as `enp0s2`",
    |s| (1..=15).contains(&s.len()) && s != "." && s != ".."
        && s.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}
text_type! {
    /// The name of a kernel module.
    ModuleName, "a kernel module name: letters, digits, `_` and `-`, such as `i2c_dev`",
    |s| (1..=64).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}
text_type! {
    /// The dotted name of a kernel parameter.
    SysctlName, "a sysctl name with dots, such as `net.core.somaxconn`",
    |s| s.len() <= 255 && s.contains('.') && s.split('.').all(|part| !part.is_empty()
        && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b':' | b'@')))
}
text_type! {
    /// A 48-bit MAC address, six lower-case pairs.
    MacAddress, "a MAC address: six lower-case pairs joined by colons, such as `52:54:00:12:34:56`",
    |s| s.len() == 17 && s.split(':').count() == 6 && s.split(':').all(|pair| is_hex(pair, 2))
}
text_type! {
    /// An address with a prefix length, kept as written.
    IpNetwork, "an address with a prefix length, such as `192.168.1.10/24`", |s| s.parse::<ipnet::IpNet>().is_ok()
}

impl IpNetwork {
    /// The parsed form.
    pub fn net(&self) -> ipnet::IpNet {
        self.0.parse().expect("checked when it was made")
    }
}

/// Orders configurations of one device: 1 and up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Generation(u64);

impl Generation {
    /// The number.
    pub fn get(self) -> u64 {
        self.0
    }
}

impl TryFrom<u64> for Generation {
    type Error = ValueError;

    fn try_from(value: u64) -> Result<Self, ValueError> {
        if value == 0 { Err(ValueError { value: "0".into(), expected: "a generation: 1 or more" }) } else { Ok(Self(value)) }
    }
}

impl JsonSchema for Generation {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Generation".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 1 })
    }
}

impl From<Generation> for u64 {
    fn from(value: Generation) -> Self {
        value.0
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A value that is never shown: `Debug` and `Display` print a mask, and the API serves [`Secret::MASK`] instead.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// What stands where the value would.
    pub const MASK: &'static str = "********";

    /// The value itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(value: String) -> Self {
        Self(value)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::MASK)
    }
}
