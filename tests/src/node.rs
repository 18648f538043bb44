//! A node's API as tests like it: blocking, with a connection that is made anew when the node has restarted.

use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use api::v1;
use client::{CallError, ConnectError, ConnectOptions, NodeAddress, NodeClient, Trust, connect};
use machine_config::DeviceId;
use tokio::runtime::Runtime;

use crate::fleet::Credentials;
use crate::harness::Patience;

/// The API of one node over one connection.
#[derive(Debug)]
pub struct Node {
    runtime: Runtime,
    client: NodeClient,
}

/// The API offers no event for some states, and none before it answers: they are looked at this often, within a [`Patience`].
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Longest time for one call on an emulated machine.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Who is expected to answer, and what is shown to it.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Where it is: this host's loopback address for a forwarded port.
    pub host: IpAddr,
    /// Its port there.
    pub port: u16,
    /// The device that must answer; none: whichever does.
    pub device: Option<DeviceId>,
    /// The client certificate; none is shown otherwise.
    pub credentials: Option<Credentials>,
}

/// Longest time for one attempt to connect. The emulator's network takes a connection before the guest can, and asks the guest
/// again only after six seconds: a fresh attempt is quicker.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);

impl Node {
    /// Connects at once or fails.
    pub fn connect(caller: &Caller) -> Result<Self> {
        Self::connect_within(caller, CALL_TIMEOUT)
    }

    fn connect_within(caller: &Caller, timeout: Duration) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let options = ConnectOptions {
            address: NodeAddress { host: caller.host.to_string(), port: caller.port },
            trust: caller.device.clone().map_or(Trust::FirstUse, Trust::Device),
            identity: caller.credentials.as_ref().map(Credentials::load).transpose()?,
            timeout,
        };
        let client = runtime.block_on(connect(options))?;
        Ok(Self { runtime, client })
    }

    /// Connects as soon as the API answers. What is no matter of time, such as another device answering, is not waited for.
    pub fn connect_when_up(caller: &Caller, patience: &Patience) -> Result<Self> {
        let deadline = patience.deadline();
        loop {
            match Self::connect_within(caller, ATTEMPT_TIMEOUT) {
                Ok(_) => return Self::connect(caller), // it is up; calls get the time they need
                Err(error) if is_patient(&error) && Instant::now() < deadline => thread::sleep(LOOK_EVERY),
                Err(error) => return Err(error.context(format!("waited for {patience}"))),
            }
        }
    }

    /// The device id it proved.
    pub fn device_id(&self) -> &DeviceId {
        self.client.device_id()
    }

    /// Makes one call of `skerryctl`'s own client.
    pub fn call<T, F: Future<Output = Result<T, CallError>>>(&self, call: impl FnOnce(NodeClient) -> F) -> Result<T, CallError> {
        self.runtime.block_on(call(self.client.clone()))
    }

    /// How the node is.
    pub fn status(&self) -> Result<v1::StatusResponse, CallError> {
        self.call(|client| async move { client.status(v1::StatusRequest {}).await })
    }

    /// Sends a configuration.
    pub fn apply(&self, config: &[u8], dry_run: bool) -> Result<v1::ApplyConfigResponse, CallError> {
        let request = v1::ApplyConfigRequest { config: config.into(), dry_run };
        self.call(|client| async move { client.apply_config(request).await })
    }

    /// Sends a configuration that must be refused, and returns the refusal's code.
    pub fn refusal(&self, config: &[u8]) -> Result<String> {
        match self.apply(config, false) {
            Ok(_) => bail!("the node accepted what it must refuse"),
            Err(CallError::Refused { code, .. }) => Ok(code),
            Err(error) => Err(error).context("the node failed instead of refusing"),
        }
    }

    /// Its services.
    pub fn services(&self) -> Result<Vec<v1::Service>, CallError> {
        let response = self.call(|client| async move { client.services(v1::ServicesRequest {}).await });
        response.map(|response| response.services)
    }

    /// One service.
    pub fn service(&self, name: &str) -> Result<v1::Service> {
        let services = self.services()?;
        services.into_iter().find(|service| service.name == name).with_context(|| format!("the node has no service {name}"))
    }

    /// Its containers.
    pub fn containers(&self) -> Result<Vec<v1::Container>, CallError> {
        let response = self.call(|client| async move { client.containers(v1::ContainersRequest {}).await });
        response.map(|response| response.containers)
    }

    /// When its boot phases began and ended.
    pub fn boot_times(&self) -> Result<v1::BootTimesResponse, CallError> {
        self.call(|client| async move { client.boot_times(v1::BootTimesRequest {}).await })
    }

    /// Its processes.
    pub fn processes(&self) -> Result<Vec<v1::Process>, CallError> {
        let response = self.call(|client| async move { client.processes(v1::ProcessesRequest {}).await });
        response.map(|response| response.processes)
    }

    /// Its CPU, memory, disks, links and mounts.
    pub fn resources(&self) -> Result<v1::ResourcesResponse, CallError> {
        self.call(|client| async move { client.resources(v1::ResourcesRequest {}).await })
    }

    /// Everything the node keeps of a service's output.
    pub fn logs(&self, service: &str) -> Result<Vec<String>, CallError> {
        let request = v1::LogsRequest { service: service.into(), follow: false, tail: 0 };
        self.call(|client| async move {
            let mut stream = client.logs(request).await?;
            let mut lines = Vec::new();
            while let Some(line) = stream.next().await? {
                lines.push(line.line);
            }
            Ok(lines)
        })
    }

    /// Everything the node keeps of what happened.
    pub fn events(&self) -> Result<Vec<v1::Event>, CallError> {
        self.call(|client| async move {
            let mut stream = client.events(v1::EventsRequest { follow: false, tail: 0 }).await?;
            let mut events = Vec::new();
            while let Some(event) = stream.next().await? {
                events.push(event);
            }
            Ok(events)
        })
    }

    /// Looks until `look` finds what it looks for; its failures are shown when time runs out.
    pub fn wait_until<T>(&self, patience: &Patience, look: impl Fn(&Self) -> Result<Option<T>>) -> Result<T> {
        let deadline = patience.deadline();
        loop {
            let seen = look(self);
            match seen {
                Ok(Some(found)) => return Ok(found),
                Ok(None) | Err(_) if Instant::now() < deadline => thread::sleep(LOOK_EVERY),
                Ok(None) => bail!("it did not come: {patience}; {}", self.situation()),
                Err(error) => return Err(error.context(format!("it did not come: {patience}; {}", self.situation()))),
            }
        }
    }

    /// Waits for a service to reach a state.
    pub fn wait_service(&self, name: &str, state: v1::ServiceState, patience: &Patience) -> Result<v1::Service> {
        self.wait_until(patience, |node| Ok(Some(node.service(name)?).filter(|service| service.state() == state)))
    }

    /// Waits for the node to be in a mode.
    pub fn wait_mode(&self, mode: v1::NodeMode, patience: &Patience) -> Result<v1::StatusResponse> {
        self.wait_until(patience, |node| Ok(Some(node.status()?).filter(|status| status.mode() == mode)))
    }

    /// What a person would look at first, for messages.
    fn situation(&self) -> String {
        let status = self.status().map(|status| {
            let waiting = if status.waiting_for.is_empty() { "nothing".into() } else { status.waiting_for };
            format!("phase {}, waiting for {waiting}, errors {:?}", status.phase, status.errors)
        });
        let services = self.services().map(|services| {
            let words = services.iter().map(|service| format!("{} {:?} {}", service.name, service.state(), service.last_exit));
            words.collect::<Vec<_>>().join(", ")
        });
        let words = |result: Result<String, CallError>| result.unwrap_or_else(|error| error.to_string());
        format!("status: {}; services: {}", words(status), words(services))
    }
}

/// Whether the failure is one that passes when the node has come up.
fn is_patient(error: &anyhow::Error) -> bool {
    match error.downcast_ref::<ConnectError>() {
        Some(error) => match error {
            ConnectError::PortClosed { .. }
            | ConnectError::Tcp { .. }
            | ConnectError::Timeout { .. }
            | ConnectError::NotTls13 { .. }
            | ConnectError::Tls { .. }
            | ConnectError::Http2 { .. } => true,
            ConnectError::Resolve { .. } | ConnectError::OwnCertificate { .. } | ConnectError::Trust { .. } => false,
        },
        None => false,
    }
}
