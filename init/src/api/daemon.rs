//! `skerry.internal.v1.Daemon`: what apid asks besides forwarding calls.

use std::time::Instant;

use api::internal::daemon_server::Daemon;
use api::internal::{
    OfferConfigRequest, OfferConfigResponse, ProveToHubRequest, ProveToHubResponse, ReportHubRequest, ReportHubResponse,
    ReportListeningRequest, ReportListeningResponse, Settings, WatchSettingsRequest,
};
use futures_util::stream;
use tonic::{Request, Response, Status};

use super::Context;
use super::refusal::of_hub;
use super::streams::{Reply, until_down};
use crate::node::{ApidSettings, Applied, ApplyError, EventKind, HubStanding, HubState};

/// The service.
pub(super) struct DaemonService(pub(super) Context);

#[tonic::async_trait]
impl Daemon for DaemonService {
    type WatchSettingsStream = Reply<Settings>;

    async fn watch_settings(&self, _: Request<WatchSettingsRequest>) -> Result<Response<Self::WatchSettingsStream>, Status> {
        let mut settings = self.0.settings.clone();
        settings.mark_changed();
        let changes = stream::unfold(settings, async |mut settings| {
            loop {
                settings.changed().await.ok()?;
                let current = settings.borrow_and_update().as_ref().map(to_wire);
                if let Some(current) = current {
                    return Some((Ok(current), settings));
                }
            }
        });
        Ok(Response::new(until_down(&self.0.power, changes)))
    }

    async fn report_listening(
        &self,
        request: Request<ReportListeningRequest>,
    ) -> Result<Response<ReportListeningResponse>, Status> {
        let address = request.into_inner().address;
        self.0.node.times.api_ready();
        self.0.supervisor.report_ready("apid");
        self.0.node.events.record(EventKind::Service, "apid", &format!("listens on {address}"));
        Ok(Response::new(ReportListeningResponse {}))
    }

    async fn prove_to_hub(&self, request: Request<ProveToHubRequest>) -> Result<Response<ProveToHubResponse>, Status> {
        let ProveToHubRequest { nonce, exporter } = request.into_inner();
        let signature = self.0.hub.prove(&nonce, &exporter, Instant::now()).map_err(|error| of_hub(&error))?;
        Ok(Response::new(ProveToHubResponse { signature: signature.to_vec() }))
    }

    async fn offer_config(&self, request: Request<OfferConfigRequest>) -> Result<Response<OfferConfigResponse>, Status> {
        let outcome = self.0.hub.offer(request.into_inner().config, Instant::now()).await.map_err(|error| of_hub(&error))?;
        Ok(Response::new(judged(outcome, self.0.hub.generation())))
    }

    async fn report_hub(&self, request: Request<ReportHubRequest>) -> Result<Response<ReportHubResponse>, Status> {
        let request = request.into_inner();
        if let Some(state) = HubState::from_wire(request.state()) {
            self.0.hub.report(HubStanding::new(state, &request.address, &request.message), Instant::now());
        }
        Ok(Response::new(ReportHubResponse {}))
    }
}

/// What the hub is told of its offer.
fn judged(outcome: Result<Applied, ApplyError>, in_force: u64) -> OfferConfigResponse {
    match outcome {
        Ok(applied) => OfferConfigResponse { accepted: true, generation: applied.generation, ..Default::default() },
        Err(error) => OfferConfigResponse {
            accepted: false,
            code: error.code().to_owned(),
            message: error.to_string(),
            generation: in_force,
        },
    }
}

fn to_wire(settings: &ApidSettings) -> Settings {
    Settings {
        certificate_chain: settings.certificate_chain.clone(),
        private_key: settings.private_key.to_vec(),
        client_ca: settings.client_ca.clone().into_bytes(),
        maintenance: settings.maintenance,
        listen: settings.listen.clone(),
        device_id: settings.device_id.clone(),
        hub: settings.hub.clone(),
    }
}
