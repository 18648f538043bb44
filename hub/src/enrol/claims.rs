//! What a calling device says, as it came and cut to what is kept.

use std::net::IpAddr;

use api::hub::v1::Release as ReleaseMessage;
use api::v1::HardwareResponse;
use machine_config::types::{Digest, DnsName, HostName, MacAddress, Secret};
use machine_config::{DeviceId, VerifyingKey};

use crate::model::text::bounded;
use crate::model::{Inventory, Release};
use crate::tokens;

/// Bytes of one text at most.
const TEXT_BYTES: usize = 128;

/// A call, as it came. The key was proved over this very connection; nothing else was.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The key that was proved.
    pub key: VerifyingKey,
    /// What it calls itself; empty: nothing.
    pub name: String,
    /// The fleet it says it obeys.
    pub fleet: String,
    /// What it runs.
    pub release: ReleaseMessage,
    /// Generation of what it accepted last; 0: nothing.
    pub config_generation: u64,
    /// Digest of that; empty: nothing.
    pub config_digest: String,
    /// Its join token, if it was asked and has one.
    pub token: Option<Secret>,
    /// Its hardware, if it was asked, and SHA-256 of the message it came in.
    pub inventory: Option<(HardwareResponse, [u8; 32])>,
    /// Where it calls from.
    pub address: IpAddr,
}

/// The same, cut to what is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Claims {
    /// Hash of the proved key.
    pub id: DeviceId,
    /// The key.
    pub key: [u8; 32],
    /// What it calls itself.
    pub name: Option<String>,
    /// The fleet it says it obeys; empty: no name of one.
    pub fleet: String,
    /// What it runs.
    pub release: Release,
    /// Generation of what it accepted last.
    pub config_generation: u64,
    /// Digest of that.
    pub config_digest: Option<Digest>,
    /// Hash of its join token.
    pub token: Option<[u8; 32]>,
    /// Its hardware.
    pub inventory: Option<Inventory>,
    /// The digest under which that came, hexadecimal.
    pub inventory_digest: String,
    /// Where it calls from.
    pub address: IpAddr,
}

impl Claims {
    /// Serial numbers; none without an inventory.
    pub fn serials(&self) -> Vec<String> {
        self.inventory.as_ref().map(Inventory::serials).unwrap_or_default()
    }

    /// MAC addresses; none without an inventory.
    pub fn macs(&self) -> Vec<MacAddress> {
        self.inventory.as_ref().map(Inventory::macs).unwrap_or_default()
    }
}

impl From<&Attempt> for Claims {
    fn from(attempt: &Attempt) -> Self {
        Self {
            id: DeviceId::of(&attempt.key),
            key: attempt.key.to_bytes(),
            name: attempt.name.parse::<HostName>().ok().map(String::from),
            fleet: attempt.fleet.parse::<DnsName>().map(String::from).unwrap_or_default(),
            release: release(&attempt.release),
            config_generation: attempt.config_generation.min(i64::MAX as u64),
            config_digest: attempt.config_digest.parse().ok(),
            token: attempt.token.as_ref().map(Secret::expose).filter(|text| tokens::is_token(text)).map(tokens::hash),
            inventory: attempt.inventory.as_ref().map(|(report, _)| Inventory::of(report)),
            inventory_digest: attempt.inventory.as_ref().map(|(_, digest)| hex::encode(digest)).unwrap_or_default(),
            address: attempt.address,
        }
    }
}

/// What is kept of a release.
pub(crate) fn release(message: &ReleaseMessage) -> Release {
    let text = |text: &str| bounded(text, TEXT_BYTES);
    Release {
        version: text(&message.version),
        board: text(&message.board),
        architecture: text(&message.architecture),
        kernel: text(&message.kernel),
        runtime_root_hash: text(&message.runtime_root_hash),
    }
}
