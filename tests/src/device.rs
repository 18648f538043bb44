//! One device over its life: a disk that stays, power that comes and goes, and the API when it is up.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result};
use machine_config::DeviceId;
use machine_config::disk::{Partition, SECTOR_BYTES};

use crate::filesystem;
use crate::fleet::Credentials;
use crate::harness::disk::DISK_BYTES;
use crate::harness::emulator::Cable;
use crate::harness::logs::Logs;
use crate::harness::{Booted, Disk, Guest, Machine, Patience, boot};
use crate::lab::Lab;
use crate::node::{Caller, Node};

/// A device with its disk. Fields are dropped in order: the machine before its disk.
#[derive(Debug)]
pub struct Device<'a> {
    booted: Option<Booted>,
    lab: &'a Lab,
    guest: Guest,
    logs: Logs,
    disk: Disk,
    run: u32,
}

impl<'a> Device<'a> {
    /// A device fresh from the warehouse: `image` flashed to its disk, never powered.
    pub fn flashed(lab: &'a Lab, guest: Guest, image: &Path) -> Result<Self> {
        Self::flashed_to(lab, guest, image, DISK_BYTES)
    }

    /// The same with a disk of `bytes`.
    pub fn flashed_to(lab: &'a Lab, guest: Guest, image: &Path, bytes: u64) -> Result<Self> {
        let logs = Logs::fresh(&guest.name).context("cannot make the log folder")?;
        let disk = Disk::from_image(image, &logs.path("disk.img"), bytes);
        let disk = disk.with_context(|| format!("cannot flash {} to a disk", image.display()))?;
        Ok(Self { booted: None, lab, guest, logs, disk, run: 0 })
    }

    /// A device with a disk that nobody ever wrote to.
    pub fn empty(lab: &'a Lab, guest: Guest) -> Result<Self> {
        let logs = Logs::fresh(&guest.name).context("cannot make the log folder")?;
        let disk = Disk::empty(&logs.path("disk.img"), DISK_BYTES).context("cannot make a disk")?;
        Ok(Self { booted: None, lab, guest, logs, disk, run: 0 })
    }

    /// Powers it on and waits until its console shows the status block for the first time.
    pub fn power_on(&mut self) -> Result<()> {
        self.power_on_until("  skerry  ", &Patience::new("the first status block on the console", 12))
    }

    /// Powers it on and waits until its console shows a line with `text`.
    pub fn power_on_until(&mut self, text: &str, patience: &Patience) -> Result<()> {
        let rig = self.lab.rig_for(&self.guest, &self.logs)?;
        let booted = boot(&self.guest, &rig, Some(&self.disk), &mut self.run, patience, |line| line.contains(text))?;
        self.booted = Some(booted);
        Ok(())
    }

    /// Moves the disk into other hardware, or changes that.
    ///
    /// # Panics
    /// When the device is powered on: a mistake in the test.
    pub fn rebuild(&mut self, change: impl FnOnce(&mut Guest)) {
        assert!(self.booted.is_none(), "hardware is changed while the device has no power");
        change(&mut self.guest);
    }

    /// The running machine.
    ///
    /// # Panics
    /// When the device has no power: a mistake in the test.
    pub fn machine(&mut self) -> &mut Machine {
        &mut self.booted.as_mut().expect("the device is powered on").machine
    }

    /// The device id as a technician reads it from the console.
    pub fn id_on_console(&mut self) -> Result<DeviceId> {
        let patience = Patience::new("the device id on the console", 5);
        let line = self.machine().console().wait_for(&patience, |line| id_in(line).is_some())?;
        Ok(id_in(&line).expect("the line was waited for"))
    }

    /// The host's port behind one of the guest's.
    pub fn port(&mut self, guest_port: u16) -> Result<u16> {
        self.machine().host_port(guest_port).with_context(|| format!("port {guest_port} is not forwarded"))
    }

    /// The API, as soon as it answers.
    pub fn node(&mut self, device: Option<&DeviceId>, credentials: Option<&Credentials>) -> Result<Node> {
        self.node_within(&Patience::new("the API", 10), device, credentials)
    }

    /// The API, as soon as it answers and within `patience`.
    pub fn node_within(
        &mut self,
        patience: &Patience,
        device: Option<&DeviceId>,
        credentials: Option<&Credentials>,
    ) -> Result<Node> {
        let port = self.port(api::DEFAULT_PORT)?;
        let caller =
            Caller { host: Ipv4Addr::LOCALHOST.into(), port, device: device.cloned(), credentials: credentials.cloned() };
        Node::connect_when_up(&caller, patience)
    }

    /// Plugs the network cable in or pulls it; without power, for the next start.
    pub fn set_cable(&mut self, cable: Cable) -> Result<()> {
        self.guest.cable = cable;
        match &mut self.booted {
            Some(booted) => Ok(booted.machine.set_cable(cable)?),
            None => Ok(()),
        }
    }

    /// Cuts the power, as if the plug were pulled.
    pub fn pull_the_plug(&mut self) -> Result<()> {
        match self.booted.take() {
            Some(booted) => Ok(booted.cut()?),
            None => Ok(()),
        }
    }

    /// Waits until the device has powered itself off.
    pub fn wait_power_off(&mut self) -> Result<()> {
        self.machine().wait_exit(&Patience::new("power-off", 15))?;
        self.booted = None;
        Ok(())
    }

    /// Presses the power button as a person does who wants the machine off: once more when nothing happens, for a press is lost on a system that does
    /// not listen yet.
    pub fn turn_off_by_button(&mut self) -> Result<()> {
        let patience = Patience::new("power-off by the button", 5);
        self.machine().press_power_button()?;
        if self.machine().wait_exit(&patience).is_err() {
            self.machine().press_power_button()?;
            self.machine().wait_exit(&patience)?;
        }
        self.booted = None;
        Ok(())
    }

    /// Changes one byte of a partition, as decay or an intruder would.
    ///
    /// # Panics
    /// When the device is powered on: a mistake in the test.
    pub fn damage(&mut self, partition: Partition, offset: u64) -> Result<()> {
        assert!(self.booted.is_none(), "a disk is damaged while the device has no power");
        let at = filesystem::find(self.disk.path(), partition)?.starting_lba * SECTOR_BYTES + offset;
        let file = File::options().read(true).write(true).open(self.disk.path())?;
        let mut byte = [0];
        file.read_exact_at(&mut byte, at)?;
        file.write_all_at(&[!byte[0]], at)?;
        Ok(())
    }

    /// Its disk, to be looked at while it has no power.
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Where its logs are.
    pub fn logs(&self) -> &Logs {
        &self.logs
    }

    /// Leaves it running after this program ends; returns the emulator's process id.
    pub fn leave_running(mut self) -> Option<u32> {
        let pid = self.booted.take().map(Booted::leave_running);
        self.disk.keep();
        pid
    }
}

/// The device id in a line of the status block: `      id  0123456789ab…`.
fn id_in(line: &str) -> Option<DeviceId> {
    line.trim().strip_prefix("id ")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_device_id_is_read_from_the_status_block() {
        let id = "ab".repeat(32);
        assert_eq!(id_in(&format!("      id  {id}")).unwrap().as_str(), id);
        assert!(id_in("  device  abababababab").is_none());
        assert!(id_in("  device  no identity yet").is_none());
    }
}
