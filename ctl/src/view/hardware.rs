//! `get hardware`, and the disks and links that resources share with it.

use api::v1;

use super::mirror::mirror;
use super::units::{bytes, unless_zero, yes_no};
use super::{Fields, View, table};

mirror! {
    /// What the machine is made of.
    Hardware = v1::HardwareResponse {
        vendor: String,
        product: String,
        serial: String,
        uuid: String,
        cpu_model: String,
        cpu_count: u32,
        memory_bytes: u64,
        nics: Vec<Nic>,
        disks: Vec<Disk>,
        tpm: bool,
        secure_boot: String,
        firmware: String,
    }
}
mirror! {
    /// A network link.
    Nic = v1::Nic {
        name: String,
        mac: String,
        driver: String,
        carrier: bool,
        mtu: u32,
        rx_bytes: u64,
        tx_bytes: u64,
        addresses: Vec<String>,
        state: String,
    }
}
mirror! {
    /// A disk.
    Disk = v1::Disk {
        name: String,
        size_bytes: u64,
        model: String,
        serial: String,
        removable: bool,
        boot: bool,
        partitions: Vec<DiskPartition>,
    }
}
mirror! {
    /// A partition of a disk.
    DiskPartition = v1::DiskPartition {
        name: String,
        label: String,
        size_bytes: u64,
    }
}

impl View for Hardware {
    fn text(&self) -> String {
        let fields = Fields::new()
            .add("vendor", &self.vendor)
            .add("product", &self.product)
            .add("serial", &self.serial)
            .add("uuid", &self.uuid)
            .add("cpu", format!("{} x {}", self.cpu_count, self.cpu_model))
            .add("memory", bytes(self.memory_bytes))
            .add("firmware", &self.firmware)
            .add("secure boot", &self.secure_boot)
            .add("tpm", yes_no(self.tpm))
            .text();
        format!("{fields}\n{}\n{}", link_table(&self.nics), disk_table(&self.disks))
    }
}

pub(super) fn link_table(links: &[Nic]) -> String {
    let row = |link: &Nic| {
        [
            link.name.clone(),
            link.state.clone(),
            yes_no(link.carrier).to_owned(),
            link.mac.clone(),
            unless_zero(link.mtu),
            link.driver.clone(),
            bytes(link.rx_bytes),
            bytes(link.tx_bytes),
            link.addresses.join(" "),
        ]
    };
    table(["LINK", "STATE", "CARRIER", "MAC", "MTU", "DRIVER", "RECEIVED", "SENT", "ADDRESSES"], links.iter().map(row))
}

/// Disks, each followed by its partitions.
pub(super) fn disk_table(disks: &[Disk]) -> String {
    let rows = disks.iter().flat_map(|disk| {
        let mut notes = vec![];
        notes.extend(disk.boot.then_some("boot"));
        notes.extend(disk.removable.then_some("removable"));
        let whole =
            [disk.name.clone(), bytes(disk.size_bytes), String::new(), disk.model.clone(), disk.serial.clone(), notes.join(" ")];
        let parts = disk.partitions.iter().map(|part| {
            [format!("  {}", part.name), bytes(part.size_bytes), part.label.clone(), String::new(), String::new(), String::new()]
        });
        std::iter::once(whole).chain(parts).collect::<Vec<_>>()
    });
    table(["DISK", "SIZE", "LABEL", "MODEL", "SERIAL", "NOTES"], rows)
}
