//! `skerry.v1.Node`: each method asks the part of init that knows, and records who called when it changes something.

use std::path::Path;
use std::time::{Duration, Instant};

use api::v1::node_server::Node;
use api::v1::*;
use futures_util::StreamExt;
use tonic::{Code, Request, Response, Status};

use super::caller::Caller;
use super::refusal::{of_apply, of_restart, refusal};
use super::streams::{self, Reply, until_down};
use super::survey::Survey;
use super::{Context, containers, kmsg, wire};
use crate::node::{EventKind, PowerKind};

/// How long the answer to Reboot and PowerOff has to reach the caller before apid is stopped.
const ANSWER_GRACE: Duration = Duration::from_millis(200);

/// The service.
pub(super) struct NodeService(Context, Survey);

impl NodeService {
    pub(super) fn new(context: Context) -> Self {
        Self(context, Survey::default())
    }

    fn record(&self, method: &str, caller: &Caller, what: &str) {
        self.0.node.events.record(EventKind::Call, method, &format!("{what}, asked by {caller}"));
    }

    fn go_down(&self, kind: PowerKind, caller: &Caller) {
        self.record("power", caller, kind.as_str());
        let (power, by) = (self.0.power.clone(), caller.to_string());
        tokio::spawn(async move {
            tokio::time::sleep(ANSWER_GRACE).await;
            power.request(kind, &by);
        });
    }

    fn boot_disk(&self) -> String {
        self.0.node.status.get().runs_from.disk().to_owned()
    }
}

#[tonic::async_trait]
impl Node for NodeService {
    type WatchStatusStream = Reply<StatusResponse>;
    type LogsStream = Reply<LogLine>;
    type KmsgStream = Reply<KmsgLine>;
    type EventsStream = Reply<Event>;

    async fn version(&self, _: Request<VersionRequest>) -> Result<Response<VersionResponse>, Status> {
        Ok(Response::new(wire::version(&self.0)))
    }

    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        Ok(Response::new(wire::status(&self.0)))
    }

    async fn hardware(&self, _: Request<HardwareRequest>) -> Result<Response<HardwareResponse>, Status> {
        let (disk, read) = (self.boot_disk(), self.0.inventory.hardware);
        self.1.ask(move || read(&disk)).await.map(Response::new)
    }

    async fn watch_status(&self, _: Request<StatusRequest>) -> Result<Response<Self::WatchStatusStream>, Status> {
        Ok(Response::new(until_down(&self.0.power, streams::statuses(self.0.clone()))))
    }

    async fn apply_config(&self, request: Request<ApplyConfigRequest>) -> Result<Response<ApplyConfigResponse>, Status> {
        let caller = Caller::of(request.metadata());
        let ApplyConfigRequest { config, dry_run } = request.into_inner();
        let outcome = self.0.config.apply(config, dry_run, &caller.to_string()).await;
        let verdict = match &outcome {
            Ok(applied) if applied.already_in_force => format!("generation {} offered again", applied.generation),
            Ok(applied) if dry_run => format!("generation {} tried without effect", applied.generation),
            Ok(applied) => format!("generation {} accepted", applied.generation),
            Err(error) => format!("a configuration refused ({})", error.code()),
        };
        self.record("ApplyConfig", &caller, &verdict);
        outcome.map(|applied| Response::new(wire::applied(applied))).map_err(|error| of_apply(&error))
    }

    async fn get_config(&self, _: Request<GetConfigRequest>) -> Result<Response<GetConfigResponse>, Status> {
        let none = || refusal(Code::FailedPrecondition, "no-config", "no configuration is in force: apply a signed one first");
        let in_force = self.0.config.current().ok_or_else(none)?;
        Ok(Response::new(wire::config(&in_force)))
    }

    async fn services(&self, _: Request<ServicesRequest>) -> Result<Response<ServicesResponse>, Status> {
        let (supervisor, now) = (&self.0.supervisor, Instant::now());
        let services = supervisor.services().into_iter().map(|status| {
            let usage = supervisor.usage(&status.name);
            wire::service(status, usage, now)
        });
        Ok(Response::new(ServicesResponse { services: services.collect() }))
    }

    async fn restart_service(&self, request: Request<RestartServiceRequest>) -> Result<Response<RestartServiceResponse>, Status> {
        let caller = Caller::of(request.metadata());
        let name = request.into_inner().name;
        self.0.supervisor.restart(&name).await.map_err(|error| of_restart(&error))?;
        self.record("RestartService", &caller, &format!("restart of {name}"));
        Ok(Response::new(RestartServiceResponse {}))
    }

    async fn logs(&self, request: Request<LogsRequest>) -> Result<Response<Self::LogsStream>, Status> {
        let request = request.into_inner();
        let ring = self.0.supervisor.logs(&request.service).ok_or_else(|| {
            let known: Vec<String> = self.0.supervisor.services().into_iter().map(|status| status.name).collect();
            let message = format!("there is no service `{}`; there are {}", request.service, known.join(", "));
            refusal(Code::NotFound, "service-unknown", message)
        })?;
        Ok(Response::new(until_down(&self.0.power, streams::logs(&ring, request))))
    }

    async fn kmsg(&self, request: Request<KmsgRequest>) -> Result<Response<Self::KmsgStream>, Status> {
        let KmsgRequest { follow, tail } = request.into_inner();
        let failed = |error: std::io::Error| Status::internal(format!("cannot read the kernel log: {error}"));
        let lines = kmsg::lines(tail as usize, follow).map_err(failed)?;
        Ok(Response::new(until_down(&self.0.power, lines.map(move |line| line.map_err(failed)))))
    }

    async fn events(&self, request: Request<EventsRequest>) -> Result<Response<Self::EventsStream>, Status> {
        let events = streams::events(&self.0.node.events, request.into_inner());
        Ok(Response::new(until_down(&self.0.power, events)))
    }

    async fn boot_times(&self, _: Request<BootTimesRequest>) -> Result<Response<BootTimesResponse>, Status> {
        Ok(Response::new(wire::boot_times(&self.0.node.times.snapshot())))
    }

    async fn processes(&self, _: Request<ProcessesRequest>) -> Result<Response<ProcessesResponse>, Status> {
        self.1.ask(self.0.inventory.processes).await.map(Response::new)
    }

    async fn resources(&self, _: Request<ResourcesRequest>) -> Result<Response<ResourcesResponse>, Status> {
        let (disk, read) = (self.boot_disk(), self.0.inventory.resources);
        self.1.ask(move || read(&disk)).await.map(Response::new)
    }

    async fn containers(&self, _: Request<ContainersRequest>) -> Result<Response<ContainersResponse>, Status> {
        containers::list(Path::new(api::CONTAINERD_SOCKET)).await.map(Response::new)
    }

    async fn reboot(&self, request: Request<RebootRequest>) -> Result<Response<RebootResponse>, Status> {
        self.go_down(PowerKind::Reboot, &Caller::of(request.metadata()));
        Ok(Response::new(RebootResponse {}))
    }

    async fn power_off(&self, request: Request<PowerOffRequest>) -> Result<Response<PowerOffResponse>, Status> {
        self.go_down(PowerKind::PowerOff, &Caller::of(request.metadata()));
        Ok(Response::new(PowerOffResponse {}))
    }
}
