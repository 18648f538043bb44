//! Containers as containerd sees them: two calls of the container runtime interface, put together.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use api::cri::runtime_service_client::RuntimeServiceClient;
use api::cri::{ContainerState, ListContainersRequest, ListPodSandboxRequest, PodSandbox};
use api::v1;
use prost_types::Timestamp;
use tonic::{Code, Status};

use super::refusal::refusal;
use crate::unix_channel;

/// containerd on its own socket answers within milliseconds; more than this means that it is stuck.
const PATIENCE: Duration = Duration::from_secs(5);

/// All containers, running or not.
pub(super) async fn list(socket: &Path) -> Result<v1::ContainersResponse, Status> {
    let answer = tokio::time::timeout(PATIENCE, ask(socket)).await;
    answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time"))).map_err(|status| unavailable(&status))
}

fn unavailable(cause: &Status) -> Status {
    let message =
        format!("containerd does not answer ({}): look at `skerryctl services` and `skerryctl logs containerd`", cause.message());
    refusal(Code::Unavailable, "containerd-unavailable", message)
}

async fn ask(socket: &Path) -> Result<v1::ContainersResponse, Status> {
    let channel = unix_channel::connect(socket).await.map_err(|_| Status::unavailable("cannot connect to its socket"))?;
    let mut client = RuntimeServiceClient::new(channel);
    let sandboxes = client.list_pod_sandbox(ListPodSandboxRequest::default()).await?.into_inner().items;
    let containers = client.list_containers(ListContainersRequest::default()).await?.into_inner().containers;
    let pods: HashMap<&str, String> = sandboxes.iter().map(|sandbox| (sandbox.id.as_str(), pod_name(sandbox))).collect();
    let mut containers: Vec<v1::Container> = containers.into_iter().map(|container| convert(container, &pods)).collect();
    containers.sort_by(|a, b| (&a.pod, &a.name, a.attempt).cmp(&(&b.pod, &b.name, b.attempt)));
    Ok(v1::ContainersResponse { containers })
}

fn pod_name(sandbox: &PodSandbox) -> String {
    sandbox.metadata.as_ref().map(|pod| format!("{}/{}", pod.namespace, pod.name)).unwrap_or_default()
}

fn convert(container: api::cri::Container, pods: &HashMap<&str, String>) -> v1::Container {
    let state = match container.state() {
        ContainerState::ContainerCreated => "created",
        ContainerState::ContainerRunning => "running",
        ContainerState::ContainerExited => "exited",
        ContainerState::ContainerUnknown => "unknown",
    };
    let metadata = container.metadata.unwrap_or_default();
    v1::Container {
        pod: pods.get(container.pod_sandbox_id.as_str()).cloned().unwrap_or_default(),
        id: container.id,
        name: metadata.name,
        image: container.image.map(|image| image.image).unwrap_or_default(),
        state: state.to_owned(),
        created: Some(timestamp(container.created_at)),
        attempt: metadata.attempt,
    }
}

fn timestamp(nanoseconds: i64) -> Timestamp {
    let nanos = i32::try_from(nanoseconds.rem_euclid(1_000_000_000)).expect("less than a thousand million");
    Timestamp { seconds: nanoseconds.div_euclid(1_000_000_000), nanos }
}
