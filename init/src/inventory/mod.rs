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

use api::v1::{Disk, HardwareResponse, ProcessesResponse, ResourcesResponse};
use machine_config::types::MacAddress;

pub use source::Roots;

impl Roots {
    /// What the machine is. `boot_disk` is the kernel's name of the disk Skerry runs from, empty while unknown.
    pub fn hardware(&self, boot_disk: &str) -> HardwareResponse {
        let firmware = firmware::Firmware::read(self);
        let cpuinfo = self.proc("cpuinfo");
        HardwareResponse {
            vendor: firmware.vendor,
            product: firmware.product,
            serial: firmware.serials.into_iter().next().unwrap_or_default(),
            uuid: firmware.uuid,
            cpu_model: cpu::model(&cpuinfo),
            cpu_count: cpu::count(&cpuinfo),
            memory_bytes: memory::parse(&self.proc("meminfo")).total_bytes,
            nics: nics::ports(self),
            disks: disks::read(self, boot_disk),
            tpm: self.has_sys("class/tpm/tpm0"),
            secure_boot: firmware::secure_boot(self).to_owned(),
            firmware: firmware.firmware,
        }
    }

    /// The machine's disks. `boot_disk` is the kernel's name of the disk Skerry runs from, empty when there is none.
    pub fn disks(&self, boot_disk: &str) -> Vec<Disk> {
        disks::read(self, boot_disk)
    }

    /// What the machine uses.
    pub fn resources(&self, boot_disk: &str) -> ResourcesResponse {
        ResourcesResponse {
            cpu: Some(cpu::usage(&self.proc("cpuinfo"), &self.proc("loadavg"), &self.proc("stat"))),
            memory: Some(memory::parse(&self.proc("meminfo"))),
            disks: disks::read(self, boot_disk),
            links: nics::links(self),
            mounts: mounts::read(self),
        }
    }

    /// What runs on the machine, by process number.
    pub fn processes(&self) -> ProcessesResponse {
        ProcessesResponse { processes: processes::read(self) }
    }

    /// See [`device_serials`].
    pub fn device_serials(&self) -> Vec<String> {
        firmware::Firmware::read(self).serials
    }

    /// See [`wired_macs`].
    pub fn wired_macs(&self) -> Vec<MacAddress> {
        nics::wired_macs(self)
    }
}

/// What this machine is; see [`Roots::hardware`].
pub fn hardware(boot_disk: &str) -> HardwareResponse {
    Roots::system().hardware(boot_disk)
}

/// What this machine uses.
pub fn resources(boot_disk: &str) -> ResourcesResponse {
    Roots::system().resources(boot_disk)
}

/// What runs on this machine.
pub fn processes() -> ProcessesResponse {
    Roots::system().processes()
}

/// The serial numbers a configuration may be addressed to: system, board, chassis, device tree. Placeholders that firmware makers leave never count.
pub fn device_serials() -> Vec<String> {
    Roots::system().device_serials()
}

/// The MAC addresses of all wired links.
pub fn wired_macs() -> Vec<MacAddress> {
    Roots::system().wired_macs()
}

#[cfg(test)]
mod tests;
