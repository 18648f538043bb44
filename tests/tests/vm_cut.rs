//! The power fails while a device makes itself at home on its disk, again and again; then it is left alone and must work.

use anyhow::{Result, ensure};
use api::Role;
use api::v1::{NodeMode, ServiceState};
use skerry_tests::device::Device;
use skerry_tests::filesystem;
use skerry_tests::fleet::Credentials;
use skerry_tests::harness::{Guest, Patience};
use skerry_tests::images::TestImage;
use skerry_tests::lab::Lab;
use skerry_tests::story::step;

/// When the power fails: what the console has just shown.
const CUTS: [(&str, &str); 4] = [
    ("the partition table is brought up to date", "bringing the partition table up to date"),
    ("the file system of STATE is made", "making the file system partition=STATE"),
    ("the file system of DATA is made", "making the file system partition=DATA"),
    ("images are imported", "service=images"),
];

#[test]
fn a_first_boot_may_be_cut_off_at_any_step() {
    let Some(lab) = Lab::open_or_skip() else { return };
    let fleet = lab.fleet().unwrap();
    let mut device = Device::flashed(&lab, Guest::new("vm-cut"), &lab.image(TestImage::Seeded)).unwrap();
    let admin = fleet.certificate(Role::Admin, device.logs().folder()).unwrap();
    for (moment, line) in CUTS {
        step(format!("the power fails while {moment}"), || {
            device.power_on_until(line, &Patience::new(format!("`{line}`"), 25))?;
            device.pull_the_plug()
        });
    }
    step("left alone, it comes up with its configuration and runs its services", || works(&mut device, &admin));
    step("its file systems are whole", || filesystem::check_all(device.disk().path()));
}

fn works(device: &mut Device<'_>, admin: &Credentials) -> Result<()> {
    device.power_on()?;
    let node = device.node(None, Some(admin))?;
    let status = node.wait_mode(NodeMode::Configured, &Patience::new("the configuration from SEED", 5))?;
    ensure!(status.config_generation == 1 && status.hostname == "box-1", "{status:?}");
    node.wait_service("k3s", ServiceState::Ready, &Patience::new("every service", 40))?;
    node.call(|client| async move { client.power_off(api::v1::PowerOffRequest {}).await })?;
    device.wait_power_off()
}
