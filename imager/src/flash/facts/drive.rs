//! What a drive tells of itself, and how it is connected: each driver has its own places for that.

use std::io;
use std::path::Path;

use super::{number, text};
use crate::flash::outcome::{Drive, Transport};

/// Bytes before the serial number in a SCSI vital product data page.
const PAGE_HEADER_BYTES: usize = 4;

/// What the drive in this folder of `/sys` tells.
pub(super) fn read(disk: &Path, bytes: u64, port: Option<String>) -> io::Result<Drive> {
    let model = first(disk, &["device/model", "device/name"])?;
    Ok(Drive { serial: serial(disk)?, model, bytes, transport: transport(disk), port })
}

/// Its serial number.
pub(super) fn serial(disk: &Path) -> io::Result<Option<String>> {
    Ok(match first(disk, &["serial", "device/serial"])? {
        Some(serial) => Some(serial),
        None => match page_serial(disk) {
            Some(serial) => Some(serial),
            None => usb_serial(disk)?,
        },
    })
}

fn first(disk: &Path, names: &[&str]) -> io::Result<Option<String>> {
    for name in names {
        if let Some(found) = text(&disk.join(name))? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The unit serial number page of a SCSI or SATA disk.
fn page_serial(disk: &Path) -> Option<String> {
    let page = std::fs::read(disk.join("device/vpd_pg80")).ok()?;
    let serial = String::from_utf8_lossy(page.get(PAGE_HEADER_BYTES..)?).trim().to_owned();
    (!serial.is_empty() && serial.chars().all(|c| c.is_ascii_graphic() || c == ' ')).then_some(serial)
}

/// The serial number of the USB device that a disk is behind.
fn usb_serial(disk: &Path) -> io::Result<Option<String>> {
    for folder in disk.ancestors() {
        if folder.join("idVendor").exists() {
            return text(&folder.join("serial"));
        }
    }
    Ok(None)
}

/// How the drive is connected, by the path that leads to it in `/sys/devices`.
fn transport(disk: &Path) -> Transport {
    let parts: Vec<_> = disk.iter().map(|part| part.to_string_lossy()).collect();
    let any = |begin: &str| {
        let numbered = |part: &str| part.strip_prefix(begin).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        parts.iter().any(|part| numbered(part))
    };
    [
        ("usb", Transport::Usb),
        ("mmc", Transport::Mmc),
        ("nvme", Transport::Nvme),
        ("ata", Transport::Sata),
        ("loop", Transport::Loop),
        ("nbd", Transport::Nbd),
        ("virtio", Transport::Virtio),
        ("host", Transport::Scsi),
    ]
    .into_iter()
    .find(|(begin, _)| any(begin))
    .map_or(Transport::Other, |(_, transport)| transport)
}

/// Whether a drive is made to be plugged in and out. USB disks say they are not, because their medium stays in them; cards on their own
/// controller do not say, but eMMC, which is soldered, has another type than SD.
pub(super) fn is_removable(disk: &Path) -> io::Result<bool> {
    Ok(match transport(disk) {
        Transport::Usb | Transport::Loop | Transport::Nbd | Transport::File => true,
        Transport::Mmc => text(&disk.join("device/type"))?.is_some_and(|kind| kind == "SD"),
        Transport::Nvme | Transport::Sata | Transport::Scsi | Transport::Virtio | Transport::Other => {
            number(&disk.join("removable"))? == Some(1)
        }
    })
}
