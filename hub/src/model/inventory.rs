//! A device's hardware as it reports it, cut to what the hub keeps: every text, every list, and so the whole.

use api::v1::HardwareResponse;
use machine_config::types::MacAddress;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::text::bounded;

/// Bytes of one text at most.
const TEXT_BYTES: usize = 128;
/// Network ports at most; those of containers are not counted, devices report their hardware.
const MAX_NICS: usize = 64;
/// Disks at most.
const MAX_DISKS: usize = 64;

/// A device's hardware.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Inventory {
    /// Who made it.
    pub vendor: String,
    /// What they call it.
    pub product: String,
    /// Serial number of the system.
    pub serial: String,
    /// SMBIOS UUID. Cheap machines share theirs: it identifies nothing.
    pub uuid: String,
    /// The processor.
    pub cpu_model: String,
    /// Its logical CPUs.
    pub cpu_count: u32,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Network ports.
    pub nics: Vec<InventoryNic>,
    /// Disks.
    pub disks: Vec<InventoryDisk>,
    /// A TPM is there.
    pub tpm: bool,
    /// `on`, `off`, `unknown`.
    pub secure_boot: String,
    /// The firmware's name and version.
    pub firmware: String,
}

/// A network port.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InventoryNic {
    /// The kernel's name.
    pub name: String,
    /// Its MAC address.
    pub mac: String,
    /// The driver.
    pub driver: String,
}

/// A disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InventoryDisk {
    /// The kernel's name.
    pub name: String,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// The model.
    pub model: String,
    /// Its serial number.
    pub serial: String,
    /// It can be taken out.
    pub removable: bool,
    /// Skerry runs from it.
    pub boot: bool,
}

impl Inventory {
    /// What is kept of a report.
    pub fn of(report: &HardwareResponse) -> Self {
        let text = |text: &str| bounded(text, TEXT_BYTES);
        Self {
            vendor: text(&report.vendor),
            product: text(&report.product),
            serial: text(&report.serial),
            uuid: text(&report.uuid),
            cpu_model: text(&report.cpu_model),
            cpu_count: report.cpu_count,
            memory_bytes: report.memory_bytes,
            nics: report.nics.iter().take(MAX_NICS).map(InventoryNic::of).collect(),
            disks: report.disks.iter().take(MAX_DISKS).map(InventoryDisk::of).collect(),
            tpm: report.tpm,
            secure_boot: text(&report.secure_boot),
            firmware: text(&report.firmware),
        }
    }

    /// Serial numbers by which a device may be recognised; placeholders of careless vendors are none.
    pub fn serials(&self) -> Vec<String> {
        std::iter::once(&self.serial).filter(|serial| is_telling(serial)).cloned().collect()
    }

    /// MAC addresses by which a device may be recognised, sorted.
    pub fn macs(&self) -> Vec<MacAddress> {
        let mut macs: Vec<MacAddress> = self.nics.iter().filter_map(|nic| nic.mac.to_ascii_lowercase().parse().ok()).collect();
        macs.retain(|mac| mac.as_str() != "00:00:00:00:00:00" && mac.as_str() != "ff:ff:ff:ff:ff:ff");
        macs.sort();
        macs.dedup();
        macs
    }
}

/// A serial number that tells one machine from another.
fn is_telling(serial: &str) -> bool {
    let serial = serial.trim().to_ascii_lowercase();
    !serial.is_empty()
        && !machine_config::PLACEHOLDER_SERIALS.contains(&serial.as_str())
        && !serial.chars().all(|c| matches!(c, '0' | 'x' | '-' | ' '))
}

impl InventoryNic {
    fn of(nic: &api::v1::Nic) -> Self {
        let text = |text: &str| bounded(text, TEXT_BYTES);
        Self { name: text(&nic.name), mac: text(&nic.mac), driver: text(&nic.driver) }
    }
}

impl InventoryDisk {
    fn of(disk: &api::v1::Disk) -> Self {
        let text = |text: &str| bounded(text, TEXT_BYTES);
        Self {
            name: text(&disk.name),
            size_bytes: disk.size_bytes,
            model: text(&disk.model),
            serial: text(&disk.serial),
            removable: disk.removable,
            boot: disk.boot,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a hostile device may send in one message, if nothing before this had refused it.
    #[test]
    fn an_inventory_bomb_is_cut_before_it_is_kept() {
        let bomb = "\u{1}\u{202e}é".repeat(1 << 18);
        let nic = api::v1::Nic { name: bomb.clone(), mac: bomb.clone(), driver: bomb.clone(), ..Default::default() };
        let disk = api::v1::Disk { name: bomb.clone(), model: bomb.clone(), serial: bomb.clone(), ..Default::default() };
        let report = HardwareResponse {
            vendor: bomb.clone(),
            serial: bomb.clone(),
            firmware: bomb,
            nics: vec![nic; 100],
            disks: vec![disk; 100],
            ..Default::default()
        };
        let kept = Inventory::of(&report);
        assert_eq!((kept.nics.len(), kept.disks.len(), kept.serial.len()), (MAX_NICS, MAX_DISKS, 127));
        assert!(serde_json::to_string(&kept).unwrap().len() < 64 << 10);
        assert!(kept.macs().is_empty());
    }

    #[test]
    fn placeholders_recognise_nobody() {
        for serial in ["", " ", "Default string", "To be filled by O.E.M.", "0", "0000000", "None", "xxxxxx"] {
            assert!(!is_telling(serial), "{serial}");
        }
        assert!(is_telling("FZ0001") && is_telling("0012"));
    }

    #[test]
    fn macs_are_lower_case_and_none_is_nobodys() {
        let nic = |mac: &str| InventoryNic { mac: mac.into(), ..Default::default() };
        let nics = vec![nic("52:54:00:AB:cd:ef"), nic("00:00:00:00:00:00"), nic(""), nic("52:54:00:ab:cd:ef")];
        let inventory = Inventory { nics, ..Default::default() };
        assert_eq!(inventory.macs(), ["52:54:00:ab:cd:ef".parse().unwrap()]);
    }
}
