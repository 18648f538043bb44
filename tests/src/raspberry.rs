//! Raspberry Pis as the emulator has them: what their firmware would do with an SD card, done by the harness.
//!
//! The firmware is code for another processor that no emulator runs. Everything after it is the card's own: U-Boot, the boot loader, the UKI.
//! Two machines show different halves. The emulated Pi 3 has a complete SD slot and serial ports, so the card starts there through U-Boot; the
//! emulated Pi 4 is the board's own chip, but the serial port that the image names stalls the kernel there, so it gets kernel and RAM disk directly,
//! with another port.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use imager::board::Architecture;
use imager::image::boot::uboot;

use crate::bootfiles::BootFiles;
use crate::device::Device;
use crate::esp::Esp;
use crate::harness::emulator::SerialPort;
use crate::harness::{Chassis, DirectKernel, DiskBus, Guest, NetworkCard, fetched};
use crate::lab::Lab;
use crate::picfg::PiConfig;

/// An SD card: the emulator takes only powers of two, and writing a large one's file system takes long there.
pub const CARD_BYTES: u64 = 512 << 20;

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

/// Has the machine start what `config.txt` of its own card names, as the firmware would. The Pi 3's device tree is made as the card's own are.
pub fn start_u_boot(device: &mut Device<'_>, lab: &Lab) -> Result<()> {
    let esp = Esp::read(device.disk().path())?;
    let config = PiConfig::parse(esp.text("config.txt")?);
    let program = config.kernel().context("config.txt names no kernel")?;
    let kernel = device.logs().path("u-boot.bin");
    fs::write(&kernel, esp.file(&program)?).context("cannot write U-Boot")?;
    let tree = fs::read(lab.images().join(PI3_COMPONENT).join(PI3_TREE)).context("cannot read the device tree of the Pi 3")?;
    let devicetree = device.logs().path("pi3.dtb");
    fs::write(&devicetree, uboot::close_prompt(&tree)?).context("cannot write the device tree")?;
    let direct = DirectKernel { kernel, initrd: None, devicetree: Some(devicetree), command_line: String::new() };
    device.rebuild(|guest| guest.kernel = Some(direct));
    Ok(())
}

/// Has the machine start kernel and RAM disk of its own card's UKI, with the card's own device tree.
pub fn start_kernel(device: &mut Device<'_>) -> Result<()> {
    let card = device.disk().path();
    let esp = Esp::read(card)?;
    let config = PiConfig::parse(esp.text("config.txt")?);
    let tree = config.values("device_tree").find(|(section, _)| *section == "pi4").context("config.txt knows no Pi 4")?;
    let devicetree = device.logs().path("pi4.dtb");
    fs::write(&devicetree, esp.file(tree.1)?).context("cannot write the device tree")?;
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
