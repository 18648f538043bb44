//! The text of /etc/resolv.conf, /etc/hosts and /etc/hostname. Pure; what is written is what the configuration and DHCP say, and no default server.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;

use machine_config::schema::MachineConfig;

use super::dhcp::Lease;

/// The C library asks no more servers than this (resolv.h, MAXNS); the kubelet complains about more.
const MAX_NAMESERVERS: usize = 3;

/// The own name resolves to this address even when the machine has no other: k3s must find it.
const OWN_NAME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 1, 1));

/// The three files' contents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// /etc/resolv.conf.
    pub resolv_conf: String,
    /// /etc/hosts.
    pub hosts: String,
    /// The host name, without a line end.
    pub hostname: String,
}

impl Names {
    /// What the files are to say; `fallback` is the host name of a device without a configuration.
    pub fn new(config: Option<&MachineConfig>, leases: &BTreeMap<u32, Lease>, fallback: &str) -> Self {
        let hostname = hostname(config).unwrap_or(fallback).to_owned();
        Self { resolv_conf: resolv_conf(config, leases), hosts: hosts(config, &hostname), hostname }
    }
}

/// The configured host name: `machine.hostname`, else `metadata.name`.
pub fn hostname(config: Option<&MachineConfig>) -> Option<&str> {
    let config = config?;
    Some(config.machine.hostname.as_ref().unwrap_or(&config.metadata.name).as_str())
}

/// Static servers and domains first, then those of DHCP in link order, none twice.
fn resolv_conf(config: Option<&MachineConfig>, leases: &BTreeMap<u32, Lease>) -> String {
    let network = config.map(|config| &config.machine.network);
    let mut servers: Vec<IpAddr> = network.map(|network| network.nameservers.clone()).unwrap_or_default();
    let mut domains: Vec<String> = network.iter().flat_map(|network| &network.search).map(ToString::to_string).collect();
    for lease in leases.values() {
        servers.extend(lease.nameservers.iter().map(|server| IpAddr::V4(*server)));
        domains.extend(lease.search.iter().cloned());
    }
    let mut text = String::from("# Written by init from the configuration and DHCP.\n");
    for (n, server) in distinct(servers).iter().enumerate() {
        let mark = if n < MAX_NAMESERVERS { "" } else { "# not asked: " };
        line(&mut text, format_args!("{mark}nameserver {server}"));
    }
    let domains = distinct(domains);
    if !domains.is_empty() {
        line(&mut text, format_args!("search {}", domains.join(" ")));
    }
    text
}

fn hosts(config: Option<&MachineConfig>, hostname: &str) -> String {
    let mut text = String::from("# Written by init.\n127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n");
    let configured = config.map(|config| &config.machine.network.hosts);
    if !configured.is_some_and(|hosts| hosts.values().flatten().any(|name| name.as_str() == hostname)) {
        line(&mut text, format_args!("{OWN_NAME} {hostname}"));
    }
    for (address, names) in configured.into_iter().flatten() {
        let names: Vec<&str> = names.iter().map(machine_config::types::DnsName::as_str).collect();
        if !names.is_empty() {
            line(&mut text, format_args!("{address} {}", names.join(" ")));
        }
    }
    text
}

fn line(text: &mut String, content: std::fmt::Arguments<'_>) {
    writeln!(text, "{content}").expect("a String takes everything");
}

fn distinct<T: PartialEq>(items: Vec<T>) -> Vec<T> {
    let mut kept = Vec::with_capacity(items.len());
    for item in items {
        if !kept.contains(&item) {
            kept.push(item);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::config;
    use super::super::reconcile::tests::lease;
    use super::*;

    #[test]
    fn without_a_configuration() {
        let mut lease = lease("10.0.2.15/24", [10, 0, 2, 2]);
        lease.nameservers = vec![[10, 0, 2, 3].into()];
        lease.search = vec!["site.example".into()];
        let names = Names::new(None, &BTreeMap::from([(2, lease)]), "skerry-9f3c");
        assert_eq!(
            names.resolv_conf,
            "# Written by init from the configuration and DHCP.\nnameserver 10.0.2.3\nsearch site.example\n"
        );
        assert_eq!(
            names.hosts,
            "# Written by init.\n127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n127.0.1.1 skerry-9f3c\n"
        );
        assert_eq!(names.hostname, "skerry-9f3c");
    }

    #[test]
    fn static_servers_come_first_and_none_twice() {
        let mut config = config(vec![]);
        config.machine.network.nameservers = vec!["192.0.2.1".parse().expect("valid"), "2001:db8::53".parse().expect("valid")];
        config.machine.network.search = vec!["acme.example".parse().expect("valid")];
        let mut lease = lease("10.0.2.15/24", [10, 0, 2, 2]);
        lease.nameservers = vec![[192, 0, 2, 1].into(), [10, 0, 2, 3].into(), [10, 0, 2, 4].into()];
        lease.search = vec!["acme.example".into(), "site.example".into()];
        let names = Names::new(Some(&config), &BTreeMap::from([(2, lease)]), "unused");
        assert_eq!(
            names.resolv_conf,
            "# Written by init from the configuration and DHCP.\nnameserver 192.0.2.1\nnameserver 2001:db8::53\n\
             nameserver 10.0.2.3\n# not asked: nameserver 10.0.2.4\nsearch acme.example site.example\n"
        );
    }

    #[test]
    fn nobody_is_asked_whom_nobody_named() {
        let names = Names::new(None, &BTreeMap::new(), "skerry");
        assert!(!names.resolv_conf.contains("nameserver"));
    }

    #[test]
    fn the_own_name_may_be_configured() {
        let mut config = config(vec![]);
        config.machine.hostname = Some("till-3".parse().expect("valid"));
        config.machine.network.hosts = BTreeMap::from([
            ("192.0.2.9".parse().expect("valid"), vec!["till-3".parse().expect("valid"), "till-3.acme".parse().expect("valid")]),
            ("192.0.2.10".parse().expect("valid"), vec![]),
        ]);
        let names = Names::new(Some(&config), &BTreeMap::new(), "unused");
        assert_eq!(names.hostname, "till-3");
        assert!(names.hosts.ends_with("ip6-loopback\n192.0.2.9 till-3 till-3.acme\n"), "{}", names.hosts);
    }
}
