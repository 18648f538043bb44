//! `/skerry/release.json`: what an image is. init reads it at boot.

use serde::{Deserialize, Serialize};

use crate::board::{Architecture, K3sRole};

/// Where it lies in the initramfs.
pub const PATH: &str = "skerry/release.json";

/// What an image is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// Version of Skerry.
    pub version: String,
    /// Board the image is for.
    pub board: String,
    /// Architecture.
    pub architecture: Architecture,
    /// The module that drives the watchdog; none: the board has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watchdog: Option<String>,
    /// Seconds since 1970 below which a device's clock is certainly wrong. From the inputs, never from the builder's clock.
    pub build_time_floor: u64,
    /// What k3s may be on the board. The warehouse needs it, where no board files are.
    pub k3s_roles: Vec<K3sRole>,
    /// Memory of the board's smallest machine, in MiB; none: the image is from before boards said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u64>,
}

impl Release {
    /// The file's text.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("plain fields have a JSON form") + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_what_init_reads() {
        let release = Release {
            version: "0.1.0".into(),
            board: "qemu-x86_64".into(),
            architecture: Architecture::X86_64,
            watchdog: Some("i6300esb".into()),
            build_time_floor: 1_700_000_000,
            k3s_roles: vec![K3sRole::Agent],
            memory_mib: Some(1024),
        };
        let text = release.to_json();
        assert_eq!(
            text,
            "{\n  \"version\": \"0.1.0\",\n  \"board\": \"qemu-x86_64\",\n  \"architecture\": \"x86_64\",\n  \"watchdog\": \"i6300esb\",\n  \"build_time_floor\": 1700000000,\n  \"k3s_roles\": [\n    \"agent\"\n  ],\n  \"memory_mib\": 1024\n}\n"
        );
        assert_eq!(serde_json::from_str::<Release>(&text).expect("parsed"), release);
    }
}
