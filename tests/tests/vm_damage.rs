//! What decay or an intruder changed on the disk is not run, and the device says so.

use anyhow::{Result, ensure};
use api::Role;
use api::v1::{NodeMode, PhaseState};
use machine_config::disk::Partition;
use skerry_tests::device::Device;
use skerry_tests::fleet::Credentials;
use skerry_tests::harness::{Guest, Patience};
use skerry_tests::images::TestImage;
use skerry_tests::lab::Lab;
use skerry_tests::story::step;

#[test]
fn a_changed_runtime_image_is_not_run() {
    let Some(lab) = Lab::open_or_skip() else { return };
    let fleet = lab.fleet().unwrap();
    let mut device = Device::flashed(&lab, Guest::new("vm-damage"), &lab.image(TestImage::Seeded)).unwrap();
    let admin = fleet.certificate(Role::Admin, device.logs().folder()).unwrap();
    step("one byte of the runtime image and one copy of SEED are changed", || {
        device.damage(Partition::RuntimeA, 40)?; // in the file system's superblock
        device.damage(Partition::Seed, 64)
    });
    step("the device boots, with the configuration in the other copy of SEED", || boots(&mut device, &admin));
    step("it names what is wrong, runs none of it, and can be reached", || says_so(&mut device, &admin));
    step("the power button still turns it off in order", || device.turn_off_by_button());
}

fn boots(device: &mut Device<'_>, admin: &Credentials) -> Result<()> {
    device.power_on()?;
    let node = device.node(None, Some(admin))?;
    let status = node.wait_mode(NodeMode::Configured, &Patience::new("the configuration from SEED", 5))?;
    ensure!(status.config_generation == 1, "{status:?}");
    Ok(())
}

fn says_so(device: &mut Device<'_>, admin: &Credentials) -> Result<()> {
    let node = device.node(None, Some(admin))?;
    let failed = node.wait_until(&Patience::new("the failed phase `volumes`", 10), |node| {
        let phases = node.boot_times()?.phases;
        Ok(phases.into_iter().find(|phase| phase.name == "volumes" && phase.state() == PhaseState::Failed))
    })?;
    ensure!(!failed.error.is_empty(), "the phase does not say why it failed");
    let status = node.status()?;
    ensure!(!status.healthy && status.errors.iter().any(|error| error.contains("volumes")), "the status hides it: {status:?}");
    let services = node.services()?;
    let started: Vec<_> =
        services.iter().filter(|service| service.name != "apid" && service.pid != 0).map(|service| &service.name).collect();
    ensure!(started.is_empty(), "it runs {started:?} from a changed image");
    Ok(())
}
