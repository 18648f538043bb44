//! Small validated types: parsed once, right from then on.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use ed25519_dalek::VerifyingKey;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub use crate::secret::Secret;

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
    ($(#[$doc:meta])* $name:ident, $expected:literal, $pattern:literal, $valid:expr) => {
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
                json_schema!({ "type": "string", "title": $expected, "pattern": $pattern })
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
    HostName, "a host name: 1 to 63 of a-z, 0-9 and `-`, such as `store-0421-a`",
    r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", is_label
}
text_type! {
    /// A DNS name of one or more labels, or an IPv4 address.
    DnsName, "a DNS name: labels of a-z, 0-9 and `-` joined by dots, such as `ntp.example.org`",
    r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$", is_dns_name
}
text_type! {
    /// SHA-256 of a device's Ed25519 public key, 64 lower-case hexadecimal digits.
    DeviceId, "a device id: 64 lower-case hexadecimal digits",
    r"^[0-9a-f]{64}$", |s| is_hex(s, 64)
}
text_type! {
    /// SHA-256 of a whole signed configuration file or of other bytes, 64 lower-case hexadecimal digits.
    Digest, "a SHA-256 digest: 64 lower-case hexadecimal digits", r"^[0-9a-f]{64}$", |s| is_hex(s, 64)
}
text_type! {
    /// Names a fleet key in a signature: the first 16 hexadecimal digits of the SHA-256 of the raw public key.
    KeyId, "a key id: 16 lower-case hexadecimal digits", r"^[0-9a-f]{16}$", |s| is_hex(s, 16)
}
text_type! {
    /// The kernel's name of a network link.
    InterfaceName, "a link name: 1 to 15 letters, digits, `.`, `_` or `-`, such as `eth0`",
    r"^[A-Za-z0-9._-]{1,15}$",
    |s| (1..=15).contains(&s.len()) && s != "." && s != ".."
        && s.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}
text_type! {
    /// The name of a kernel module.
    ModuleName, "a kernel module name: letters, digits, `_` and `-`, such as `i2c_dev`",
    r"^[A-Za-z0-9_-]{1,64}$",
    |s| (1..=64).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}
text_type! {
    /// The kernel's name of a disk.
    DiskName, "a disk name: 1 to 31 of a-z and 0-9, such as `nvme0n1`",
    r"^[a-z0-9]{1,31}$",
    |s| (1..=31).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}
text_type! {
    /// The dotted name of a kernel parameter.
    SysctlName, "a sysctl name with dots, such as `net.core.somaxconn`",
    r"^[A-Za-z0-9_:@-]+(\.[A-Za-z0-9_:@-]+)+$",
    |s| s.len() <= 255 && s.contains('.') && s.split('.').all(|part| !part.is_empty()
        && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b':' | b'@')))
}
text_type! {
    /// A 48-bit MAC address, six lower-case pairs.
    MacAddress, "a MAC address: six lower-case pairs joined by colons, such as `52:54:00:12:34:56`",
    r"^[0-9a-f]{2}(:[0-9a-f]{2}){5}$",
    |s| s.len() == 17 && s.split(':').count() == 6 && s.split(':').all(|pair| is_hex(pair, 2))
}
text_type! {
    /// An address with a prefix length, kept as written.
    IpNetwork, "an address with a prefix length, such as `192.168.1.10/24`",
    r"^[0-9a-fA-F.:]+/[0-9]{1,3}$", |s| s.parse::<ipnet::IpNet>().is_ok()
}

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(hex::encode(Sha256::digest(bytes)))
    }
}

impl DeviceId {
    /// The id of the device that holds this key: SHA-256 of the key's raw 32 bytes.
    pub fn of(key: &VerifyingKey) -> Self {
        Self(hex::encode(Sha256::digest(key.as_bytes())))
    }
}

impl KeyId {
    /// The id of this key.
    pub fn of(key: &VerifyingKey) -> Self {
        let digest = Sha256::digest(key.as_bytes());
        Self(hex::encode(&digest[..8]))
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_are_one_rfc_1123_label() {
        for good in ["a", "store-0421-a", "0", &"a".repeat(63)] {
            assert!(good.parse::<HostName>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a.b", "a_b", "a b", "ä", &"a".repeat(64)] {
            assert!(bad.parse::<HostName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn dns_names_have_no_empty_or_overlong_label() {
        for good in ["a", "a.b", "10.0.2.2", "xn--bcher-kva.example"] {
            assert!(good.parse::<DnsName>().is_ok(), "{good}");
        }
        for bad in ["", ".", "a.", ".a", "a..b", "a/b", "*.a", &["a"; 128].join(".")] {
            assert!(bad.parse::<DnsName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn link_names_cannot_climb_out_of_sys_class_net() {
        assert!("enp0s2.100".parse::<InterfaceName>().is_ok());
        for bad in ["", ".", "..", "a/b", "a b", "abcdefghijklmnop"] {
            assert!(bad.parse::<InterfaceName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn sysctl_names_cannot_climb_out_of_proc_sys() {
        assert!("net.ipv4.conf.eth0.rp_filter".parse::<SysctlName>().is_ok());
        for bad in ["", "net", "net..core", ".net.core", "net/core", "net.core/..", "../x.y"] {
            assert!(bad.parse::<SysctlName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn macs_are_lower_case_pairs() {
        assert!("52:54:00:12:34:56".parse::<MacAddress>().is_ok());
        for bad in ["52:54:00:12:34:5G", "52-54-00-12-34-56", "52:54:00:12:34", "52:54:00:AB:34:56", "5:254:00:12:34:56"] {
            assert!(bad.parse::<MacAddress>().is_err(), "{bad}");
        }
    }

    #[test]
    fn generation_zero_does_not_exist() {
        assert!(Generation::try_from(0).is_err());
        assert_eq!(Generation::try_from(7).map(Generation::get), Ok(7));
    }

    #[test]
    fn device_id_is_sha256_of_the_raw_key() {
        let key = ed25519_dalek::SigningKey::from_bytes(&[7; 32]).verifying_key();
        assert_eq!(DeviceId::of(&key).as_str(), Digest::of(key.as_bytes()).as_str());
    }
}
