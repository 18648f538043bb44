//! Forms of an image that run from RAM, started in the ways that no other story starts them: by another processor's firmware, and by a boot loader that
//! takes kernel and initramfs apart.

use std::fs;

use anyhow::{Context, Result, ensure};
use api::Role;
use api::v1::NodeMode;
use imager::board::Format;
use skerry_tests::config::HELLO_PORT;
use skerry_tests::device::Device;
use skerry_tests::greeting::{Pace, wait_for_greeting};
use skerry_tests::harness::hardware::{Medium, MediumOrder, MediumSort};
use skerry_tests::harness::{Chassis, DirectKernel, Guest, Patience};
use skerry_tests::images::TestImage;
use skerry_tests::lab::Lab;
use skerry_tests::medium;
use skerry_tests::story::step;

/// An arm64 guest, emulated on another processor.
const ARM: Pace = Pace(2);

#[test]
fn a_disc_runs_an_arm64_machine_from_ram_to_a_container() {
    let Some(lab) = Lab::open_or_skip() else { return };
    let mut device = Device::empty(&lab, Guest { chassis: Chassis::ARM, ..guest("vm-formats-disc") }).unwrap();
    step("a disc is made of the machine's image, its configuration in it", || {
        let image = medium::make(&lab.image(TestImage::QemuAarch64), Format::Iso, &device.logs().path("medium.iso"))?;
        device.rebuild(|guest| guest.medium = Some(Medium { image, sort: MediumSort::Cd, order: MediumOrder::First }));
        Ok(())
    });
    step("the machine runs from it, and its containers too", || runs_from_ram(&lab, &mut device, ARM));
}

#[test]
fn a_nuc_s_netboot_archive_runs_through_any_loader_to_a_container() {
    let Some(lab) = Lab::open_or_skip() else { return };
    let mut device = Device::empty(&lab, guest("vm-formats-netboot")).unwrap();
    step("an archive is made of the NUC's image, and unpacked", || {
        let archive = medium::make(&lab.image(TestImage::Nuc), Format::Pxe, &device.logs().path("nuc.pxe.tar"))?;
        let folder = medium::unpack(&archive)?;
        let command_line = fs::read_to_string(folder.join("cmdline"))?;
        // The NUC has no serial console.
        let command_line = format!("{} console=ttyS0", command_line.trim());
        let (kernel, initrd) = (folder.join("vmlinuz"), Some(folder.join("initramfs")));
        device.rebuild(|guest| guest.kernel = Some(DirectKernel { kernel, initrd, devicetree: None, command_line }));
        Ok(())
    });
    step("its kernel and initramfs run the machine, and its containers too", || runs_from_ram(&lab, &mut device, Pace::USUAL));
}

fn guest(name: &str) -> Guest {
    Guest { memory_mib: 1536, forwards: vec![api::DEFAULT_PORT, HELLO_PORT], ..Guest::new(name) }
}

/// From power-on to a container, in RAM, with nothing written to the disk.
fn runs_from_ram(lab: &Lab, device: &mut Device<'_>, pace: Pace) -> Result<()> {
    let before = device.disk().fingerprint()?;
    device.power_on_until("running from RAM", &pace.patience("the system in RAM", 20))?;
    let admin = lab.fleet()?.certificate(Role::Admin, device.logs().folder())?;
    let node = device.node_within(&pace.patience("the API", 15), None, Some(&admin))?;
    let status = node.wait_mode(NodeMode::Configured, &Patience::new("the configuration from SEED", 5))?;
    ensure!(status.runs_from == "RAM", "{status:?}");
    wait_for_greeting(device, &node, pace)?;
    drop(node);
    device.pull_the_plug()?;
    ensure!(device.disk().fingerprint().context("cannot read the disk")? == before, "the disk was written to");
    Ok(())
}
