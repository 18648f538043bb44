//! One connected node: its methods, each with a time limit and an explained error.

use std::time::Duration;

use api::v1::node_client::NodeClient as Generated;
use api::v1::{self};
use machine_config::types::DeviceId;
use tonic::transport::Channel;
use tonic::{Response, Status, Streaming};

use super::CallError;
use super::Place;
use super::explain::{Facts, explain};
use super::identity::Claims;
use super::stream::AlertSlot;

/// A node that proved who it is. It uses one connection and does not make another: [`super::connect()`] again after a reboot.
#[derive(Debug, Clone)]
pub struct NodeClient {
    api: Generated<Channel>,
    address: Place,
    device_id: DeviceId,
    alert: AlertSlot,
    timeout: Duration,
    claims: Option<Claims>,
}

/// Messages of a stream, one at a time.
#[derive(Debug)]
pub struct Messages<T> {
    stream: Streaming<T>,
    node: NodeClient,
    method: &'static str,
}

impl<T> Messages<T> {
    /// The next message; none: the node ended the stream.
    pub async fn next(&mut self) -> Result<Option<T>, CallError> {
        self.stream.message().await.map_err(|status| self.node.explain(self.method, &status))
    }
}

impl NodeClient {
    pub(crate) fn new(
        channel: Channel,
        address: Place,
        device_id: DeviceId,
        alert: AlertSlot,
        timeout: Duration,
        claims: Option<Claims>,
    ) -> Self {
        Self { api: Generated::new(channel), address, device_id, alert, timeout, claims }
    }

    /// Where it answers.
    pub fn address(&self) -> &Place {
        &self.address
    }

    /// The id it proved.
    pub fn device_id(&self) -> &DeviceId {
        &self.device_id
    }

    /// The generated client, for calls with statuses of their own.
    pub fn api(&self) -> Generated<Channel> {
        self.api.clone()
    }

    fn explain(&self, method: &'static str, status: &Status) -> CallError {
        let facts = Facts { address: &self.address, method, alert: self.alert.get(), claims: self.claims.as_ref() };
        explain(status, &facts)
    }

    async fn answer<T>(
        &self,
        method: &'static str,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, CallError> {
        match tokio::time::timeout(self.timeout, call).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(self.explain(method, &status)),
            Err(_) => Err(CallError::Timeout { address: self.address.clone(), method, timeout: self.timeout }),
        }
    }
}

macro_rules! unary {
    ($($(#[$doc:meta])* $name:ident: $method:literal, $request:ident -> $response:ident;)*) => {
        impl NodeClient {
            $($(#[$doc])*
            pub async fn $name(&self, request: v1::$request) -> Result<v1::$response, CallError> {
                self.answer($method, self.api().$name(request)).await
            })*
        }
    };
}

macro_rules! streams {
    ($($(#[$doc:meta])* $name:ident: $method:literal, $request:ident -> $message:ident;)*) => {
        impl NodeClient {
            $($(#[$doc])*
            pub async fn $name(&self, request: v1::$request) -> Result<Messages<v1::$message>, CallError> {
                let stream = self.answer($method, self.api().$name(request)).await?;
                Ok(Messages { stream, node: self.clone(), method: $method })
            })*
        }
    };
}

unary! {
    /// What runs on the node.
    version: "Version", VersionRequest -> VersionResponse;
    /// How it is.
    status: "Status", StatusRequest -> StatusResponse;
    /// What it is made of.
    hardware: "Hardware", HardwareRequest -> HardwareResponse;
    /// Sends a signed configuration.
    apply_config: "ApplyConfig", ApplyConfigRequest -> ApplyConfigResponse;
    /// The configuration in force, secrets masked.
    get_config: "GetConfig", GetConfigRequest -> GetConfigResponse;
    /// Its services.
    services: "Services", ServicesRequest -> ServicesResponse;
    /// Restarts one service.
    restart_service: "RestartService", RestartServiceRequest -> RestartServiceResponse;
    /// When each boot phase began and ended.
    boot_times: "BootTimes", BootTimesRequest -> BootTimesResponse;
    /// Its processes.
    processes: "Processes", ProcessesRequest -> ProcessesResponse;
    /// CPU, memory, disks, links, mounts.
    resources: "Resources", ResourcesRequest -> ResourcesResponse;
    /// Its containers.
    containers: "Containers", ContainersRequest -> ContainersResponse;
    /// Restarts the machine.
    reboot: "Reboot", RebootRequest -> RebootResponse;
    /// Turns the machine off.
    power_off: "PowerOff", PowerOffRequest -> PowerOffResponse;
}

streams! {
    /// Its status, again at each change.
    watch_status: "WatchStatus", StatusRequest -> StatusResponse;
    /// What a service wrote.
    logs: "Logs", LogsRequest -> LogLine;
    /// What the kernel wrote.
    kmsg: "Kmsg", KmsgRequest -> KmsgLine;
    /// What happened.
    events: "Events", EventsRequest -> Event;
}
