//! A table of settings and what is wrong with them.

use super::check_semantics;
use crate::parse::parse;

const CLIENT_CA: &str = "clientCa: \"-----BEGIN CERTIFICATE-----\\nMAA=\\n-----END CERTIFICATE-----\"";

/// The paths and messages of what is wrong with a configuration that says this besides the least.
fn wrong(more: &str) -> Vec<String> {
    let target = if more.contains("target:") { "" } else { "target: {any: true}\n" };
    let api = if more.contains("api:") { String::new() } else { format!("api: {{{CLIENT_CA}}}\n") };
    let text = format!(
        "apiVersion: skerry.dev/v1alpha1\nkind: MachineConfig\nmetadata: {{name: a, fleet: acme, generation: 1}}\n{target}{api}{more}\n"
    );
    let config = parse(text.as_bytes()).unwrap_or_else(|error| panic!("{}", error.report("test")));
    check_semantics(&config).err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

/// Each text is wrong in exactly one way: at this path, in these words.
fn check(cases: &[(&str, &str, &str)]) {
    for (more, path, words) in cases {
        let wrong = wrong(more);
        assert_eq!(wrong.len(), 1, "{more}: {wrong:?}");
        assert!(wrong[0].starts_with(&format!("{path}: ")) && wrong[0].contains(words), "{more}: {wrong:?}");
    }
}

fn check_fine(cases: &[&str]) {
    for more in cases {
        assert_eq!(wrong(more), Vec::<String>::new(), "{more}");
    }
}

#[test]
fn targets() {
    check(&[
        ("target: {}", "target", "0 of"),
        ("target: {serial: A, any: true}", "target", "2 of"),
        ("target: {any: false}", "target.any", "only be true"),
        ("target: {serial: \"\"}", "target.serial", "placeholder"),
        ("target: {serial: \" Default String\"}", "target.serial", "placeholder"),
        ("target: {serial: To Be Filled By O.E.M.}", "target.serial", "placeholder"),
    ]);
    check_fine(&["target: {serial: FZ1234567}", "target: {mac: 52:54:00:12:34:56}"]);
}

fn links(links: &str) -> String {
    format!("machine: {{network: {{interfaces: [{links}]}}}}")
}

#[test]
fn links_and_addresses() {
    const LINK: &str = "machine.network.interfaces";
    let cases = [
        ("{dhcp4: true}", "[0]", "exactly one of"),
        ("{name: eth0, mac: 52:54:00:12:34:56}", "[0]", "exactly one of"),
        ("{name: lo}", "[0].name", "system's own"),
        ("{name: eth0}, {name: eth1}, {name: eth0}", "[2].name", "already at machine.network.interfaces[0].name"),
        ("{mac: 52:54:00:12:34:56}, {mac: 52:54:00:12:34:56}", "[1].mac", "already"),
        ("{name: eth0, ignore: true, mtu: 1500}", "[0].ignore", "no effect"),
        ("{name: eth0, addresses: [10.0.0.1/24, 10.0.0.1/16]}", "[0].addresses[1]", "already"),
        ("{name: eth0, addresses: [10.0.0.1/24]}, {name: eth1, addresses: [10.0.0.1/24]}", "[1].addresses[0]", "already"),
        ("{name: eth0, addresses: [\"fd00::1/64\", \"fd00:0::1/64\"]}", "[0].addresses[1]", "already"),
        ("{name: eth0, addresses: [10.0.0.0/24]}", "[0].addresses[0]", "network's own"),
        ("{name: eth0, addresses: [10.0.0.255/24]}", "[0].addresses[0]", "broadcast"),
        ("{name: eth0, addresses: [224.0.0.1/24]}", "[0].addresses[0]", "multicast"),
        ("{name: eth0, addresses: [127.0.0.2/8]}", "[0].addresses[0]", "loopback"),
        ("{name: eth0, mtu: 67}", "[0].mtu", "outside of 68"),
        ("{name: eth0, mtu: 1279, addresses: [\"fd00::1/64\"]}", "[0].mtu", "outside of 1280"),
        ("{name: eth0, mtu: 65536}", "[0].mtu", "outside"),
    ];
    for (text, path, words) in cases {
        check(&[(&links(text), &format!("{LINK}{path}"), words)]);
    }
    check_fine(&[
        &links("{name: eth0, addresses: [10.0.0.0/31]}, {name: eth1, addresses: [10.0.0.5/32]}"),
        &links("{name: eth0, ignore: true}, {mac: 52:54:00:12:34:56, dhcp4: true, mtu: 9000}"),
    ]);
}

#[test]
fn routes_and_gateways() {
    let with = |addresses: &str, route: &str| links(&format!("{{name: eth0, addresses: [{addresses}], routes: [{{{route}}}]}}"));
    const ROUTE: &str = "machine.network.interfaces[0].routes[0]";
    let cases = [
        ("10.0.0.2/24", "to: 0.0.0.0/0, via: 10.0.1.1", ".via", "none of the link's networks"),
        ("10.0.0.2/24", "to: 0.0.0.0/0, via: 10.0.0.2", ".via", "own address"),
        ("10.0.0.2/24", "to: \"::/0\", via: 10.0.0.1", "", "different address families"),
        ("10.0.0.2/24", "to: 192.168.1.1/24, via: 10.0.0.1", ".to", "did you mean `192.168.1.0/24`?"),
        ("\"fd00::2/64\"", "to: \"::/0\", via: \"fd01::1\"", ".via", "none of the link's networks"),
    ];
    for (addresses, route, path, words) in cases {
        check(&[(&with(addresses, route), &format!("{ROUTE}{path}"), words)]);
    }
    check_fine(&[
        &with("10.0.0.2/24", "to: 0.0.0.0/0, via: 10.0.0.1, metric: 5"),
        &with("\"fd00::2/64\"", "to: \"::/0\", via: \"fe80::1\""),
        &links("{name: eth0, dhcp4: true, routes: [{to: 10.9.0.0/16, via: 10.0.0.1}]}"),
    ]);
}

#[test]
fn name_resolution() {
    check(&[
        ("machine: {network: {nameservers: [0.0.0.0]}}", "machine.network.nameservers[0]", "means any"),
        ("machine: {network: {nameservers: [1.1.1.1, 1.1.1.1]}}", "machine.network.nameservers[1]", "already"),
        ("machine: {network: {search: [a, b, a]}}", "machine.network.search[2]", "already"),
        ("machine: {network: {hosts: {10.0.0.1: []}}}", "machine.network.hosts[\"10.0.0.1\"]", "no name"),
        ("machine: {network: {hosts: {10.0.0.1: [localhost]}}}", "machine.network.hosts[\"10.0.0.1\"]", "this machine"),
    ]);
}

#[test]
fn the_machine() {
    check(&[
        ("machine: {volumes: {data: {maxSizeMib: 100}}}", "machine.volumes.data.maxSizeMib", "outside"),
        ("machine: {sysctls: {net.ipv4.ip_forward: \"0\"}}", "machine.sysctls[\"net.ipv4.ip_forward\"]", "set by the system"),
        ("machine: {sysctls: {kernel.modprobe: /x}}", "machine.sysctls[\"kernel.modprobe\"]", "run a program"),
        ("machine: {sysctls: {fs.binfmt_misc.register: x}}", "machine.sysctls[\"fs.binfmt_misc.register\"]", "interpreters"),
        ("machine: {sysctls: {net.core.x: \"\"}}", "machine.sysctls[\"net.core.x\"]", "one line"),
        ("machine: {modules: [a, a]}", "machine.modules[1]", "already"),
        ("machine: {watchdog: {timeoutSeconds: 1}}", "machine.watchdog.timeoutSeconds", "1 s is outside of 10 to 600"),
        ("machine: {logging: {destination: \"udp://a:1\"}}", "machine.logging.destination", "tcp://"),
        ("machine: {health: {deadlineSeconds: 1}}", "machine.health.deadlineSeconds", "outside"),
        ("machine: {health: {services: [sshd]}}", "machine.health.services[0]", "unknown"),
        ("machine: {health: {services: [apid, apid]}}", "machine.health.services[1]", "already"),
        ("machine: {time: {servers: [a, a]}}", "machine.time.servers[1]", "already"),
    ]);
}

#[test]
fn registries() {
    let with = |host: &str, registry: &str| format!("machine: {{registries: {{\"{host}\": {{{registry}}}}}}}");
    let cases = [
        ("https://docker.io", "", "", "a registry: a host"),
        ("docker.io", "mirrors: [docker.io]", ".mirrors[0]", "a mirror's address"),
        ("docker.io", "mirrors: [\"http://a\", \"http://a\"]", ".mirrors[1]", "already"),
        ("docker.io", "mirrorsOnly: true", ".mirrorsOnly", "`mirrors` must be set"),
        ("docker.io", "ca: x", ".ca", "no certificate"),
        ("docker.io", "auth: {username: \"\", password: x}", ".auth.username", "user name"),
        ("docker.io", "auth: {username: a, password: \"\"}", ".auth.password", "one line"),
    ];
    for (host, registry, path, words) in cases {
        check(&[(&with(host, registry), &format!("machine.registries[\"{host}\"]{path}"), words)]);
    }
    check_fine(&[&with("registry.example:5000", "mirrors: [\"http://10.0.2.2:5000/x\"], mirrorsOnly: true")]);
}

#[test]
fn the_api_and_the_hub() {
    let pin = "a".repeat(64);
    check(&[
        (&format!("api: {{port: 0, {CLIENT_CA}}}"), "api.port", "not free"),
        (&format!("api: {{port: 6443, {CLIENT_CA}}}"), "api.port", "not free"),
        ("api: {clientCa: hello}", "api.clientCa", "no certificate"),
        ("api: {clientCa: \"\"}", "api", "`clientCa` must be set too: without it nobody is admitted"),
        ("api: {}", "api", "`skerryctl config new --fleet DIR`"),
        (&format!("hub: {{url: \"https://a/b\", pin: {pin}}}"), "hub.url", "hub's address"),
        ("hub: {url: \"https://a\", pin: ab}", "hub.pin", "64"),
    ]);
}

#[test]
fn kubernetes() {
    const JOIN: &str = "server: \"https://a:6443\", token: a-token-long-enough";
    let k3s = |text: &str| format!("k3s: {{{}}}", text.replace("JOIN", JOIN));
    let cases = [
        ("role: agent, token: a-token-long-enough", "k3s", "`server` must be set"),
        ("role: agent, server: \"https://a:6443\"", "k3s", "`token` must be set"),
        ("role: server, server: \"https://a:6443\"", "k3s", "`token` must be set"),
        ("role: server, server: \"https://a\", token: a-token-long-enough", "k3s.server", "6443"),
        ("role: server, token: short", "k3s.token", "at least 16"),
        ("role: agent, JOIN, disable: [traefik]", "k3s.disable", "for servers"),
        ("role: agent, JOIN, manifests: {a: \"b: c\"}", "k3s.manifests", "for servers"),
        ("role: server, disable: [treafik]", "k3s.disable[0]", "unknown"),
        ("role: server, disable: [traefik, traefik]", "k3s.disable[1]", "already"),
        ("role: server, tlsSan: [a, a]", "k3s.tlsSan[1]", "already"),
        ("role: server, clusterCidr: 10.42.1.0/16", "k3s.clusterCidr", "did you mean `10.42.0.0/16`?"),
        ("role: server, serviceCidr: 10.42.0.0/20", "k3s.serviceCidr", "overlaps"),
        ("role: server, nodeLabels: {\"a b\": c}", "k3s.nodeLabels[\"a b\"]", "a label"),
        ("role: server, nodeLabels: {a: \"-\"}", "k3s.nodeLabels.a", "a label's value"),
        ("role: server, nodeLabels: {x.kubernetes.io/y: z}", "k3s.nodeLabels[\"x.kubernetes.io/y\"]", "does not start"),
        ("role: server, nodeTaints: [\"a=b\"]", "k3s.nodeTaints[0]", "a taint"),
        ("role: server, nodeTaints: [\"a=b:Never\"]", "k3s.nodeTaints[0]", "a taint"),
        ("role: server, staticPods: {a: \"\"}", "k3s.staticPods.a", "empty"),
        ("role: server, staticPods: {a: \"x: [\"}", "k3s.staticPods.a", "not YAML: line 1"),
    ];
    for (text, path, words) in cases {
        check(&[(&k3s(text), path, words)]);
    }
    check_fine(&[
        &k3s("role: agent, JOIN, nodeTaints: [\"a.example/b=c:NoSchedule\", \"d:NoExecute\"]"),
        &k3s("role: server, nodeLabels: {node.kubernetes.io/x: y, topology.kubernetes.io/zone: z, a.example/b: \"\"}"),
        &k3s("role: server, nodeIp: 10.0.0.9"),
        &k3s("role: server, manifests: {a: \"b: c\\n---\\nd: e\"}"),
    ]);
}

#[test]
fn kubernetes_beside_the_links() {
    let with = |address: &str, k3s: &str| {
        format!("{}\nk3s: {{role: server, {k3s}}}", links(&format!("{{name: eth0, addresses: [{address}]}}")))
    };
    check(&[
        (&with("10.42.0.5/24", ""), "k3s.clusterCidr", "machine.network.interfaces[0].addresses[0]"),
        (&with("10.0.0.5/24", "nodeIp: 10.0.0.6"), "k3s.nodeIp", "no address of this machine"),
    ]);
    check_fine(&[&with("10.0.0.5/24", "nodeIp: 10.0.0.5")]);
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    assert_eq!(wrong("api: {port: 0}\nmachine: {modules: [a, a], watchdog: {timeoutSeconds: 1}}").len(), 4);
}
