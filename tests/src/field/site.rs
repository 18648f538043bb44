//! A site: one stamped device of the two, with the machine it runs on.

use std::path::Path;

use anyhow::{Context, Result};
use machine_config::DeviceId;

use crate::device::Device;
use crate::harness::emulator::Company;
use crate::harness::hardware::Wiring;
use crate::harness::{Guest, Patience};
use crate::lab::Lab;

/// One device.
#[derive(Debug)]
pub struct Site<'a> {
    /// Its name, from the stamp.
    pub name: &'static str,
    /// Who it is, once it has shown that on its console.
    pub id: DeviceId,
    /// The machine.
    pub device: Device<'a>,
}

impl<'a> Site<'a> {
    /// Puts the image on a machine with this serial number and powers it on.
    ///
    /// # Errors
    /// It does not come up.
    pub fn open(lab: &'a Lab, name: &'static str, number: u8, image: &Path) -> Result<Self> {
        let guest = Guest {
            serial: serial(name),
            mac: format!("52:54:00:5c:e4:{number:02x}"),
            wiring: Wiring::UserAndHost,
            company: Company::BesideOthers,
            ..Guest::new(&format!("vm-fleet-{name}"))
        };
        let mut device = Device::flashed(lab, guest, image)?;
        device.power_on()?;
        let id = device.id_on_console()?;
        Ok(Self { name, id, device })
    }

    /// Waits until the device's console says this of its hub.
    ///
    /// # Errors
    /// It does not.
    pub fn says_of_hub(&mut self, words: &str, seconds: u64) -> Result<String> {
        let patience = Patience::new(format!("`{words}` on the console of {}", self.name), seconds);
        let told = |line: &str| line.starts_with("     hub  ") && line.contains(words);
        self.device.machine().console().wait_for(&patience, told).context("the device does not say it")
    }
}

/// The serial number of the machine that a device of this name is for.
pub(super) fn serial(name: &str) -> String {
    format!("SERIAL-{}", name.to_uppercase())
}
