//! The v1alpha1 schema: the types of everything a signed machine configuration may say.
//!
//! Every struct refuses unknown keys. Enums are externally tagged, because internally tagged and untagged ones lose the line
//! and column of what is wrong inside them. Meaning that spans fields (references, conflicts) is judged in `semantics`, not here.

use std::collections::BTreeMap;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::limits;
use crate::types::{
    DeviceId, DiskName, DnsName, Generation, HostName, InterfaceName, IpNetwork, MacAddress, ModuleName, Secret, SysctlName,
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
    /// The version of this schema. Other versions are refused.
    pub api_version: ApiVersion,
    /// What the document is.
    pub kind: Kind,
    /// Name, fleet and generation.
    pub metadata: Metadata,
    /// Which device this is for: exactly one key is set. Every other device refuses the configuration.
    pub target: Target,
    /// The operating system's own settings.
    #[serde(default)]
    pub machine: Machine,
    /// Who may call the API.
    #[serde(default)]
    pub api: Api,
    /// The hub the device phones home to. Default: none, the device calls nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub: Option<Hub>,
    /// Kubernetes by k3s. Default: none, containerd runs alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub k3s: Option<K3s>,
}

/// What the configuration is called and how it orders against others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Metadata {
    /// The device's name; also its host name unless `machine.hostname` says otherwise.
    pub name: HostName,
    /// The fleet whose key signs it. A device of another fleet refuses it.
    pub fleet: DnsName,
    /// Orders the configurations of one device: greater than that of the last accepted one, or equal when the file is the same byte
    /// for byte.
    pub generation: Generation,
    /// Free labels for the operator's tools; the device does not act on them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// Which device a configuration is for. Exactly one key is set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Target {
    /// Serial number of system, board or chassis as the firmware tells it (`skerryctl get hardware`), compared exactly. Vendors'
    /// placeholders, such as `Default string`, are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// The device id: SHA-256 of the device's public key, as console, label and `skerryctl status` show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<DeviceId>,
    /// MAC address of any wired port of the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddress>,
    /// Only ever `true`: any device of the fleet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub any: Option<bool>,
}

/// The operating system's own settings.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Machine {
    /// Host name, and the name of the Kubernetes node. Default: `metadata.name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<HostName>,
    /// Clock synchronisation.
    pub time: Time,
    /// Links, addresses, routes, name resolution.
    pub network: Network,
    /// What becomes of the disk.
    pub volumes: Volumes,
    /// Kernel parameters by dotted name, each value one line of text: `net.core.somaxconn: "1024"`. Those that are the system's
    /// own are refused (list below).
    pub sysctls: BTreeMap<SysctlName, String>,
    /// Kernel modules to load besides those the hardware asks for. The image must carry them; one it does not carry is reported by
    /// `skerryctl status`.
    pub modules: Vec<ModuleName>,
    /// Hardware watchdog.
    pub watchdog: Watchdog,
    /// What is logged where.
    pub logging: Logging,
    /// How image registries are reached, by the host in an image's name, with port if it has one (`docker.io`, `registry.example:5000`).
    pub registries: BTreeMap<String, Registry>,
    /// When a boot counts as good.
    pub health: Health,
    /// Which disk a system that runs from RAM (PXE, ISO) installs itself on. A system that runs from its disk does not act on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub install: Option<Install>,
}

/// Clock synchronisation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Time {
    /// NTP servers, by name or IPv4 address. Empty: none is asked; there is no default server.
    pub servers: Vec<DnsName>,
}

/// Links, addresses, routes, name resolution.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Network {
    /// Network links. Empty: every wired port asks DHCPv4. Otherwise a port that is not listed is left alone.
    pub interfaces: Vec<Interface>,
    /// Addresses of DNS servers; they are asked before those of DHCP. There is no default server.
    pub nameservers: Vec<IpAddr>,
    /// DNS search domains.
    pub search: Vec<DnsName>,
    /// Lines of /etc/hosts: address to list of names.
    pub hosts: BTreeMap<IpAddr, Vec<DnsName>>,
}

/// One network link.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Interface {
    /// The kernel's name of the link (`skerryctl get links`). Exactly one of `name` and `mac` is set; on a machine with several ports prefer
    /// `mac`, because the kernel may number them otherwise at the next boot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<InterfaceName>,
    /// MAC address of a wired port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddress>,
    /// Ask DHCPv4 for an address.
    pub dhcp4: bool,
    /// Static addresses with prefix length; IPv4 and IPv6. No address stands on two links.
    pub addresses: Vec<IpNetwork>,
    /// Static routes over this link.
    pub routes: Vec<Route>,
    /// Largest packet, in bytes; at least 1280 on a link with an IPv6 address. Default: the driver's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = *limits::MTU_BYTES.start(), max = *limits::MTU_BYTES.end()))]
    pub mtu: Option<u32>,
    /// Keep the link down. Goes with no other setting of the link.
    pub ignore: bool,
}

/// A static route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Route {
    /// Destination network; `0.0.0.0/0` and `::/0` are the default routes.
    pub to: IpNetwork,
    /// Address of the gateway, in a network of one of the link's addresses; with `dhcp4` any IPv4 address, and an IPv6 gateway may be
    /// link-local.
    pub via: IpAddr,
    /// Of several routes to one destination the lowest metric wins; those of DHCP have 1024 and up. Default: the kernel's, 0 for IPv4 and 1024
    /// for IPv6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
}

/// What becomes of the disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Volumes {
    /// DATA: images, containers, volumes, the cluster's state. Mounted at /var.
    pub data: DataVolume,
}

/// DATA: images, containers, volumes, the cluster's state. Mounted at /var.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct DataVolume {
    /// Upper bound of the partition in MiB. A larger bound lets it grow at the next boot; it is never made smaller. Default: the rest of the
    /// disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = *limits::DATA_MIB.start(), max = *limits::DATA_MIB.end()))]
    pub max_size_mib: Option<u64>,
    /// Encrypt at rest.
    pub encrypted: bool,
}

/// Hardware watchdog.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Watchdog {
    /// Seconds without a sign of life until the hardware resets the machine. Default: not armed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = *limits::WATCHDOG_SECONDS.start(), max = *limits::WATCHDOG_SECONDS.end()))]
    pub timeout_seconds: Option<u32>,
}

/// What is logged where.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Logging {
    /// The least important line of init's own log that the console shows. The log kept for the API is not affected.
    pub level: LogLevel,
    /// Where service logs are sent, as JSON lines: `tcp://host:port`. Default: nowhere.
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

/// How one image registry is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Registry {
    /// Base URLs, `https://host[:port][/path]` or with `http`, tried in turn before the registry itself.
    pub mirrors: Vec<String>,
    /// PEM certificates of the authorities this registry and its mirrors are trusted by. Default: the authorities in the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// Credentials for this registry. A mirror that needs some has an entry of its own. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<RegistryAuth>,
    /// Ask mirrors only, never the registry itself.
    pub mirrors_only: bool,
}

/// Registry credentials.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RegistryAuth {
    /// User name, without colon.
    pub username: String,
    /// Password or token, one line.
    pub password: Secret,
}

/// When a boot counts as good.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Health {
    /// Seconds from power-on until every check must have passed. Default: 600.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = *limits::HEALTH_DEADLINE_SECONDS.start(), max = *limits::HEALTH_DEADLINE_SECONDS.end()))]
    pub deadline_seconds: Option<u32>,
    /// Services that must be up: `apid`, `containerd`, `images`, `k3s`. Empty: all that are configured.
    pub services: Vec<String>,
}

/// Which disk a system that runs from RAM (PXE, ISO) installs itself on. A system that runs from its disk does not act on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Install {
    /// The disk: all that is given must hold, and for exactly one disk; else nothing is written, and `skerryctl status` lists the disks.
    pub disk: DiskSelector,
    /// What on that disk may be lost. With `refuse` it must be blank: no partition table, no known file system, nothing but zeros (or 0xff) in its first
    /// and last MiB and in samples between them. An installation of the same fleet is lost only to a configuration of a higher generation.
    #[serde(default)]
    pub wipe: Wipe,
}

/// Chooses a disk. All that is given must hold, and at least one thing is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct DiskSelector {
    /// The kernel's name. It may change with the ports in use; prefer the others where there are several disks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<DiskName>,
    /// Serial number as the disk tells it (`skerryctl get hardware`), compared exactly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// Model as the disk tells it; `*` stands for any characters: `Samsung SSD 9*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// How the disk is attached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transport: Option<Transport>,
    /// Smallest size in MiB. Default: no bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = *limits::DISK_MIB.start(), max = *limits::DISK_MIB.end()))]
    pub min_size_mib: Option<u64>,
    /// Largest size in MiB. Default: no bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = *limits::DISK_MIB.start(), max = *limits::DISK_MIB.end()))]
    pub max_size_mib: Option<u64>,
}

/// How a disk is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// NVMe, on PCI Express.
    Nvme,
    /// SATA or older ATA.
    Sata,
    /// USB.
    Usb,
    /// SD card or eMMC.
    Mmc,
    /// A virtual machine's virtio disk.
    Virtio,
    /// SCSI or SAS.
    Scsi,
}

impl Transport {
    /// The word in a configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nvme => "nvme",
            Self::Sata => "sata",
            Self::Usb => "usb",
            Self::Mmc => "mmc",
            Self::Virtio => "virtio",
            Self::Scsi => "scsi",
        }
    }
}

/// What on the disk may be lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Wipe {
    /// Nothing: only a blank disk is taken.
    #[default]
    Refuse,
    /// An installation of Skerry of the same fleet, or of none, with all its data; else like `refuse`.
    Skerry,
    /// Everything: other systems, and installations of other fleets.
    All,
}

/// Who may call the API.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Api {
    /// PEM certificates of the authorities whose client certificates are admitted (`client-ca.pem` of the fleet's folder, several one after
    /// the other). Needed: without it nobody would be admitted, and the device would take no more orders over the network.
    pub client_ca: String,
    /// TCP port the API listens on; not 6443 or 10250, which are Kubernetes'. Default: 7440.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
}

/// Where to phone home.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Hub {
    /// Address of the hub: `https://host[:port]`; without a port it is 443.
    pub url: String,
    /// SHA-256 of the hub's public key (SubjectPublicKeyInfo), as `skerry-hub pin` prints it: 64 lower-case hexadecimal digits. It alone
    /// decides: names, authorities and dates in certificates do not count.
    pub pin: String,
    /// Further addresses of the same hub, tried in turn when `url` does not answer; all show the same key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = limits::HUB_FALLBACKS))]
    pub fallbacks: Vec<String>,
    /// The proxy through which the hub is called. Default: none, the hub is called directly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<HubProxy>,
}

/// The proxy through which the hub is called. It passes bytes that only device and hub can read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HubProxy {
    /// Address of the proxy: `http://host:port` or `https://host:port`. It must let `CONNECT` through to the hub's port.
    pub url: String,
    /// User name, without colon. Set together with `password`. Default: the proxy asks for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Password, one line. To a proxy with `http` it goes in the clear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// SHA-256 of the public key of a proxy with `https`, which needs it: 64 lower-case hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<String>,
}

/// Kubernetes by k3s.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct K3s {
    /// `server` runs control plane and workloads, `agent` workloads only.
    pub role: K3sRole,
    /// Address of a server of the cluster to join: `https://host:6443`. An agent needs it. Default: none, a server begins a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// Shared secret of the cluster, at least 16 visible ASCII characters. Needed with `server`. Default: the first server makes one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
    /// Address of this machine that the node registers with. Default: k3s chooses, by the default route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_ip: Option<IpAddr>,
    /// Labels the node registers with. Most of `kubernetes.io` and `k8s.io` are Kubernetes' own and refused (list below).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_labels: BTreeMap<String, String>,
    /// Taints the node registers with, `key=value:Effect`; the effect is `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub node_taints: Vec<String>,
    /// Network the pods have their addresses from; servers only. It overlaps with no other network of the machine. Default: 10.42.0.0/16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_cidr: Option<IpNetwork>,
    /// Network the services have their addresses from; servers only. It overlaps with no other network of the machine. Default:
    /// 10.43.0.0/16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_cidr: Option<IpNetwork>,
    /// Packaged components not to deploy; servers only: `traefik`, `servicelb`, `metrics-server`, `local-storage`, `coredns`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disable: Vec<String>,
    /// Further names and IPv4 addresses in the certificate of the Kubernetes API server; servers only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tls_san: Vec<DnsName>,
    /// Kubernetes manifests that a server deploys, as YAML text, by file name without `.yaml`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub manifests: BTreeMap<DnsName, String>,
    /// Pods the kubelet runs by itself, without any server, as YAML text, by file name without `.yaml`.
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
