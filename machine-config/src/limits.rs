//! The numbers that bound settings. The JSON Schema shows them and the semantic checks keep them, so both take them from here.

use std::ops::RangeInclusive;

/// `mtu` of a link: what IPv4 needs, and the most there is.
pub(crate) const MTU_BYTES: RangeInclusive<u32> = 68..=65_535;

/// `mtu` of a link with an IPv6 address.
pub(crate) const IPV6_MTU_BYTES: RangeInclusive<u32> = 1280..=65_535;

/// `machine.volumes.data.maxSizeMib`.
pub(crate) const DATA_MIB: RangeInclusive<u64> = 512..=1 << 30;

/// Sizes of disks in `machine.install.disk`.
pub(crate) const DISK_MIB: RangeInclusive<u64> = 1..=1 << 40;

/// `hub.fallbacks`.
pub(crate) const HUB_FALLBACKS: usize = 7;

/// `machine.watchdog.timeoutSeconds`.
pub(crate) const WATCHDOG_SECONDS: RangeInclusive<u32> = 10..=600;

/// `machine.health.deadlineSeconds`.
pub(crate) const HEALTH_DEADLINE_SECONDS: RangeInclusive<u32> = 60..=86_400;
