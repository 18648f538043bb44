//! The machine configurations that tests and the demo sign: text, since exact bytes are what a signature covers.

use std::collections::BTreeMap;

/// Name of the image that greets, as the archive in the runtime image carries it.
pub const HELLO_IMAGE: &str = "localhost/skerry/hello:1";

/// TCP port on which the greeting container answers.
pub const HELLO_PORT: u16 = 8080;

/// One configuration, still unsigned.
#[derive(Debug, Clone)]
pub struct Config {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.fleet`.
    pub fleet: String,
    /// `metadata.generation`.
    pub generation: u64,
    /// The line inside `target`, such as `any: true`.
    pub target: String,
    /// `api.clientCa`.
    pub client_ca: String,
    /// Lines inside `machine`, indented by two spaces.
    pub machine: String,
    /// k3s; none: containerd alone.
    pub k3s: Option<K3s>,
}

/// The part of a configuration that asks for k3s.
#[derive(Debug, Clone, Default)]
pub struct K3s {
    /// `nodeLabels`.
    pub labels: BTreeMap<String, String>,
}

/// The cluster's token in every configuration with k3s: a secret that no call may give away.
pub const TOKEN: &str = "a-token-nobody-may-read";

impl Config {
    /// The first configuration of any device of `fleet`, with the greeting container as a static pod of k3s.
    pub fn new(fleet: &str, client_ca: &str) -> Self {
        Self {
            name: "box-1".into(),
            fleet: fleet.into(),
            generation: 1,
            target: "any: true".into(),
            client_ca: client_ca.into(),
            machine: String::new(),
            k3s: Some(K3s::default()),
        }
    }

    /// The document.
    pub fn to_yaml(&self) -> String {
        let Self { name, fleet, generation, target, client_ca, machine, k3s } = self;
        let mut text = format!(
            "apiVersion: skerry.dev/v1alpha1\nkind: MachineConfig\nmetadata:\n  name: {name}\n  fleet: {fleet}\n  generation: {generation}\n\
             target:\n  {target}\n"
        );
        if !machine.is_empty() {
            text.push_str(&format!("machine:\n{machine}"));
        }
        text.push_str(&format!("api:\n  clientCa: |\n{}", indented(client_ca, 4)));
        if let Some(k3s) = k3s {
            text.push_str(&k3s.to_yaml());
        }
        text
    }
}

impl K3s {
    fn to_yaml(&self) -> String {
        let labels = self.labels.iter().map(|(key, value)| format!("    {key}: \"{value}\"\n"));
        let labels: String = std::iter::once("    skerry.dev/story: \"yes\"\n".to_owned()).chain(labels).collect();
        format!(
            "k3s:\n  role: server\n  token: {TOKEN}\n  nodeLabels:\n{labels}  disable: [traefik, servicelb, metrics-server, local-storage, coredns]\n  \
             staticPods:\n    hello: |\n{}",
            indented(&hello_pod(), 6)
        )
    }
}

/// The greeting container as people write a pod.
fn hello_pod() -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: hello\n  namespace: default\nspec:\n  hostNetwork: true\n  containers:\n  \
         - name: hello\n    image: {HELLO_IMAGE}\n    imagePullPolicy: Never\n    env:\n    - name: GREETING\n      value: aye\n"
    )
}

fn indented(text: &str, spaces: usize) -> String {
    text.lines().map(|line| format!("{:spaces$}{line}\n", "")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CA: &str = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";

    #[test]
    fn the_documents_are_what_the_schema_wants() {
        let mut config = Config::new("acme", CA);
        config.machine = "  logging: {level: debug}\n".into();
        config.k3s = Some(K3s { labels: [("skerry.dev/standin-crash-after-seconds".into(), "2".into())].into() });
        let parsed = machine_config::parse(config.to_yaml().as_bytes()).unwrap();
        assert_eq!(parsed.metadata.generation.get(), 1);
        let k3s = parsed.k3s.unwrap();
        assert_eq!(k3s.node_labels["skerry.dev/standin-crash-after-seconds"], "2");
        assert!(k3s.static_pods.values().next().unwrap().contains(HELLO_IMAGE));
    }

    #[test]
    fn containerd_alone_needs_no_k3s() {
        let config = Config { k3s: None, ..Config::new("acme", CA) };
        assert_eq!(machine_config::parse(config.to_yaml().as_bytes()).unwrap().k3s, None);
    }
}
