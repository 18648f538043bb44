//! Two processes of the hub on one database, each the first choice of half of the devices; one is killed.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use skerry_tests::figure::{Figure, percentile};
use skerry_tests::simulator::{HubProgram, Make, ProgramOptions, Swarm, admit_all};
use tokio::time::Instant;

const PATIENCE: Duration = Duration::from_secs(120);
const AT_ONCE: usize = 128;

/// How long 99 % of the devices of the killed process were without a hub.
pub(crate) async fn measure(devices: u32, database: String) -> Result<[Figure; 1]> {
    let (one, two) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let options =
        |folder: &tempfile::TempDir| ProgramOptions { database: Some(database.clone()), ..ProgramOptions::new(folder.path()) };
    let first = HubProgram::start(options(&one))?;
    fs::copy(one.path().join("hub.key"), two.path().join("hub.key")).context("cannot copy the hub's key")?;
    let second = HubProgram::start(options(&two))?;
    let token = admit_all(&first.store().await?, devices).await?;
    let make = |here: &HubProgram, there: &HubProgram| {
        let make = here.make(&token);
        Make { hubs: [make.hubs, there.make("").hubs].concat(), ..make }
    };
    let (mut staying, mut losing) = (Swarm::default(), Swarm::default());
    losing.add(0..devices / 2, &make(&first, &second), AT_ONCE, PATIENCE).await?;
    staying.add(devices / 2..devices, &make(&second, &first), AT_ONCE, PATIENCE).await?;
    let killed = Instant::now();
    drop(first);
    let all = losing.devices.len();
    ensure!(losing.tally.wait_for(PATIENCE, |admitted| admitted < all).await, "nobody noticed");
    ensure!(losing.tally.wait_for(PATIENCE, |admitted| admitted == all).await, "{} of {all} came back", losing.tally.admitted());
    let mut times = Vec::with_capacity(all);
    for (device, _) in &losing.devices {
        let standing = device.standing().borrow().clone();
        ensure!(standing.admissions == 2, "a device was admitted {} times", standing.admissions);
        times.push((standing.since - killed).as_secs_f64());
    }
    for (device, _) in &staying.devices {
        ensure!(device.standing().borrow().admissions == 1, "a device of the other process lost its session");
    }
    let seconds = percentile(&times, 0.99).context("no devices")?;
    Ok([Figure::new("hub_replica_killed_back_99_seconds", seconds, "s").at_most(60.0)])
}
