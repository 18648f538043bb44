//! What idle devices cost on the line.

use std::time::Duration;

use anyhow::{Result, ensure};
use skerry_tests::figure::Figure;
use skerry_tests::simulator::Swarm;

/// What was changed before is told in this time.
const SETTLE: Duration = Duration::from_secs(20);
/// Two heartbeats of each device.
const WATCHED: Duration = Duration::from_secs(293);
const DAY: Duration = Duration::from_secs(86_400);
/// 10 MB a month.
const BOUND: f64 = 10e6 / 30.0;

/// Watches all of them and gives the mean of one in a day, with what TCP and IP add.
pub(crate) async fn bytes_per_day(swarm: &Swarm) -> Result<Figure> {
    tokio::time::sleep(SETTLE).await;
    let connected = swarm.tally.admitted();
    let before = swarm.traffic.bytes();
    tokio::time::sleep(WATCHED).await;
    let bytes = swarm.traffic.bytes() - before;
    ensure!(swarm.tally.admitted() == connected, "devices came or went while they were watched");
    #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
    let each = bytes as f64 / connected as f64;
    Ok(Figure::new("device_idle_bytes_per_day", each * DAY.as_secs_f64() / WATCHED.as_secs_f64(), "bytes").at_most(BOUND))
}
