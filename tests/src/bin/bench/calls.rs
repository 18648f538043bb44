//! A running device: memory of PID 1 and of the API daemon, and how long a call takes.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use api::Role;
use api::v1::{Process, ServiceState, VersionRequest};
use skerry_tests::device::Device;
use skerry_tests::figure::{Figure, percentile};
use skerry_tests::harness::{Guest, Patience};
use skerry_tests::images::TestImage;
use skerry_tests::lab::Lab;
use skerry_tests::node::Node;

const MIB: f64 = 1024.0 * 1024.0;

/// Calls whose times make the percentiles, after as many that warm caches up.
const CALLS: usize = 500;

/// All figures of one running device.
pub(crate) fn running(lab: &Lab) -> Result<Vec<Figure>> {
    let mut device = Device::flashed(lab, Guest::new("bench-running"), &lab.image(TestImage::Seeded))?;
    let admin = lab.fleet()?.certificate(Role::Admin, device.logs().folder())?;
    device.power_on()?;
    let node = device.node(None, Some(&admin))?;
    node.wait_service("k3s", ServiceState::Ready, &Patience::new("every service", 40))?;
    let times = call_times(&node)?;
    let processes = node.processes()?;
    let figures = vec![
        Figure::new("pid1_rss_bytes", resident(&processes, "PID 1", |process| process.pid == 1)?, "bytes").at_most(6.0 * MIB),
        Figure::new("apid_rss_bytes", resident(&processes, "apid", |process| process.command.contains("apid"))?, "bytes")
            .at_most(10.0 * MIB),
        Figure::new("api_unary_p50_ms", percentile(&times, 0.5).context("no calls")?, "ms"),
        Figure::new("api_unary_p99_ms", percentile(&times, 0.99).context("no calls")?, "ms"),
    ];
    device.pull_the_plug()?;
    Ok(figures)
}

fn resident(processes: &[Process], what: &str, wanted: impl Fn(&Process) -> bool) -> Result<f64> {
    let process = processes.iter().find(|process| wanted(process)).with_context(|| format!("there is no {what}"))?;
    ensure!(process.rss_bytes > 0, "the node does not know the memory of {what}");
    #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
    Ok(process.rss_bytes as f64)
}

fn call_times(node: &Node) -> Result<Vec<f64>> {
    let mut times = Vec::with_capacity(CALLS);
    for call in 0..2 * CALLS {
        let start = Instant::now();
        node.call(|client| async move { client.version(VersionRequest {}).await })?;
        if call >= CALLS {
            times.push(start.elapsed().as_secs_f64() * 1000.0);
        }
    }
    Ok(times)
}
