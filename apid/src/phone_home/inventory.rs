//! The inventory as a hub gets it: the hardware without what changes by the minute, so that its digest changes with the hardware alone.

use api::hub::v1::Inventory;
use api::v1::HardwareResponse;
use prost::Message;
use sha2::{Digest, Sha256};

/// Nics and disks at most; no machine of ours has as many.
const MAX_PARTS: usize = 64;

/// The inventory of this hardware, and the SHA-256 of its encoded form.
pub(super) fn inventory(mut hardware: HardwareResponse) -> (Inventory, [u8; 32]) {
    // Links without a driver are bridges and containers' ends of cables: they come and go with the workloads.
    hardware.nics.retain(|nic| !nic.driver.is_empty());
    hardware.nics.truncate(MAX_PARTS);
    hardware.disks.truncate(MAX_PARTS);
    for nic in &mut hardware.nics {
        (nic.rx_bytes, nic.tx_bytes, nic.carrier) = (0, 0, false);
        nic.addresses.clear();
        nic.state.clear();
    }
    let inventory = Inventory { hardware: Some(hardware) };
    let digest = Sha256::digest(inventory.encode_to_vec()).into();
    (inventory, digest)
}

#[cfg(test)]
mod tests {
    use api::v1::Nic;

    use super::*;

    #[test]
    fn traffic_and_containers_change_no_inventory() {
        let eth = |rx_bytes| Nic { name: "eth0".into(), mac: "m".into(), driver: "igc".into(), rx_bytes, ..Nic::default() };
        let veth = Nic { name: "veth1".into(), ..Nic::default() };
        let quiet = HardwareResponse { nics: vec![eth(0)], ..HardwareResponse::default() };
        let busy = HardwareResponse { nics: vec![eth(7), veth], ..HardwareResponse::default() };
        assert_eq!(inventory(quiet.clone()), inventory(busy));
        let other = HardwareResponse { serial: "FZ1".into(), ..quiet.clone() };
        assert_ne!(inventory(quiet).1, inventory(other).1);
    }
}
