//! Boot time and memory of a device, over the floor: a static C PID 1 in the same machine with the same kernel.

use anyhow::{Context, Result};
use api::Role;
use api::v1::NodeMode;
use skerry_tests::device::Device;
use skerry_tests::figure::{Figure, median};
use skerry_tests::floor::{self, Floor};
use skerry_tests::harness::disk::DISK_BYTES;
use skerry_tests::harness::logs::Logs;
use skerry_tests::harness::{Disk, Guest, Patience};
use skerry_tests::images::TestImage;
use skerry_tests::lab::{Lab, floor_kernel};

/// Boots of each kind; the figure is the ratio of their medians.
const BOOTS: usize = 5;

/// Kernel entry to an answering API, less the wait for DHCP, over kernel entry to the floor's PID 1.
///
/// The device has its configuration and its file systems: what is made once, on the first boot, is not in this figure.
pub(crate) fn ratio(lab: &Lab) -> Result<Vec<Figure>> {
    let floor: Vec<f64> = floors(lab)?.iter().map(|floor| as_float(floor.boottime_usec)).collect();
    let device = device_boots(lab)?;
    let (floor, device) = (median(&floor).context("no floor")?, median(&device).context("no boot")?);
    eprintln!("bench: floor {floor} us, device {device} us");
    Ok(vec![Figure::new("boot_to_api_ratio", device / floor, "ratio").at_most(1.5)])
}

/// Memory in use in maintenance, before anything of containerd runs, over that of the floor.
pub(crate) fn memory(lab: &Lab) -> Result<Vec<Figure>> {
    let floor: Vec<f64> = floors(lab)?.iter().map(|floor| as_float(floor.memory_available_bytes)).collect();
    let guest = Guest { balloon: true, ..Guest::new("bench-memory") };
    let mut device = Device::flashed(lab, guest, &lab.image(TestImage::Blank))?;
    device.power_on()?;
    device.node(None, None)?.wait_mode(NodeMode::Maintenance, &Patience::new("maintenance", 5))?;
    let available = device.machine().qmp().available_memory(&Patience::new("the balloon's report", 5))?;
    device.pull_the_plug()?;
    let used = median(&floor).context("no floor")? - as_float(available);
    Ok(vec![Figure::new("ram_before_containerd_bytes", used, "bytes")])
}

fn floors(lab: &Lab) -> Result<Vec<Floor>> {
    let guest = Guest { forwards: Vec::new(), ..Guest::new("bench-floor") };
    let logs = Logs::fresh(&guest.name).context("cannot make the log folder")?;
    let image = lab.image(TestImage::Seeded);
    let direct = floor_kernel(&image, &logs)?;
    let disk = Disk::from_image(&image, &logs.path("disk.img"), DISK_BYTES).context("cannot copy the image")?;
    let mut run = 0;
    let measure = |_| Ok(floor::measure(&guest, direct.clone(), &lab.rig(&logs), &disk, &mut run)?);
    (0..BOOTS).map(measure).collect()
}

fn device_boots(lab: &Lab) -> Result<Vec<f64>> {
    let mut device = Device::flashed(lab, Guest::new("bench-boot"), &lab.image(TestImage::Seeded))?;
    let admin = lab.fleet()?.certificate(Role::Admin, device.logs().folder())?;
    let mut times = Vec::new();
    for boot in 0..=BOOTS {
        device.power_on()?;
        let node = device.node(None, Some(&admin))?;
        let patience = Patience::new("the time at which the API was ready", 10);
        let boot_times =
            node.wait_until(&patience, |node| Ok(Some(node.boot_times()?).filter(|times| times.api_ready_usec > 0)))?;
        let usec = boot_times.api_ready_usec.saturating_sub(boot_times.dhcp_wait_usec);
        if boot > 0 {
            times.push(as_float(usec));
        }
        device.pull_the_plug()?;
    }
    Ok(times)
}

/// Times and sizes are far below what a float holds exactly.
#[allow(clippy::cast_precision_loss, reason = "below 2^52")]
fn as_float(value: u64) -> f64 {
    value as f64
}
