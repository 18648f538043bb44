//! What the machine is and what it is doing: read from `/proc` and `/sys`, answered in the API's own types.
//!
//! Every reader takes the roots as an argument, and every file may be missing: hardware that says nothing of itself leaves fields empty. Nothing here
//! fails, and nothing here writes.

mod cpu;
mod disks;
mod firmware;
mod memory;
mod mounts;
mod nics;
mod processes;
mod serial;
mod source;

use api::v1::{HardwareResponse, ProcessesResponse, ResourcesResponse};
use machine_config::types::MacAddress;

pub use source::Roots;

/// What the machine is. `boot_disk` is the kernel's name of the disk Skerry runs from, empty while unknown.
pub fn hardware(roots: &Roots, boot_disk: &str) -> HardwareResponse {
    let firmware = firmware::Firmware::read(roots);
    HardwareResponse {
        vendor: firmware.vendor,
        product: firmware.product,
        serial: firmware.serials.into_iter().next().unwrap_or_default(),
        uuid: firmware.uuid,
        cpu_model: cpu::model(&roots.proc("cpuinfo")),
        cpu_count: cpu::count(&roots.proc("cpuinfo")),
        memory_bytes: memory::parse(&roots.proc("meminfo")).total_bytes,
        nics: nics::ports(roots),
        disks: disks::read(roots, boot_disk),
        tpm: roots.has_sys("class/tpm/tpm0"),
        secure_boot: firmware::secure_boot(roots).to_owned(),
        firmware: firmware.firmware,
    }
}

/// What the machine uses.
pub fn resources(roots: &Roots, boot_disk: &str) -> ResourcesResponse {
    ResourcesResponse {
        cpu: Some(cpu::usage(&roots.proc("cpuinfo"), &roots.proc("loadavg"), &roots.proc("stat"))),
        memory: Some(memory::parse(&roots.proc("meminfo"))),
        disks: disks::read(roots, boot_disk),
        links: nics::links(roots),
        mounts: mounts::read(roots),
    }
}

/// What runs on the machine, by process number.
pub fn processes(roots: &Roots) -> ProcessesResponse {
    ProcessesResponse { processes: processes::read(roots) }
}

/// The serial numbers a configuration may be addressed to: system, board, chassis, device tree. Placeholders that firmware makers leave never count.
pub fn device_serials(roots: &Roots) -> Vec<String> {
    firmware::Firmware::read(roots).serials
}

/// The MAC addresses of all wired links.
pub fn wired_macs(roots: &Roots) -> Vec<MacAddress> {
    nics::wired_macs(roots)
}

#[cfg(test)]
mod tests;
