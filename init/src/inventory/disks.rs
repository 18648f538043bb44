//! Disks with their partitions, from /sys/block. Loop devices, RAM disks and device-mapper volumes are not disks.

use std::path::Path;

use api::v1::{Disk, DiskPartition};

use super::source::{Roots, clean, field, head, names, number, text};

/// The kernel counts sizes in units of 512 bytes, whatever the disk's own sectors are.
const UNIT_BYTES: u64 = 512;

/// All disks, by name. Hidden ones are ways to a disk that has a name of its own (NVMe with several controllers).
pub(super) fn read(roots: &Roots, boot_disk: &str) -> Vec<Disk> {
    let block = roots.sys_path("block");
    let real = names(&block).into_iter().filter(|name| {
        let folder = block.join(name);
        folder.join("device").exists() && number(&folder.join("hidden")) != 1
    });
    real.map(|name| disk(&block.join(&name), name, boot_disk)).collect()
}

fn disk(folder: &Path, name: String, boot_disk: &str) -> Disk {
    // Where the serial number stands depends on the driver: virtio says it of the disk, NVMe and MMC of the device, SCSI (and so SATA and USB) in the
    // vital product data: four bytes of header, then the text.
    let first = |files: [&str; 2]| files.into_iter().map(|file| text(&folder.join(file))).find(|text| !text.is_empty());
    let scsi_serial = || head(&folder.join("device/vpd_pg80"), 256).get(4..).map(clean);
    Disk {
        size_bytes: number(&folder.join("size")).saturating_mul(UNIT_BYTES),
        model: first(["device/model", "device/name"]).unwrap_or_default(),
        serial: first(["serial", "device/serial"]).or_else(scsi_serial).unwrap_or_default(),
        removable: number(&folder.join("removable")) == 1,
        boot: name == boot_disk,
        partitions: partitions(folder, &name),
        name,
    }
}

fn partitions(folder: &Path, disk: &str) -> Vec<DiskPartition> {
    let own = names(folder).into_iter().filter(|name| name.starts_with(disk) && folder.join(name).join("partition").exists());
    own.map(|name| {
        let folder = folder.join(&name);
        DiskPartition {
            label: field(&text(&folder.join("uevent")), "PARTNAME", '=').unwrap_or_default().to_owned(),
            size_bytes: number(&folder.join("size")).saturating_mul(UNIT_BYTES),
            name,
        }
    })
    .collect()
}
