//! The hub is gone for an hour of the devices' time, and then there again: how soon are they back?

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use apid::phone_home::backoff::LONGEST;
use skerry_tests::figure::{Figure, percentile};
use skerry_tests::simulator::{HubProgram, Swarm};
use tokio::time::Instant;

/// How long the hub is gone.
const GONE: Duration = Duration::from_secs(3600);
/// Time for the devices to notice that it is.
const NOTICE: Duration = Duration::from_secs(60);
/// Time for 99 % of them after the last one's back-off allowed it.
const ALLOWED: Duration = Duration::from_secs(60);

/// Kills the hub, winds the devices' clock forward while their back-off grows, starts the hub again, and waits in real time.
pub(crate) async fn after_an_hour(program: HubProgram, swarm: &Swarm) -> Result<[Figure; 2]> {
    let all = swarm.tally.admitted();
    let options = program.kill()?;
    ensure!(swarm.tally.wait_for(NOTICE, |admitted| admitted == 0).await, "not all devices notice that the hub is gone");
    tokio::time::pause();
    tokio::time::sleep(GONE).await;
    tokio::time::resume();
    for (_, network) in &swarm.devices {
        network.take_first_call(); // those of the hour do not count
    }
    let back = Instant::now();
    let _program = HubProgram::start(options)?;
    let reached = swarm.tally.wait_for(LONGEST + 5 * ALLOWED, |admitted| admitted == all).await;
    ensure!(reached, "only {} of {all} devices came back", swarm.tally.admitted());
    let mut since_back = Vec::with_capacity(all);
    let mut since_call = Vec::with_capacity(all);
    for (device, network) in &swarm.devices {
        let admitted = device.standing().borrow().since;
        since_back.push((admitted - back).as_secs_f64());
        since_call.push((admitted - network.take_first_call().context("a device came back without a call")?).as_secs_f64());
    }
    let of = |times: &[f64]| percentile(times, 0.99).context("no devices");
    Ok([
        Figure::new("hub_reconnect_99_seconds", of(&since_back)?, "s").at_most((LONGEST + ALLOWED).as_secs_f64()),
        Figure::new("hub_reconnect_after_call_99_seconds", of(&since_call)?, "s").at_most(ALLOWED.as_secs_f64()),
    ])
}
