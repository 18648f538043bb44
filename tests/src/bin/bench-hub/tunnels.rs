//! Calls of an operator to devices, through the hub, with `skerryctl`'s own client.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use api::v1::VersionRequest;
use client::{Made, NodeClient, Place, Trust, connect_over};
use ctl::hub::{Hub, HubTrust};
use hub::people::Role;
use hub::store::{NewApiToken, Store};
use machine_config::DeviceId;
use machine_config::types::Digest;
use skerry_tests::figure::{Figure, percentile};
use skerry_tests::simulator::{HubProgram, Swarm, host};

/// Devices that are called.
const DEVICES: usize = 20;
/// Calls to each of them, after one that is not counted.
const CALLS: usize = 100;
/// Time for a connection, and for a call.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The 99th percentile of `Version` through the hub, while all devices are connected.
pub(crate) async fn version_calls(program: &HubProgram, store: &Store, swarm: &Swarm) -> Result<Figure> {
    let new = NewApiToken { name: "bench".into(), role: Role::Reader, scopes: Default::default(), expires_at: None };
    let (_, token) = store.create_api_token(new, &Default::default(), &host()).await?;
    let pin: Digest = hex::encode(program.pin).parse().ok().context("a pin is 64 digits")?;
    let url = format!("https://{}", program.options.listen).parse().map_err(anyhow::Error::msg)?;
    let hub = Hub { url, trust: HubTrust::Pin(pin), token: Some(token), timeout: TIMEOUT };
    let mut times = Vec::with_capacity(DEVICES * CALLS);
    let step = (swarm.devices.len() / DEVICES).max(1);
    for (device, _) in swarm.devices.iter().step_by(step).take(DEVICES) {
        let node = reach(&hub, device.id()).await?;
        node.version(VersionRequest {}).await?;
        for _ in 0..CALLS {
            let begun = Instant::now();
            node.version(VersionRequest {}).await?;
            times.push(begun.elapsed().as_secs_f64() * 1000.0);
        }
    }
    Ok(Figure::new("hub_tunnel_unary_p99_ms", percentile(&times, 0.99).context("no calls")?, "ms"))
}

async fn reach(hub: &Hub, device: DeviceId) -> Result<NodeClient> {
    let stream = hub.tunnel(&device).await?;
    let place = Place::Hub { device: device.to_string(), hub: hub.url.to_string() };
    Ok(connect_over(Made { stream, place, trust: Trust::Device(device), identity: None, timeout: TIMEOUT }).await?)
}
