//! One hub on one database: devices enrol, stay, report, are called by operators, idle, and come back after an hour without their hub.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hub::model::DeviceFilter;
use hub::store::Store;
use skerry_tests::figure::Figure;
use skerry_tests::simulator::{HubProgram, ProgramOptions, Swarm, admit_all};

use super::{Record, idle, reconnect, tunnels};

/// Devices on their way to be admitted at any time.
const AT_ONCE: usize = 256;
/// Time for one device to be admitted, and for all of them to be written down.
const PATIENCE: Duration = Duration::from_secs(120);

/// Measures all of it, and keeps each figure as soon as it is there.
pub(crate) async fn measure(devices: u32, database: Option<String>, record: &mut Record) -> Result<()> {
    let suffix = if database.is_some() { "_postgres" } else { "" };
    let named = |figure: Figure| Figure { figure: format!("{}{suffix}", figure.figure).into(), ..figure };
    let folder = tempfile::tempdir()?;
    let program = HubProgram::start(ProgramOptions { database, devices: devices + 100, ..ProgramOptions::new(folder.path()) })?;
    let store = program.store().await?;
    let token = admit_all(&store, devices + 1).await?;
    let mut swarm = Swarm::default();
    // The first one warms up whatever is made once.
    swarm.add(devices..devices + 1, &program.make(&token), 1, PATIENCE).await?;
    for figure in enrol(&program, &mut swarm, devices, &token).await? {
        record.keep(&named(figure))?;
    }
    record.keep(&named(status_writes(&store, &swarm).await?))?;
    record.keep(&named(tunnels::version_calls(&program, &store, &swarm).await?))?;
    record.keep(&named(idle::bytes_per_day(&swarm).await?))?;
    // The clock is wound forward behind its back.
    drop(store);
    for figure in reconnect::after_an_hour(program, &swarm).await? {
        record.keep(&named(figure))?;
    }
    Ok(())
}

async fn enrol(program: &HubProgram, swarm: &mut Swarm, devices: u32, token: &str) -> Result<[Figure; 3]> {
    let before = program.resident()?;
    let begun = Instant::now();
    swarm.add(0..devices, &program.make(token), AT_ONCE, PATIENCE).await?;
    let seconds = begun.elapsed().as_secs_f64();
    let connected = swarm.tally.admitted();
    ensure!(connected == swarm.devices.len(), "only {connected} of {} devices are connected", swarm.devices.len());
    let each = program.resident()?.saturating_sub(before) / u64::from(devices);
    Ok([
        Figure::new("hub_enrolments_per_second", f64::from(devices) / seconds, "1/s").at_least(500.0),
        Figure::new("hub_connected_devices", f64::from(u32::try_from(connected)?), "devices").at_least(20_000.0),
        Figure::new("hub_bytes_per_device", f64::from(u32::try_from(each)?), "bytes"),
    ])
}

/// Every device becomes ill at the same moment and says so; the time until all of that is in the database.
async fn status_writes(store: &Store, swarm: &Swarm) -> Result<Figure> {
    let all = swarm.devices.len();
    let ill = async || {
        let filter = DeviceFilter { healthy: Some(false), limit: 1, ..DeviceFilter::default() };
        anyhow::Ok(usize::try_from(store.devices(&filter).await.context("cannot count devices")?.total)?)
    };
    // What was said at the beginning is written first, and devices report at most once in some seconds.
    tokio::time::sleep(Duration::from_secs(15)).await;
    ensure!(ill().await? == 0, "some devices are ill already");
    let begun = Instant::now();
    swarm.devices.iter().for_each(|(device, _)| device.set_healthy(false));
    while ill().await? < all {
        ensure!(begun.elapsed() < PATIENCE, "after {} s the database has {} of {all} reports", PATIENCE.as_secs(), ill().await?);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let rate = f64::from(u32::try_from(all)?) / begun.elapsed().as_secs_f64();
    Ok(Figure::new("hub_status_writes_per_second", rate, "1/s"))
}
