//! containerd through its CRI socket, asked as a kubelet would ask it.

use std::path::Path;

use anyhow::{Context, Result};
use api::cri;
use api::cri::image_service_client::ImageServiceClient;
use api::cri::runtime_service_client::RuntimeServiceClient;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};

use crate::log::LogFile;
use crate::pod::{Container, Pod};
use crate::report;

/// A connection to the container runtime.
pub(crate) struct Runtime {
    runtime: RuntimeServiceClient<Channel>,
    images: ImageServiceClient<Channel>,
}

impl Runtime {
    /// Connects to the socket.
    pub(crate) async fn connect(socket: &Path) -> Result<Self> {
        let path = socket.to_owned();
        let connector = tower::service_fn(move |_| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        let endpoint = Endpoint::from_static("http://runtime");
        let channel = endpoint.connect_with_connector(connector).await;
        let channel = channel.with_context(|| format!("cannot connect to the container runtime at {}", socket.display()))?;
        let mut runtime = RuntimeServiceClient::new(channel.clone());
        let version =
            runtime.version(cri::VersionRequest::default()).await.context("the container runtime did not say its version")?;
        let version = version.into_inner();
        let facts = serde_json::json!({"name": version.runtime_name, "version": version.runtime_version});
        report::say("runtime", &facts);
        Ok(Self { runtime, images: ImageServiceClient::new(channel) })
    }

    /// The names of all images it has.
    pub(crate) async fn image_names(&mut self) -> Result<Vec<String>> {
        let list = self.images.list_images(cri::ListImagesRequest::default()).await.context("cannot list images")?;
        Ok(list.into_inner().images.into_iter().flat_map(|image| image.repo_tags).collect())
    }

    /// Runs the pod anew and returns its containers' log files.
    pub(crate) async fn run(&mut self, pod: &Pod) -> Result<Vec<LogFile>> {
        self.remove_leftovers(pod).await?;
        let config = sandbox(pod);
        let request = cri::RunPodSandboxRequest { config: Some(config.clone()), runtime_handler: String::new() };
        let name = &pod.metadata.name;
        let id = self.runtime.run_pod_sandbox(request).await.with_context(|| format!("cannot run the sandbox of pod {name}"))?;
        let id = id.into_inner().pod_sandbox_id;
        let mut logs = Vec::new();
        for container in &pod.spec.containers {
            self.start(&id, &config, container)
                .await
                .with_context(|| format!("cannot start container {} of pod {name}", container.name))?;
            logs.push(LogFile::new(&container.name, format!("{}/{}", config.log_directory, log_path(container)).into()));
        }
        report::say("pod", &serde_json::json!({"name": name, "sandbox": id}));
        Ok(logs)
    }

    async fn start(&mut self, sandbox: &str, config: &cri::PodSandboxConfig, container: &Container) -> Result<()> {
        let request = cri::CreateContainerRequest {
            pod_sandbox_id: sandbox.into(),
            config: Some(container_config(container)),
            sandbox_config: Some(config.clone()),
        };
        let container_id = self.runtime.create_container(request).await?.into_inner().container_id;
        self.runtime.start_container(cri::StartContainerRequest { container_id }).await?;
        Ok(())
    }

    /// Sandboxes outlive the process that asked for them; the same pod cannot be made twice.
    async fn remove_leftovers(&mut self, pod: &Pod) -> Result<()> {
        let list = self.runtime.list_pod_sandbox(cri::ListPodSandboxRequest::default()).await.context("cannot list sandboxes")?;
        for item in list.into_inner().items {
            let same = item.metadata.is_some_and(|m| m.name == pod.metadata.name && m.namespace == pod.metadata.namespace);
            if same {
                let pod_sandbox_id = item.id;
                let stop = cri::StopPodSandboxRequest { pod_sandbox_id: pod_sandbox_id.clone() };
                self.runtime.stop_pod_sandbox(stop).await.context("cannot stop a sandbox left over")?;
                let remove = cri::RemovePodSandboxRequest { pod_sandbox_id };
                self.runtime.remove_pod_sandbox(remove).await.context("cannot remove a sandbox left over")?;
            }
        }
        Ok(())
    }
}

fn on_host() -> cri::NamespaceOption {
    let network = cri::NamespaceMode::Node.into();
    cri::NamespaceOption { network, pid: cri::NamespaceMode::Container.into(), ..Default::default() }
}

fn labels(pod: &Pod) -> [(String, String); 2] {
    [
        ("io.kubernetes.pod.name".into(), pod.metadata.name.clone()),
        ("io.kubernetes.pod.namespace".into(), pod.metadata.namespace.clone()),
    ]
}

fn sandbox(pod: &Pod) -> cri::PodSandboxConfig {
    let (name, namespace) = (pod.metadata.name.clone(), pod.metadata.namespace.clone());
    let uid = format!("standin-{namespace}-{name}");
    let security = cri::LinuxSandboxSecurityContext { namespace_options: Some(on_host()), ..Default::default() };
    cri::PodSandboxConfig {
        log_directory: format!("/var/log/pods/{namespace}_{name}_{uid}"),
        labels: labels(pod).into(),
        linux: Some(cri::LinuxPodSandboxConfig {
            cgroup_parent: format!("/kubepods/besteffort/pod{uid}"),
            security_context: Some(security),
            ..Default::default()
        }),
        metadata: Some(cri::PodSandboxMetadata { name, uid, namespace, attempt: 0 }),
        ..Default::default()
    }
}

fn log_path(container: &Container) -> String {
    format!("{}/0.log", container.name)
}

fn container_config(container: &Container) -> cri::ContainerConfig {
    let envs = container.env.iter().map(|variable| cri::KeyValue { key: variable.name.clone(), value: variable.value.clone() });
    let security = cri::LinuxContainerSecurityContext { namespace_options: Some(on_host()), ..Default::default() };
    cri::ContainerConfig {
        metadata: Some(cri::ContainerMetadata { name: container.name.clone(), attempt: 0 }),
        image: Some(cri::ImageSpec { image: container.image.clone(), ..Default::default() }),
        command: container.command.clone(),
        args: container.args.clone(),
        envs: envs.collect(),
        labels: [("io.kubernetes.container.name".into(), container.name.clone())].into(),
        log_path: log_path(container),
        linux: Some(cri::LinuxContainerConfig {
            resources: Some(cri::LinuxContainerResources::default()),
            security_context: Some(security),
        }),
        ..Default::default()
    }
}
