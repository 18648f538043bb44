//! Kubernetes: what a server has that an agent has not, names Kubernetes would refuse, networks that overlap.

use std::collections::BTreeMap;

use granit_parser::Parser;
use ipnet::IpNet;

use super::network::network_address;
use super::{Findings, Problem, endpoint};
use crate::path::join;
use crate::schema::{K3s, K3sRole, MachineConfig, Network};
use crate::types::{DnsName, IpNetwork};

/// Components a server can be told not to deploy.
pub(super) const COMPONENTS: [&str; 5] = ["traefik", "servicelb", "metrics-server", "local-storage", "coredns"];

/// What k3s uses when nothing is set.
const DEFAULT_CLUSTER_CIDR: &str = "10.42.0.0/16";
const DEFAULT_SERVICE_CIDR: &str = "10.43.0.0/16";

/// Effects of a taint.
const TAINT_EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

/// Labels of Kubernetes' own that a kubelet may give itself (NodeRestriction); with others of `kubernetes.io` it does not start.
pub(crate) const KUBELET_LABELS: [&str; 8] = [
    "kubernetes.io/hostname",
    "kubernetes.io/arch",
    "kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "node.kubernetes.io/instance-type",
];

/// Every rule about `k3s`.
pub(super) fn check(config: &MachineConfig, findings: &mut Findings) {
    let Some(k3s) = &config.k3s else { return };
    joining(k3s, findings);
    if k3s.role == K3sRole::Agent {
        agent(k3s, findings);
    }
    names(k3s, findings);
    networks(k3s, &config.machine.network, findings);
    findings.add_unknown("k3s.disable", &k3s.disable, &COMPONENTS);
    findings.add_repeated("k3s.disable", &k3s.disable);
    findings.add_repeated("k3s.tlsSan", &k3s.tls_san);
    manifests("k3s.manifests", &k3s.manifests, findings);
    manifests("k3s.staticPods", &k3s.static_pods, findings);
}

fn joining(k3s: &K3s, findings: &mut Findings) {
    if let Some(server) = &k3s.server {
        endpoint::check("k3s.server", server, endpoint::K3S_SERVER, findings);
        let needs = Problem::Needs { needed: "token", reason: "a cluster is joined with its token" };
        findings.add_if(k3s.token.is_none(), "k3s", needs);
    }
    if k3s.role == K3sRole::Agent && k3s.server.is_none() {
        findings.add("k3s", Problem::Needs { needed: "server", reason: "an agent joins a server" });
        let needs = Problem::Needs { needed: "token", reason: "an agent joins with the cluster's token" };
        findings.add_if(k3s.token.is_none(), "k3s", needs);
    }
    if let Some(token) = &k3s.token {
        let fits = token.expose().len() >= 16 && token.expose().bytes().all(|b| b.is_ascii_graphic());
        let expected = "a token: at least 16 visible ASCII characters";
        findings.add_if(!fits, "k3s.token", Problem::MalformedSecret { expected });
    }
}

fn agent(k3s: &K3s, findings: &mut Findings) {
    let servers_only = [
        ("k3s.clusterCidr", k3s.cluster_cidr.is_some()),
        ("k3s.serviceCidr", k3s.service_cidr.is_some()),
        ("k3s.disable", !k3s.disable.is_empty()),
        ("k3s.tlsSan", !k3s.tls_san.is_empty()),
        ("k3s.manifests", !k3s.manifests.is_empty()),
    ];
    for (path, set) in servers_only {
        findings.add_if(set, path, Problem::Pointless { reason: "it is for servers, and this is an agent" });
    }
}

fn names(k3s: &K3s, findings: &mut Findings) {
    for (key, value) in &k3s.node_labels {
        let path = join("k3s.nodeLabels", key);
        let expected = "a label: `[prefix/]name`, letters, digits, `-`, `_` and `.`";
        findings.add_if(!is_qualified_name(key), &path, Problem::Malformed { value: key.clone(), expected });
        let expected = "a label's value: up to 63 letters, digits, `-`, `_` and `.`";
        findings.add_if(!value.is_empty() && !is_name(value), &path, Problem::Malformed { value: value.clone(), expected });
        let reason = "belongs to Kubernetes, and a kubelet that gives it to itself does not start";
        findings.add_if(is_kubernetes_own(key), &path, Problem::Reserved { name: key.clone(), reason });
    }
    for (index, taint) in k3s.node_taints.iter().enumerate() {
        let expected = "a taint: `key=value:Effect` with NoSchedule, PreferNoSchedule or NoExecute";
        let problem = Problem::Malformed { value: taint.clone(), expected };
        findings.add_if(!is_taint(taint), &format!("k3s.nodeTaints[{index}]"), problem);
    }
    findings.add_repeated("k3s.nodeTaints", &k3s.node_taints);
}

fn is_name(name: &str) -> bool {
    let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    bytes.len() <= 63
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

fn is_qualified_name(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => prefix.parse::<DnsName>().is_ok() && is_name(name),
        None => is_name(key),
    }
}

fn is_kubernetes_own(key: &str) -> bool {
    let Some((prefix, _)) = key.split_once('/') else { return false };
    let within = |domain: &str| prefix == domain || prefix.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
    let allowed = within("kubelet.kubernetes.io") || within("node.kubernetes.io") || KUBELET_LABELS.contains(&key);
    (within("kubernetes.io") || within("k8s.io")) && !allowed
}

fn is_taint(taint: &str) -> bool {
    let Some((rest, effect)) = taint.rsplit_once(':') else { return false };
    let (key, value) = rest.split_once('=').unwrap_or((rest, ""));
    TAINT_EFFECTS.contains(&effect) && is_qualified_name(key) && (value.is_empty() || is_name(value))
}

fn networks(k3s: &K3s, network: &Network, findings: &mut Findings) {
    let or_default = |cidr: &Option<IpNetwork>, default: &str| {
        cidr.as_ref().map_or_else(|| default.parse().expect("a constant network"), IpNetwork::net)
    };
    let pods: IpNet = or_default(&k3s.cluster_cidr, DEFAULT_CLUSTER_CIDR);
    let services: IpNet = or_default(&k3s.service_cidr, DEFAULT_SERVICE_CIDR);
    network_address("k3s.clusterCidr", pods, findings);
    network_address("k3s.serviceCidr", services, findings);
    overlap("k3s.serviceCidr", services, pods, "the pods' network", findings);
    for (link, interface) in network.interfaces.iter().enumerate() {
        for (index, address) in interface.addresses.iter().enumerate() {
            let is = format!("machine.network.interfaces[{link}].addresses[{index}]");
            overlap("k3s.clusterCidr", pods, address.net(), &is, findings);
            overlap("k3s.serviceCidr", services, address.net(), &is, findings);
        }
    }
    if let Some(ip) = k3s.node_ip {
        // With DHCP on any link, or no link named, the address may come from there.
        let dynamic = network.interfaces.is_empty() || network.interfaces.iter().any(|link| link.dhcp4);
        let own = network.interfaces.iter().flat_map(|link| &link.addresses).any(|address| address.net().addr() == ip);
        let problem = Problem::Unusable { address: ip, reason: "no address of this machine; give one of `machine.network`" };
        findings.add_if(!own && !dynamic, "k3s.nodeIp", problem);
    }
}

fn overlap(path: &str, network: IpNet, other: IpNet, other_is: &str, findings: &mut Findings) {
    let overlaps = network.contains(&other.network()) || other.contains(&network.network());
    let problem = Problem::Overlap { network: network.to_string(), other: other.to_string(), other_is: other_is.into() };
    findings.add_if(overlaps, path, problem);
}

/// Manifests are Kubernetes' to understand; that they are YAML at all is checked here, where the operator still looks.
fn manifests(path: &str, manifests: &BTreeMap<DnsName, String>, findings: &mut Findings) {
    for (name, text) in manifests {
        let path = join(path, name.as_str());
        findings.add_if(text.trim().is_empty(), &path, Problem::Pointless { reason: "it is empty" });
        if let Some(error) = Parser::new_from_str(text).find_map(Result::err) {
            let message = format!("line {} of it: {}", error.marker().line(), error.info());
            findings.add(path, Problem::NotYaml { message });
        }
    }
}
