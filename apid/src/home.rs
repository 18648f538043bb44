//! Phone home on a real device: init stands behind every question, and tunnels end in the same server as the network's connections.
//!
//! It holds nothing back and makes nothing up: what init does not answer is an error or a refusal with a code of its own.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use api::hub::v1::{ConfigOutcome, ResourceUse};
use api::internal::daemon_client::DaemonClient;
use api::internal::{HubState, OfferConfigRequest, ProveToHubRequest, ReportHubRequest};
use api::v1::node_client::NodeClient;
use api::v1::{
    EventsRequest, HardwareRequest, HardwareResponse, ResourcesRequest, ResourcesResponse, StatusRequest, StatusResponse,
};
use tokio::io::DuplexStream;
use tokio::sync::watch;
use tonic::transport::Channel;
use tracing::{info, warn};

use crate::forward::Forwarder;
use crate::phone_home::{Chain, EventQueue, Feed, HubReport, HubSettings, Node, Tcp};
use crate::places::Places;
use crate::server::{self, Origin};
use crate::settings::again_and_again;

/// Bytes between a tunnel and the server.
const PIPE_BYTES: usize = 16 << 10;
/// Events of the time before the hub is called that it is told.
const PAST_EVENTS: u32 = 256;
/// What a refusal of init carries its code in; without one the configuration could not be judged.
const UNAVAILABLE: &str = "unavailable";
/// Where DATA is mounted.
const DATA: &str = "/var";

/// Phones home for as long as the daemon lives.
pub(crate) async fn run(forwarder: Forwarder, places: Places) {
    let (settings, hub) = watch::channel(None);
    let (reports, reported) = watch::channel(None);
    let (status, status_seen) = watch::channel(None);
    let events = EventQueue::default();
    let device =
        Device { forwarder: forwarder.clone(), places, status: status_seen, events: events.clone(), reports: reports.clone() };
    // Not a secret: it only keeps devices apart.
    let seed = RandomState::new().hash_one(std::process::id());
    tokio::join!(
        read_settings(forwarder.settings.clone(), settings, reports),
        tell_init(forwarder.init.clone(), reported),
        feed(forwarder.init, hub.clone(), status, events),
        crate::phone_home::run(hub, Arc::new(device), Arc::new(Tcp), seed),
    );
}

/// Keeps the hub's settings equal to what init says. Settings that name no hub that could be called count as none, and init is told why.
async fn read_settings(
    mut wire: watch::Receiver<Option<api::internal::Settings>>,
    settings: watch::Sender<Option<HubSettings>>,
    reports: watch::Sender<Option<HubReport>>,
) {
    loop {
        let hub = wire.borrow_and_update().as_ref().and_then(|settings| settings.hub.clone());
        let read = hub.as_ref().map(HubSettings::from_wire).transpose().unwrap_or_else(|error| {
            let message = Chain(&error).to_string();
            warn!(message, "the hub's settings cannot be used");
            reports.send_replace(Some(HubReport { state: HubState::Unreachable, message, address: String::new() }));
            None
        });
        settings.send_if_modified(|present| {
            let differs = *present != read;
            *present = read;
            differs
        });
        if wire.changed().await.is_err() {
            return;
        }
    }
}

/// Passes on how it stands with the hub; what is overtaken meanwhile is not told.
async fn tell_init(init: Channel, mut reports: watch::Receiver<Option<HubReport>>) {
    while reports.changed().await.is_ok() {
        let Some(HubReport { state, message, address }) = reports.borrow_and_update().clone() else { continue };
        let request = ReportHubRequest { state: state.into(), message, address };
        if let Err(status) = DaemonClient::new(init.clone()).report_hub(request).await {
            info!(%status, "cannot tell init how it stands with the hub");
        }
    }
}

/// Follows status and events of init from the moment a hub is configured.
async fn feed(
    init: Channel,
    mut hub: watch::Receiver<Option<HubSettings>>,
    status: watch::Sender<Option<StatusResponse>>,
    events: EventQueue,
) {
    if hub.wait_for(Option::is_some).await.is_err() {
        return;
    }
    let seen = AtomicU64::new(0);
    tokio::join!(
        again_and_again("status", || follow_status(init.clone(), &status)),
        again_and_again("events", || follow_events(init.clone(), &events, &seen)),
    );
}

async fn follow_status(init: Channel, status: &watch::Sender<Option<StatusResponse>>) -> Result<(), tonic::Status> {
    let mut stream = NodeClient::new(init).watch_status(StatusRequest {}).await?.into_inner();
    while let Some(message) = stream.message().await? {
        status.send_replace(Some(message));
    }
    Ok(())
}

async fn follow_events(init: Channel, events: &EventQueue, seen: &AtomicU64) -> Result<(), tonic::Status> {
    let mut stream = NodeClient::new(init).events(EventsRequest { follow: true, tail: PAST_EVENTS }).await?.into_inner();
    while let Some(event) = stream.message().await? {
        // A stream that begins anew tells the past again.
        if seen.fetch_max(event.sequence, Ordering::Relaxed) < event.sequence {
            events.push(event);
        }
    }
    Ok(())
}

/// The device that apid runs on.
struct Device {
    forwarder: Forwarder,
    places: Places,
    status: watch::Receiver<Option<StatusResponse>>,
    events: EventQueue,
    reports: watch::Sender<Option<HubReport>>,
}

impl Device {
    fn daemon(&self) -> DaemonClient<Channel> {
        DaemonClient::new(self.forwarder.init.clone())
    }

    fn node(&self) -> NodeClient<Channel> {
        NodeClient::new(self.forwarder.init.clone())
    }
}

impl Node for Device {
    type Tunnel = DuplexStream;

    async fn prove(&self, nonce: [u8; 32], exporter: [u8; 32]) -> Result<[u8; 64], String> {
        let request = ProveToHubRequest { nonce: nonce.to_vec(), exporter: exporter.to_vec() };
        let answer =
            self.daemon().prove_to_hub(request).await.map_err(|status| words("init does not sign the proof", &status))?;
        answer.into_inner().signature.try_into().map_err(|_| "init's signature has a wrong length".into())
    }

    async fn hardware(&self) -> Result<HardwareResponse, String> {
        let answer = self.node().hardware(HardwareRequest {}).await;
        answer.map(tonic::Response::into_inner).map_err(|status| words("init does not tell the hardware", &status))
    }

    async fn offer_config(&self, config: Vec<u8>) -> ConfigOutcome {
        match self.daemon().offer_config(OfferConfigRequest { config }).await {
            Ok(answer) => {
                let api::internal::OfferConfigResponse { accepted, code, message, generation } = answer.into_inner();
                ConfigOutcome { digest: String::new(), accepted, code, message, generation }
            }
            Err(status) => {
                let code = status.metadata().get(api::ERROR_CODE_METADATA).and_then(|code| code.to_str().ok());
                let code = code.unwrap_or(UNAVAILABLE).to_owned();
                ConfigOutcome { code, message: words("init did not judge it", &status), ..ConfigOutcome::default() }
            }
        }
    }

    async fn resources(&self) -> Option<ResourceUse> {
        let answer = self.node().resources(ResourcesRequest {}).await.ok()?;
        Some(resource_use(&answer.into_inner()))
    }

    fn feed(&self) -> Feed {
        Feed { status: self.status.clone(), events: self.events.clone() }
    }

    fn open_tunnel(&self, who: &str) -> Result<DuplexStream, String> {
        let (ours, servers) = tokio::io::duplex(PIPE_BYTES);
        if server::serve_one(servers, Origin::Hub(who.to_owned()), self.forwarder.clone(), &self.places) {
            info!(who, "tunnel opened");
            Ok(ours)
        } else {
            Err("the device serves as many connections as it can; try again later".into())
        }
    }

    fn report(&self, report: HubReport) {
        self.reports.send_replace(Some(report));
    }
}

fn words(what: &str, status: &tonic::Status) -> String {
    format!("{what}: {}", status.message())
}

/// The few numbers of a heartbeat.
fn resource_use(resources: &ResourcesResponse) -> ResourceUse {
    let mib = |bytes: u64| u32::try_from(bytes >> 20).unwrap_or(u32::MAX);
    let load = |cpu: &api::v1::Cpu| cpu.load1 * 100.0 / f64::from(cpu.count.max(1));
    let data = resources.mounts.iter().find(|mount| mount.target == DATA);
    ResourceUse {
        // A float becomes the nearest whole number that fits; what is no number becomes 0.
        load_percent: resources.cpu.as_ref().map_or(0.0, load) as u32,
        memory_available_mib: resources.memory.as_ref().map_or(0, |memory| mib(memory.available_bytes)),
        data_available_mib: data.map_or(0, |mount| mib(mount.available_bytes)),
    }
}

#[cfg(test)]
mod tests {
    use api::v1::{Cpu, Memory, Mount};

    use super::*;

    #[test]
    fn a_heartbeat_has_the_numbers_in_its_own_units() {
        let resources = ResourcesResponse {
            cpu: Some(Cpu { count: 4, load1: 2.0, ..Cpu::default() }),
            memory: Some(Memory { available_bytes: 3 << 30, ..Memory::default() }),
            mounts: vec![Mount { target: "/var".into(), available_bytes: 5 << 20, ..Mount::default() }],
            ..ResourcesResponse::default()
        };
        let used = ResourceUse { load_percent: 50, memory_available_mib: 3072, data_available_mib: 5 };
        assert_eq!(resource_use(&resources), used);
        assert_eq!(resource_use(&ResourcesResponse::default()), ResourceUse::default());
    }
}
