//! What a k3s process is given by the node: arguments, configuration file, environment, cgroup. Read, not judged.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// Where k3s looks for its configuration when nobody says otherwise.
const DEFAULT_CONFIG: &str = "/etc/rancher/k3s/config.yaml";

/// Where k3s keeps its data when nobody says otherwise.
const DEFAULT_DATA: &str = "/var/lib/rancher/k3s";

/// Everything this process was given.
#[derive(Debug)]
pub(crate) struct Contract {
    arguments: Vec<String>,
    config_path: String,
    config: Value,
    environment: BTreeMap<String, String>,
    cgroup: String,
}

impl Contract {
    /// Reads it from this process.
    pub(crate) fn read() -> Result<Self> {
        let arguments: Vec<String> = env::args().collect();
        let environment: BTreeMap<String, String> = env::vars().collect();
        let named = argument(&arguments, "config").or_else(|| environment.get("K3S_CONFIG_FILE").cloned());
        let config_path = named.unwrap_or_else(|| DEFAULT_CONFIG.into());
        let text = fs::read_to_string(&config_path).with_context(|| format!("cannot read k3s configuration {config_path}"))?;
        let config = serde_saphyr::from_str(&text).with_context(|| format!("cannot parse k3s configuration {config_path}"))?;
        let cgroup = fs::read_to_string("/proc/self/cgroup").context("cannot read own cgroup")?.trim().to_owned();
        Ok(Self { arguments, config_path, config, environment, cgroup })
    }

    /// All of it, for the log.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "arguments": self.arguments,
            "config_path": self.config_path,
            "config": self.config,
            "environment": self.environment,
            "cgroup": self.cgroup,
        })
    }

    /// A setting by its k3s name: given as argument or in the configuration file. Arguments win, as in k3s.
    fn setting(&self, name: &str) -> Option<String> {
        argument(&self.arguments, name).or_else(|| self.config.get(name).and_then(Value::as_str).map(Into::into))
    }

    /// The container runtime's socket.
    pub(crate) fn runtime_endpoint(&self) -> Result<PathBuf> {
        let endpoint = self.setting("container-runtime-endpoint").context("k3s was given no container-runtime-endpoint")?;
        Ok(endpoint.strip_prefix("unix://").unwrap_or(&endpoint).into())
    }

    /// The folder of static pods: the kubelet's own setting, else k3s's default.
    pub(crate) fn static_pods(&self) -> PathBuf {
        let kubelet = list(&self.config, "kubelet-arg").into_iter();
        let named = kubelet.filter_map(|argument| argument.strip_prefix("pod-manifest-path=").map(PathBuf::from)).next();
        let data = self.setting("data-dir").unwrap_or_else(|| DEFAULT_DATA.into());
        named.unwrap_or_else(|| PathBuf::from(data).join("agent/pod-manifests"))
    }

    /// The labels the node is to register with.
    pub(crate) fn node_labels(&self) -> BTreeMap<String, String> {
        let labels = list(&self.config, "node-label");
        labels.iter().filter_map(|label| label.split_once('=')).map(|(key, value)| (key.into(), value.into())).collect()
    }
}

/// The value of `--name value` or `--name=value`.
fn argument(arguments: &[String], name: &str) -> Option<String> {
    let flag = format!("--{name}");
    let at = arguments.iter().position(|argument| argument.split('=').next() == Some(&flag))?;
    match arguments[at].split_once('=') {
        Some((_, value)) => Some(value.into()),
        None => arguments.get(at + 1).cloned(),
    }
}

/// A setting that may be one text or a list of them, as k3s allows.
fn list(config: &Value, name: &str) -> Vec<String> {
    match config.get(name) {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).map(Into::into).collect(),
        Some(_) | None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contract(arguments: &[&str], config: &str) -> Contract {
        Contract {
            arguments: arguments.iter().map(|&text| text.into()).collect(),
            config_path: DEFAULT_CONFIG.into(),
            config: serde_saphyr::from_str(config).unwrap(),
            environment: BTreeMap::new(),
            cgroup: "0::/".into(),
        }
    }

    #[test]
    fn settings_come_from_arguments_before_the_file() {
        let file = "container-runtime-endpoint: unix:///run/file.sock\nnode-label:\n- a=b\n- c=d=e\n";
        let from_file = contract(&["k3s", "agent"], file);
        assert_eq!(from_file.runtime_endpoint().unwrap(), PathBuf::from("/run/file.sock"));
        assert_eq!(from_file.node_labels()["c"], "d=e");
        let spaced = contract(&["k3s", "agent", "--container-runtime-endpoint", "/run/a.sock"], file);
        assert_eq!(spaced.runtime_endpoint().unwrap(), PathBuf::from("/run/a.sock"));
        let joined = contract(&["k3s", "agent", "--container-runtime-endpoint=/run/b.sock"], file);
        assert_eq!(joined.runtime_endpoint().unwrap(), PathBuf::from("/run/b.sock"));
    }

    #[test]
    fn a_missing_runtime_endpoint_is_a_broken_contract() {
        assert!(contract(&["k3s", "server"], "{}").runtime_endpoint().is_err());
    }

    #[test]
    fn static_pods_lie_where_the_kubelet_or_k3s_says() {
        let table = [
            ("{}", "/var/lib/rancher/k3s/agent/pod-manifests"),
            ("data-dir: /var/k3s", "/var/k3s/agent/pod-manifests"),
            ("kubelet-arg: [v=2, pod-manifest-path=/etc/pods]", "/etc/pods"),
            ("kubelet-arg: pod-manifest-path=/etc/pods", "/etc/pods"),
        ];
        for (config, expected) in table {
            assert_eq!(contract(&["k3s"], config).static_pods(), PathBuf::from(expected), "{config}");
        }
    }
}
