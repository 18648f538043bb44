//! containerd: its configuration (version 3, for containerd 2), registries and the pod network used when there is no k3s.

use std::fmt::Write;
use std::path::PathBuf;

use machine_config::schema::{MachineConfig, Registry};

use super::files::{Folder, Owned, fingerprint};
use super::{ManagedFile, ServicePlan, container_daemon};
use crate::services::spec::{Readiness, ServiceSpec};

const CONFIG: &str = "/etc/containerd/config.toml";
const REGISTRIES: &str = "/etc/containerd/certs.d";
const OWN_NETWORK: &str = "/etc/cni/net.d";

/// k3s writes its pod network here, for a containerd that is not its own as well.
const K3S_NETWORK: &str = "/var/lib/rancher/k3s/agent/etc/cni/net.d";

/// Where network plugins lie: the runtime image's, then those k3s unpacks (only it has `flannel`).
const PLUGIN_FOLDERS: [&str; 3] = ["/usr/lib/cni", "/var/lib/rancher/k3s/data/cni", "/var/lib/rancher/k3s/data/current/bin"];

/// A bridge per device. Leases lie in RAM: pods do not outlive a reboot, and their addresses must not either.
const BRIDGE: &str = r#"{
  "cniVersion": "1.0.0",
  "name": "skerry",
  "plugins": [
    {
      "type": "bridge",
      "bridge": "cni0",
      "isGateway": true,
      "ipMasq": true,
      "hairpinMode": true,
      "ipam": {
        "type": "host-local",
        "dataDir": "/run/cni/networks",
        "ranges": [[{"subnet": "10.88.0.0/16"}]],
        "routes": [{"dst": "0.0.0.0/0"}]
      }
    },
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
"#;

/// Parts of containerd that Skerry never uses: other snapshotters, tracing.
const DISABLED: [&str; 8] = [
    "io.containerd.snapshotter.v1.blockfile",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.erofs",
    "io.containerd.snapshotter.v1.zfs",
    "io.containerd.differ.v1.erofs",
    "io.containerd.internal.v1.tracing",
    "io.containerd.tracing.processor.v1.otlp",
];

/// Adds containerd, its files and its registries.
pub(super) fn add(config: &MachineConfig, plan: &mut ServicePlan) {
    let before = plan.files.files.len();
    plan.files.folders.extend([
        Folder::new("/var/lib/containerd", 0o711),
        Folder::new(REGISTRIES, 0o755),
        Folder::new(OWN_NETWORK, 0o755),
    ]);
    plan.files.files.push(ManagedFile::secret(CONFIG, config_toml(config)));
    plan.files.owned.push(Owned::whole(REGISTRIES));
    plan.files.owned.push(Owned::prefixed(OWN_NETWORK, "10-skerry"));
    if config.k3s.is_none() {
        plan.files.files.push(ManagedFile::public(&format!("{OWN_NETWORK}/10-skerry.conflist"), BRIDGE.to_owned()));
    }
    for (host, registry) in &config.machine.registries {
        add_registry(host, registry, plan);
    }
    plan.specs.push(ServiceSpec {
        readiness: Readiness::UnixSocket(PathBuf::from(api::CONTAINERD_SOCKET)),
        revision: fingerprint(&plan.files.files[before..]),
        oom_score_adj: -999,
        ..container_daemon("containerd", &["/usr/bin/containerd", "--config", CONFIG])
    });
}

fn add_registry(host: &str, registry: &Registry, plan: &mut ServicePlan) {
    if host.is_empty() || host.starts_with('.') || host.contains('/') {
        plan.problem("service containerd", &format!("registry `{host}` is not a host name: it was left out"));
        return;
    }
    let folder = format!("{REGISTRIES}/{host}");
    plan.files.folders.push(Folder::new(&folder, 0o755));
    if let Some(ca) = &registry.ca {
        plan.files.files.push(ManagedFile::public(&format!("{folder}/ca.crt"), ca.clone()));
    }
    plan.files.files.push(ManagedFile::public(&format!("{folder}/hosts.toml"), hosts_toml(&folder, registry)));
}

/// The whole file, as text: a table to read, not a procedure.
fn config_toml(config: &MachineConfig) -> String {
    let network = if config.k3s.is_some() { K3S_NETWORK } else { OWN_NETWORK };
    let mut text = format!(
        r#"# Written by init from the machine configuration.
version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = {disabled}
# Without this containerd would run on without it.
required_plugins = ["io.containerd.grpc.v1.cri"]

[grpc]
address = {socket}

# Layers reach the disk before an image counts as pulled: a power cut leaves no empty ones.
[plugins.'io.containerd.cri.v1.images']
snapshotter = "overlayfs"
use_local_image_pull = true
image_pull_with_sync_fs = true

[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = {sandbox}

[plugins.'io.containerd.cri.v1.images'.registry]
config_path = "{REGISTRIES}"

[plugins.'io.containerd.service.v1.diff-service']
default = ["walking"]
sync_fs = true

[plugins.'io.containerd.cri.v1.runtime']
netns_mounts_under_state_dir = true

[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = {plugins}
conf_dir = "{network}"

[plugins.'io.containerd.cri.v1.runtime'.containerd]
default_runtime_name = "runc"

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
SystemdCgroup = false

[plugins.'io.containerd.internal.v1.opt']
path = "/var/lib/containerd/opt"

# Programs that would be asked about each image: only the read-only runtime image could bring some.
[plugins.'io.containerd.image-verifier.v1.bindir']
bin_dir = "/usr/lib/skerry/image-verifiers"

[plugins.'io.containerd.nri.v1.nri']
disable = true
"#,
        disabled = list(&DISABLED),
        socket = quoted(api::CONTAINERD_SOCKET),
        sandbox = quoted(api::SANDBOX_IMAGE),
        plugins = list(&PLUGIN_FOLDERS),
    );
    text.push_str(&credentials(config));
    text
}

/// Each registry's credentials, for the host they stand under and no other.
fn credentials(config: &MachineConfig) -> String {
    let mut text = String::new();
    for (host, registry) in &config.machine.registries {
        if let Some(auth) = &registry.auth {
            let (user, password) = (quoted(&auth.username), quoted(auth.password.expose()));
            let table = format!("[plugins.'io.containerd.cri.v1.images'.registry.configs.{}.auth]", quoted(host));
            write!(text, "\n{table}\nusername = {user}\npassword = {password}\n").expect("a string takes any text");
        }
    }
    text
}

/// How one registry is reached. Without `server` containerd asks the registry itself after its mirrors.
fn hosts_toml(folder: &str, registry: &Registry) -> String {
    let mut text = "# Written by init from the machine configuration.\n".to_owned();
    if registry.mirrors_only {
        // A name that never resolves (RFC 2606) stands for the registry that must not be asked.
        text.push_str("server = \"https://mirrors-only.invalid\"\n");
    }
    let ca = registry.ca.as_ref().map(|_| format!("ca = {}\n", quoted(&format!("{folder}/ca.crt")))).unwrap_or_default();
    text.push_str(&ca);
    for mirror in &registry.mirrors {
        write!(text, "\n[host.{}]\ncapabilities = [\"pull\", \"resolve\"]\n{ca}", quoted(mirror))
            .expect("a string takes any text");
    }
    text
}

/// A TOML basic string; JSON's escapes are a subset of its own.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn list(items: &[&str]) -> String {
    format!("[{}]", items.iter().map(|item| quoted(item)).collect::<Vec<_>>().join(", "))
}
