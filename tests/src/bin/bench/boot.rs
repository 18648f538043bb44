//! Boot time and memory of a device, over the floor: a static C PID 1 in the same machine with the same kernel.

use anyhow::{Context, Result};
use api::Role;
use api::v1::NodeMode;
use skerry_tests::device::Device;
use skerry_tests::figure::{Figure, median};
use skerry_tests::fleet::Credentials;
use skerry_tests::floor::{self, Floor};
use skerry_tests::harness::disk::DISK_BYTES;
use skerry_tests::harness::logs::Logs;
use skerry_tests::harness::{DirectKernel, Disk, Guest, Patience};
use skerry_tests::images::TestImage;
use skerry_tests::lab::{Lab, floor_kernel};

/// Boots of each kind; the figure is the ratio of their medians.
const BOOTS: usize = 5;

/// Kernel entry to an answering API, less the wait for DHCP, over kernel entry to the floor's PID 1.
///
/// The device has its configuration and its file systems: what is made once, on the first boot, is not in this figure.
///
/// Floor and device boot by turns, so that other work on the host slows both alike.
pub(crate) fn ratio(lab: &Lab) -> Result<Vec<Figure>> {
    let mut floor = FloorRig::new(lab)?;
    let mut device = Device::flashed(lab, Guest::new("bench-boot"), &lab.image(TestImage::Seeded))?;
    let admin = lab.fleet()?.certificate(Role::Admin, device.logs().folder())?;
    boot_to_api(&mut device, &admin)?; // the first boot, which makes the file systems
    let (mut floors, mut devices) = (Vec::new(), Vec::new());
    for _ in 0..BOOTS {
        floors.push(as_float(floor.measure()?.boottime_usec));
        devices.push(as_float(boot_to_api(&mut device, &admin)?));
    }
    eprintln!("bench: floor {floors:?} us, device {devices:?} us");
    let (floor, device) = (median(&floors).context("no floor")?, median(&devices).context("no boot")?);
    Ok(vec![Figure::new("boot_to_api_ratio", device / floor, "ratio").at_most(1.5)])
}

/// Memory in use in maintenance, before anything of containerd runs, over that of the floor.
pub(crate) fn memory(lab: &Lab) -> Result<Vec<Figure>> {
    let mut rig = FloorRig::new(lab)?;
    let floor = (0..BOOTS).map(|_| Ok(as_float(rig.measure()?.memory_available_bytes))).collect::<Result<Vec<f64>>>()?;
    let guest = Guest { balloon: true, ..Guest::new("bench-memory") };
    let mut device = Device::flashed(lab, guest, &lab.image(TestImage::Blank))?;
    device.power_on()?;
    device.node(None, None)?.wait_mode(NodeMode::Maintenance, &Patience::new("maintenance", 5))?;
    let available = device.machine().qmp().available_memory(&Patience::new("the balloon's report", 5))?;
    device.pull_the_plug()?;
    let used = median(&floor).context("no floor")? - as_float(available);
    Ok(vec![Figure::new("ram_before_containerd_bytes", used, "bytes")])
}

/// The floor's machine: the node's, disk attached, with another PID 1.
struct FloorRig<'a> {
    lab: &'a Lab,
    guest: Guest,
    logs: Logs,
    direct: DirectKernel,
    disk: Disk,
    run: u32,
}

impl<'a> FloorRig<'a> {
    fn new(lab: &'a Lab) -> Result<Self> {
        let guest = Guest { forwards: Vec::new(), ..Guest::new("bench-floor") };
        let logs = Logs::fresh(&guest.name).context("cannot make the log folder")?;
        let image = lab.image(TestImage::Seeded);
        let direct = floor_kernel(&image, &logs)?;
        let disk = Disk::from_image(&image, &logs.path("disk.img"), DISK_BYTES).context("cannot copy the image")?;
        Ok(Self { lab, guest, logs, direct, disk, run: 0 })
    }

    fn measure(&mut self) -> Result<Floor> {
        let rig = self.lab.rig(&self.logs);
        Ok(floor::measure(&self.guest, self.direct.clone(), &rig, &self.disk, &mut self.run)?)
    }
}

/// Boots the device, cuts its power again, and returns the time from kernel entry to the API less the wait for DHCP.
fn boot_to_api(device: &mut Device<'_>, admin: &Credentials) -> Result<u64> {
    device.power_on()?;
    let node = device.node(None, Some(admin))?;
    let patience = Patience::new("the time at which the API was ready", 10);
    let times = node.wait_until(&patience, |node| Ok(Some(node.boot_times()?).filter(|times| times.api_ready_usec > 0)))?;
    device.pull_the_plug()?;
    Ok(times.api_ready_usec.saturating_sub(times.dhcp_wait_usec))
}

/// Times and sizes are far below what a float holds exactly.
#[allow(clippy::cast_precision_loss, reason = "below 2^52")]
fn as_float(value: u64) -> f64 {
    value as f64
}
