//! `skerry.internal.v1.Daemon`: what apid asks besides forwarding calls.

use api::internal::daemon_server::Daemon;
use api::internal::{ReportListeningRequest, ReportListeningResponse, Settings, WatchSettingsRequest};
use futures_util::stream;
use tonic::{Request, Response, Status};

use super::Context;
use super::streams::{Reply, until_down};
use crate::node::{ApidSettings, EventKind};

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
}

fn to_wire(settings: &ApidSettings) -> Settings {
    Settings {
        certificate_chain: settings.certificate_chain.clone(),
        private_key: settings.private_key.to_vec(),
        client_ca: settings.client_ca.clone().into_bytes(),
        maintenance: settings.maintenance,
        listen: settings.listen.clone(),
        device_id: settings.device_id.clone(),
    }
}
