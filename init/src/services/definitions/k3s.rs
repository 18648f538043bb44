//! k3s on init's containerd: its configuration file, manifests, static pods and command.
//!
//! The contract, which the stand-in of the tests checks: `k3s server|agent --config /etc/rancher/k3s/config.yaml`, the keys below in that
//! file, `READY=1` to `NOTIFY_SOCKET` once it is up, and nothing inherited from init's environment.

use std::fmt::Write;
use std::time::Duration;

use machine_config::schema::{K3s, K3sRole, MachineConfig};
use machine_config::types::DnsName;

use super::files::{Folder, Link, Owned, fingerprint};
use super::{ManagedFile, ServicePlan, container_daemon};
use crate::services::spec::{Readiness, ServiceSpec, Stop};

const CONFIG: &str = "/etc/rancher/k3s/config.yaml";
const DATA: &str = "/var/lib/rancher/k3s";
const MANIFESTS: &str = "/var/lib/rancher/k3s/server/manifests";
const STATIC_PODS: &str = "/var/lib/rancher/k3s/agent/pod-manifests";

/// The files below this prefix are init's; k3s keeps its own beside them.
const PREFIX: &str = "skerry-";

/// Adds k3s and its files.
pub(super) fn add(config: &MachineConfig, k3s: &K3s, plan: &mut ServicePlan) {
    let before = plan.files.files.len();
    let folders =
        [("/etc/rancher/k3s", 0o755), (DATA, 0o755), (MANIFESTS, 0o700), (STATIC_PODS, 0o755), ("/var/lib/rancher/node", 0o700)];
    plan.files.folders.extend(folders.map(|(path, mode)| Folder::new(path, mode)));
    // The server remembers the node's password; it must outlive a reboot, and /etc does not.
    plan.files.links.push(Link::new("/etc/rancher/node", "/var/lib/rancher/node"));
    plan.files.files.push(ManagedFile::secret(CONFIG, config_yaml(config, k3s)));
    add_manifests(k3s, plan);
    let role = role(k3s.role);
    plan.specs.push(ServiceSpec {
        depends_on: vec!["containerd".to_owned()],
        after: vec!["images".to_owned()],
        readiness: Readiness::Notify,
        start_deadline: Duration::from_secs(15 * 60),
        stop: Stop { grace: Duration::from_secs(30), ..base(role).stop },
        revision: fingerprint(&plan.files.files[before..]),
        oom_score_adj: -998,
        ..base(role)
    });
}

/// Takes back what an earlier configuration asked for.
pub(super) fn withdraw(plan: &mut ServicePlan) {
    plan.files.owned.extend([Owned::prefixed(MANIFESTS, PREFIX), Owned::prefixed(STATIC_PODS, PREFIX)]);
}

fn base(role: &str) -> ServiceSpec {
    container_daemon("k3s", &["/usr/bin/k3s", role, "--config", CONFIG])
}

fn role(role: K3sRole) -> &'static str {
    match role {
        K3sRole::Server => "server",
        K3sRole::Agent => "agent",
    }
}

fn add_manifests(k3s: &K3s, plan: &mut ServicePlan) {
    withdraw(plan);
    let file =
        |folder: &str, name: &DnsName, text: &String| ManagedFile::secret(&format!("{folder}/{PREFIX}{name}.yaml"), text.clone());
    plan.files.files.extend(k3s.static_pods.iter().map(|(name, text)| file(STATIC_PODS, name, text)));
    match k3s.role {
        K3sRole::Server => plan.files.files.extend(k3s.manifests.iter().map(|(name, text)| file(MANIFESTS, name, text))),
        K3sRole::Agent if k3s.manifests.is_empty() => {}
        K3sRole::Agent => plan.problem("service k3s", "`k3s.manifests` has no effect on an agent: give it to a server"),
    }
}

fn config_yaml(config: &MachineConfig, k3s: &K3s) -> String {
    let hostname = config.machine.hostname.as_ref().unwrap_or(&config.metadata.name);
    let mut yaml = Yaml("# Written by init from the machine configuration.\n".to_owned());
    yaml.value("node-name", hostname);
    yaml.value("data-dir", DATA);
    yaml.value("container-runtime-endpoint", format_args!("unix://{}", api::CONTAINERD_SOCKET));
    // Without it k3s puts a public name server into pods when the device has none: no default reaches a host its owner did not name.
    yaml.value("resolv-conf", "/etc/resolv.conf");
    yaml.option("server", k3s.server.as_ref());
    yaml.option("token", k3s.token.as_ref().map(|token| token.expose()));
    yaml.option("node-ip", k3s.node_ip.as_ref());
    yaml.list("node-label", k3s.node_labels.iter().map(|(key, value)| format!("{key}={value}")));
    yaml.list("node-taint", &k3s.node_taints);
    match k3s.role {
        K3sRole::Server => {
            yaml.option("cluster-cidr", k3s.cluster_cidr.as_ref());
            yaml.option("service-cidr", k3s.service_cidr.as_ref());
            yaml.list("disable", &k3s.disable);
            yaml.list("tls-san", &k3s.tls_san);
        }
        // k3s refuses a server's settings on an agent; `machine_config` says so when the configuration is judged.
        K3sRole::Agent => {}
    }
    yaml.0
}

/// The little YAML that k3s needs: strings and lists of strings, always quoted as JSON, which YAML includes.
struct Yaml(String);

impl Yaml {
    fn value(&mut self, key: &str, value: impl ToString) {
        writeln!(self.0, "{key}: {}", quoted(value)).expect("a string takes any text");
    }

    fn option(&mut self, key: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.value(key, value);
        }
    }

    fn list(&mut self, key: &str, values: impl IntoIterator<Item = impl ToString>) {
        let items: String = values.into_iter().map(|value| format!("  - {}\n", quoted(value))).collect();
        if !items.is_empty() {
            write!(self.0, "{key}:\n{items}").expect("a string takes any text");
        }
    }
}

fn quoted(value: impl ToString) -> String {
    serde_json::Value::from(value.to_string()).to_string()
}
