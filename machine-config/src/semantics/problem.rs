//! What can be wrong with a configuration that is well formed.

use std::net::IpAddr;

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct SemanticError {
    /// For example `machine.network.interfaces[0].mtu`.
    pub path: String,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with a setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// None or several of the target's fields.
    #[error("{found} of `serial`, `deviceId`, `mac`, `any` are set; set exactly one")]
    TargetCount {
        /// How many are set.
        found: usize,
    },
    /// `any: false`.
    #[error("`any` can only be true; remove it and name the device")]
    AnyFalse,
    /// A serial number that many devices share.
    #[error("`{serial}` is a vendor's placeholder that many devices share; use `deviceId` or `mac`")]
    PlaceholderSerial {
        /// As written.
        serial: String,
    },
    /// The link is named in two ways or in none.
    #[error("set exactly one of `name` and `mac`")]
    NameOrMac,
    /// The same thing a second time.
    #[error("`{what}` stands already at {first}; remove one")]
    Twice {
        /// What stands twice.
        what: String,
        /// Path of the first.
        first: String,
    },
    /// Settings of a link that is never brought up.
    #[error("the link is ignored, so its other settings would have no effect; remove them or `ignore`")]
    IgnoredWithSettings,
    /// An address no host can have there.
    #[error("{address} is {reason}")]
    Unusable {
        /// The address.
        address: IpAddr,
        /// What it is instead.
        reason: &'static str,
    },
    /// Bits set behind the prefix.
    #[error("`{written}` has bits set behind its prefix; did you mean `{network}`?")]
    HostBits {
        /// As written.
        written: String,
        /// With those bits cleared.
        network: String,
    },
    /// A gateway outside of the link's networks.
    #[error("the gateway {via} is in none of the link's networks; add an address of its network to `addresses`, or use `dhcp4`")]
    GatewayUnreachable {
        /// The gateway.
        via: IpAddr,
    },
    /// IPv4 through IPv6 or the reverse.
    #[error("destination and gateway are of different address families")]
    FamilyMismatch,
    /// A number outside of its range.
    #[error("{value} {unit} is outside of {min} to {max}")]
    OutOfRange {
        /// As written.
        value: u64,
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
        /// Of all three.
        unit: &'static str,
    },
    /// A setting that belongs to the system.
    #[error("`{name}` {reason}; remove it")]
    Reserved {
        /// The name.
        name: String,
        /// Why.
        reason: &'static str,
    },
    /// A reference to nothing.
    #[error("`{name}` is unknown; known are {}", .known.join(", "))]
    UnknownName {
        /// As written.
        name: String,
        /// What may stand there.
        known: Vec<&'static str>,
    },
    /// Text of the wrong form.
    #[error("`{value}` is not {expected}")]
    Malformed {
        /// As written.
        value: String,
        /// What is needed.
        expected: &'static str,
    },
    /// A secret of the wrong form: not repeated.
    #[error("it is not {expected}")]
    MalformedSecret {
        /// What is needed.
        expected: &'static str,
    },
    /// Not PEM certificates.
    #[error("{reason}; give PEM certificates, from `-----BEGIN CERTIFICATE-----` to `-----END CERTIFICATE-----`")]
    NotCertificates {
        /// What is wrong.
        reason: &'static str,
    },
    /// A port that cannot be listened on.
    #[error("port {port} is not free; choose another")]
    PortTaken {
        /// The port.
        port: u16,
    },
    /// Something else must be set too.
    #[error("`{needed}` must be set too: {reason}")]
    Needs {
        /// The missing key.
        needed: &'static str,
        /// Why.
        reason: &'static str,
    },
    /// A disk selector that says nothing.
    #[error("it chooses no disk; set at least one of `name`, `serial`, `model`, `transport`, `minSizeMib`, `maxSizeMib`")]
    ChoosesNoDisk,
    /// The least size is above the largest.
    #[error("no disk has at least {min_mib} MiB and at most {max_mib} MiB; change one of `minSizeMib` and `maxSizeMib`")]
    NoSizeFits {
        /// Least.
        min_mib: u64,
        /// Largest.
        max_mib: u64,
    },
    /// Something that has no meaning here.
    #[error("it has no effect here: {reason}; remove it")]
    Pointless {
        /// Why.
        reason: &'static str,
    },
    /// Two networks share addresses.
    #[error("`{network}` overlaps with `{other}` ({other_is}); choose another")]
    Overlap {
        /// This one.
        network: String,
        /// The other one.
        other: String,
        /// Where the other one comes from.
        other_is: String,
    },
    /// Embedded YAML that is none.
    #[error("its text is not YAML: {message}")]
    NotYaml {
        /// Line and reason.
        message: String,
    },
}
