//! The v1alpha1 schema: the types of everything a signed machine configuration may say.
//!
//! Every struct refuses unknown keys. Enums are externally tagged, because internally tagged and untagged ones lose the line
//! and column of what is wrong inside them. Meaning that spans fields (references, conflicts) is judged in `semantics`, not here.

use std::collections::BTreeMap;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::types::{
    DeviceId, DnsName, Generation, HostName, InterfaceName, IpNetwork, MacAddress, ModuleName, Secret, SysctlName,
};

/// `apiVersion` of the schema in this file.
pub const API_VERSION: &str = "skerry.dev/v1alpha1";

/// The versions of the schema this library reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ApiVersion {
    /// `skerry.dev/v1alpha1`.
    #[serde(rename = "skerry.dev/v1alpha1")]
    V1Alpha1,
}

/// The kinds of document this library reads as a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Kind {
    /// The whole configuration of one machine.
    MachineConfig,
}

/// One machine's whole configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct MachineConfig {
    /// Schema version.
    pub api_version: ApiVersion,
    /// Always `MachineConfig`.
    pub kind: Kind,
    /// Name, fleet and generation.
    pub metadata: Metadata,
    /// Which device this is for; every other device refuses it.
    pub target: Target,
    /// The operating system's own settings.
    #[serde(default)]
    pub machine: Machine,
    /// Who may call the API.
    #[serde(default)]
    pub api: Api,
    /// Where to phone home; none: nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub: Option<Hub>,
    /// Kubernetes; none: containerd alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub k3s: Option<K3s>,
}

/// What the configuration is called and how it orders against others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Metadata {
    /// The device's name; also its host name unless `machine.hostname` says otherwise.
    pub name: HostName,
    /// The fleet whose key signs it.
    pub fleet: DnsName,
    /// Greater than the last accepted one, or equal and byte-identical.
    pub generation: Generation,
    /// Free labels for the operator's tools; the device does not act on them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// Which device a configuration is for. Exactly one field is set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Target {
    /// SMBIOS or board serial number, compared exactly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// SHA-256 of the device's public key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<DeviceId>,
    /// MAC address of any wired link of the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddress>,
    /// Must be `true` when given: any device of the fleet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub any: Option<bool>,
}

/// The operating system's own settings.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Machine {
    /// Host name; default: `metadata.name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<HostName>,
    /// Clock synchronisation.
    pub time: Time,
    /// Links, addresses, routes, name resolution.
    pub network: Network,
    /// Sizes of the partitions made on first boot.
    pub volumes: Volumes,
    /// Kernel parameters, e.g. `net.core.somaxconn: "1024"`.
    pub sysctls: BTreeMap<SysctlName, String>,
    /// Kernel modules to load besides those the hardware asks for.
    pub modules: Vec<ModuleName>,
    /// Hardware watchdog.
    pub watchdog: Watchdog,
    /// What is logged where.
    pub logging: Logging,
    /// Registry mirrors and credentials, by registry host (`docker.io`, `registry.example:5000`).
    pub registries: BTreeMap<String, Registry>,
    /// When a boot counts as good.
    pub health: Health,
}

/// Clock synchronisation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Time {
    /// NTP servers, by name or address. Empty: none is asked; no default server exists.
    pub servers: Vec<DnsName>,
}

/// Links, addresses, routes, name resolution.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Network {
    /// Wired links. Empty: DHCPv4 on every wired link.
    pub interfaces: Vec<Interface>,
    /// DNS servers; they come before those of DHCP.
    pub nameservers: Vec<IpAddr>,
    /// DNS search domains.
    pub search: Vec<DnsName>,
    /// Lines of /etc/hosts: address to names.
    pub hosts: BTreeMap<IpAddr, Vec<DnsName>>,
}

/// One wired link.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Interface {
    /// Kernel name. Exactly one of `name` and `mac` is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<InterfaceName>,
    /// MAC address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddress>,
    /// Ask DHCPv4 for an address.
    pub dhcp4: bool,
    /// Static addresses with prefix length.
    pub addresses: Vec<IpNetwork>,
    /// Static routes.
    pub routes: Vec<Route>,
    /// Bytes; default: the driver's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// A link that is never brought up.
    pub ignore: bool,
}

/// A static route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Route {
    /// Destination; `0.0.0.0/0` is the default route.
    pub to: IpNetwork,
    /// Gateway; must be reachable over one of the link's addresses.
    pub via: IpAddr,
    /// Lower wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
}

/// Sizes of the partitions made on first boot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Volumes {
    /// DATA, mounted at /var.
    pub data: DataVolume,
}

/// The DATA volume.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct DataVolume {
    /// Upper bound in MiB; default: the rest of the disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_size_mib: Option<u64>,
    /// Encrypt at rest.
    pub encrypted: bool,
}

/// Hardware watchdog.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Watchdog {
    /// Seconds without a sign of life until the hardware resets the machine; none: not armed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u32>,
}

/// What is logged where.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Logging {
    /// Level of init's own log on the console.
    pub level: LogLevel,
    /// Where service logs are sent, as `tcp://host:port` (JSON lines); none: nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
}

/// Log levels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Failures only.
    Error,
    /// And what may become one.
    Warn,
    /// And what a technician wants to see.
    #[default]
    Info,
    /// And what a developer wants to see.
    Debug,
}

/// How one registry is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Registry {
    /// Base URLs tried in turn before the registry itself.
    pub mirrors: Vec<String>,
    /// PEM certificates this registry and its mirrors may be signed by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// Credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<RegistryAuth>,
    /// Ask mirrors only, never the registry itself.
    pub mirrors_only: bool,
}

/// Registry credentials.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RegistryAuth {
    /// User name.
    pub username: String,
    /// Password or token.
    pub password: Secret,
}

/// When a boot counts as good.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Health {
    /// Seconds from power-on until every check must have passed; default 600.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline_seconds: Option<u32>,
    /// Services that must be ready; default: all that are configured.
    pub services: Vec<String>,
}

/// Who may call the API.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Api {
    /// PEM certificates of the CAs whose client certificates are admitted. Empty: nobody is, once configured.
    pub client_ca: String,
    /// TCP port; default 7440.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// Where to phone home.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Hub {
    /// `https://host[:port]`.
    pub url: String,
    /// SHA-256 of the hub's public key (SubjectPublicKeyInfo), hex.
    pub pin: String,
}

/// Kubernetes by k3s.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct K3s {
    /// Server (control plane and workloads) or agent (workloads only).
    pub role: K3sRole,
    /// `https://host:6443` of the server to join; an agent needs it, a first server has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// Shared secret of the cluster; an agent needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
    /// Address the node registers with; default: k3s chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_ip: Option<IpAddr>,
    /// Labels the node registers with.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_labels: BTreeMap<String, String>,
    /// Taints the node registers with, `key=value:Effect`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub node_taints: Vec<String>,
    /// Pod addresses; default k3s's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_cidr: Option<IpNetwork>,
    /// Service addresses; default k3s's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_cidr: Option<IpNetwork>,
    /// Packaged components not to deploy: `traefik`, `servicelb`, `metrics-server`, `local-storage`, `coredns`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disable: Vec<String>,
    /// Subject alternative names of the API server's certificate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tls_san: Vec<DnsName>,
    /// Manifests deployed by a server, by file name without `.yaml`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub manifests: BTreeMap<DnsName, String>,
    /// Pods the kubelet runs by itself, by file name without `.yaml`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub static_pods: BTreeMap<DnsName, String>,
}

/// What a node is in its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum K3sRole {
    /// Control plane and workloads.
    Server,
    /// Workloads only.
    Agent,
}
