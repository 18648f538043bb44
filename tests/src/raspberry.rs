//! Raspberry Pis as the emulator has them: what their firmware would do with an SD card, done by the harness.
//!
//! The firmware is code for another processor that no emulator runs. Everything after it is the card's own: U-Boot, the boot loader, the UKI.
//! Two machines show different halves. The emulated Pi 3 has a complete SD slot and serial ports, so the card starts there through U-Boot; the
//! emulated Pi 4 is the board's own chip, but the serial port that the image names stalls the kernel there, so U-Boot is followed until the kernel runs,
//! and kernel and RAM disk are started directly, with another port.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use imager::board::Architecture;
use imager::image::boot::uboot;

use crate::bootfiles::BootFiles;
use crate::device::Device;
use crate::esp::Esp;
use crate::harness::emulator::SerialPort;
use crate::harness::{Chassis, DirectKernel, DiskBus, Guest, NetworkCard, Patience, fetched};
use crate::lab::Lab;
use crate::picfg::PiConfig;

/// An SD card: the emulator takes only powers of two, and writing a large one's file system takes long there.
pub const CARD_BYTES: u64 = 512 << 20;

/// Between two questions to the emulator.
const PAUSE: Duration = Duration::from_secs(1);

/// The component with the device tree of the Pi 3, which no image carries.
pub const PI3_COMPONENT: &str = "rpi3-devicetree";
const PI3_TREE: &str = "bcm2837-rpi-3-b.dtb";

/// Devices of the Pi 4's tree that the emulator lacks and whose drivers stop the kernel.
const PI4_LACKS: [&str; 4] = ["interrupt-controller@7ef00100", "i2c@7ef04500", "i2c@7ef09500", "clock@7ef00000"];

/// Supplies of the Pi 4's SD card, switched by a chip that the emulator lacks.
const PI4_SUPPLIES: [&str; 2] = ["vqmmc-supply", "vmmc-supply"];
const PI4_CARD: &str = "/emmc2bus/mmc@7e340000";

/// The radio on the Pi 4's first serial port, which would take it away from the console.
const PI4_RADIO: &str = "/soc/serial@7e201000/bluetooth";

/// The serial console in the image's command line, and the one the emulated Pi 4 can do without stalling.
const PI4_CONSOLES: (&str, &str) = ("console=ttyS1,", "console=ttyAMA0,");

/// The serial console in a Pi 5's command line, and the one of the emulator's `virt`.
const PI5_CONSOLES: (&str, &str) = ("console=ttyAMA10,", "console=ttyAMA0,");

/// Fetches what the emulated Pis need and no image has.
pub fn fetch(images: &Path) -> Result<()> {
    fetched::fetch(images, PI3_COMPONENT, Architecture::Aarch64)
}

/// A Pi 3 for [`start_u_boot`].
pub fn pi3(name: &str) -> Guest {
    Guest { chassis: Chassis::RaspberryPi3, port: SerialPort::Second, ..pi(name) }
}

/// A Pi 4 for [`start_kernel`].
pub fn pi4(lab: &Lab, name: &str) -> Result<Guest> {
    let chassis = Chassis::RaspberryPi4;
    Ok(Guest { chassis, emulator: Some(lab.newer_emulator(chassis)?), ..pi(name) })
}

fn pi(name: &str) -> Guest {
    Guest { disk_bus: DiskBus::SdCard, card: Some(NetworkCard::Usb), ..Guest::new(name) }
}

/// The device tree of the Pi 3, made as the card's own are.
pub fn pi3_tree(lab: &Lab) -> Result<Vec<u8>> {
    let tree = fs::read(lab.images().join(PI3_COMPONENT).join(PI3_TREE)).context("cannot read the device tree of the Pi 3")?;
    Ok(uboot::close_prompt(&tree)?)
}

/// The device tree that a Pi 4's own card has for it.
pub fn pi4_tree(device: &Device<'_>) -> Result<Vec<u8>> {
    let esp = Esp::read(device.disk().path())?;
    let config = PiConfig::parse(esp.text("config.txt")?);
    let tree = config.values("device_tree").find(|(section, _)| *section == "pi4").context("config.txt knows no Pi 4")?;
    Ok(esp.file(tree.1)?.to_vec())
}

/// Has the machine start the program that `config.txt` of its own card names, as the firmware would, with this device tree.
pub fn start_u_boot(device: &mut Device<'_>, tree: Vec<u8>) -> Result<()> {
    let esp = Esp::read(device.disk().path())?;
    let config = PiConfig::parse(esp.text("config.txt")?);
    let program = config.kernel().context("config.txt names no kernel")?;
    let kernel = device.logs().path("u-boot.bin");
    fs::write(&kernel, esp.file(&program)?).context("cannot write U-Boot")?;
    let devicetree = device.logs().path("pi.dtb");
    fs::write(&devicetree, tree).context("cannot write the device tree")?;
    let direct = DirectKernel { kernel, initrd: None, devicetree: Some(devicetree), command_line: String::new() };
    device.rebuild(|guest| guest.kernel = Some(direct));
    Ok(())
}

/// Waits until a processor of the machine is in the kernel's half of the addresses, where neither U-Boot nor a loader is. The emulator has no event for
/// that; it is asked every second.
pub fn wait_for_kernel(device: &mut Device<'_>, patience: &Patience) -> Result<()> {
    let deadline = patience.deadline();
    while !is_in_kernel(&device.machine().qmp().monitor("info registers -a")?) {
        ensure!(Instant::now() < deadline, "the machine has not come to {patience}:\n{}", device.machine().console().tail());
        thread::sleep(PAUSE);
    }
    Ok(())
}

/// Whether a program counter (`PC=ffff800080012340`) of these registers is in the upper half.
fn is_in_kernel(registers: &str) -> bool {
    let counters = registers.split_whitespace().filter_map(|word| u64::from_str_radix(word.strip_prefix("PC=")?, 16).ok());
    counters.into_iter().any(|counter| counter >> 48 == 0xffff)
}

/// Has the machine start kernel and RAM disk of its own card's UKI, with the card's own device tree.
pub fn start_kernel(device: &mut Device<'_>) -> Result<()> {
    let devicetree = device.logs().path("pi4.dtb");
    fs::write(&devicetree, pi4_tree(device)?).context("cannot write the device tree")?;
    fit_to_emulator(&devicetree)?;
    hand_over(device, PI4_CONSOLES, Some(devicetree))
}

/// Has another arm64 machine start what a Pi 5's firmware would: kernel, RAM disk and command line of slot A. There is no emulated Pi 5.
pub fn start_slot(device: &mut Device<'_>) -> Result<()> {
    hand_over(device, PI5_CONSOLES, None)
}

/// Has the machine start kernel and RAM disk of its own disk, with the command line's serial console changed to one it has.
fn hand_over(device: &mut Device<'_>, consoles: (&str, &str), devicetree: Option<PathBuf>) -> Result<()> {
    let files = BootFiles::read(device.disk().path())?;
    let (kernel, initrd) = (device.logs().path("kernel"), device.logs().path("initramfs"));
    fs::write(&kernel, &files.kernel).context("cannot write the kernel")?;
    fs::write(&initrd, &files.initramfs).context("cannot write the initramfs")?;
    ensure!(files.command_line.contains(consoles.0), "the command line names no serial console: {}", files.command_line);
    let command_line = files.command_line.replace(consoles.0, consoles.1);
    let direct = DirectKernel { kernel, initrd: Some(initrd), devicetree, command_line };
    device.rebuild(|guest| guest.kernel = Some(direct));
    Ok(())
}

/// Takes out of the Pi 4's device tree what the emulator lacks. Only tests boot with such a tree.
fn fit_to_emulator(devicetree: &Path) -> Result<()> {
    for device in PI4_LACKS {
        fdtput(&["-t", "s"], devicetree, &[&format!("/soc/{device}"), "status", "disabled"])?;
    }
    for supply in PI4_SUPPLIES {
        fdtput(&["-d"], devicetree, &[PI4_CARD, supply])?;
    }
    fdtput(&["-r"], devicetree, &[PI4_RADIO])
}

fn fdtput(flags: &[&str], devicetree: &Path, arguments: &[&str]) -> Result<()> {
    let output = Command::new("fdtput").args(flags).arg(devicetree).args(arguments).output();
    let output = output.context("cannot run fdtput; `make setup` installs it")?;
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "cannot change the device tree at {}: {words}", arguments.join(" "));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_runs_where_no_loader_does() {
        assert!(!is_in_kernel("CPU#0\n PC=000000003bf74da0 X00=ffff800080012340\r\nCPU#1\n PC=000000000000030c X00=0"));
        assert!(is_in_kernel("CPU#0\n PC=000000003bf74da0 X00=0\r\nCPU#1\n PC=ffff800080012340 X00=0"));
    }
}
