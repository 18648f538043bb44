//! The network against the real kernel and a real DHCP server, in a network namespace of its own. Needs root, `unshare`, `ip` and `dnsmasq`.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use machine_config::schema::{Interface, MachineConfig, Route};

use super::plan::tests::config;
use super::*;
use crate::node::{Node, NodeStatus};
use crate::testing::skip;

/// Set inside the namespace: the inner tests refuse to touch the network of whoever runs them by hand.
const INSIDE: &str = "SKERRY_TEST_NETNS";

/// Longer than any step takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs an inner test in fresh network, mount and host-name namespaces, or says why not.
fn isolated(test: &str) {
    let tool =
        |name: &str| std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).any(|dir| dir.join(name).exists());
    if !rustix::process::geteuid().is_root() {
        return skip("network namespaces need root");
    }
    if let Some(missing) = ["unshare", "ip", "mount", "dnsmasq"].into_iter().find(|name| !tool(name)) {
        return skip(&format!("there is no `{missing}`; `make setup` installs it"));
    }
    let output = Command::new("unshare")
        .args(["--net", "--uts", "--mount"])
        .arg(std::env::current_exe().expect("the test runs from a file"))
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare was found");
    let text = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat();
    if text.contains("unshare failed") {
        return skip(text.trim());
    }
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
fn a_lease_is_taken_renewed_refused_and_survives_a_pulled_cable() {
    isolated("network::netns::leases");
}

#[test]
fn configurations_replace_each_other_and_leave_foreign_addresses_alone() {
    isolated("network::netns::configurations");
}

fn run(command: &str) -> String {
    let words: Vec<&str> = command.split_whitespace().collect();
    let output = Command::new(words[0]).args(&words[1..]).output().expect("the tool was found");
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A device with one port, `eth0`, whose cable ends in a server's namespace.
struct Site {
    node: Node,
    folder: tempfile::TempDir,
    server: Option<Child>,
}

impl Site {
    fn new() -> Option<Self> {
        if std::env::var_os(INSIDE).is_none() {
            eprintln!("skipped: runs only inside a namespace of its own");
            return None;
        }
        run("mount --make-rprivate /");
        run("mount -t tmpfs tmpfs /run");
        run("ip netns add server");
        run("ip link add eth0 type veth peer name port netns server");
        run("ip -n server address add 10.77.0.1/24 dev port");
        run("ip -n server link set port up");
        let folder = tempfile::tempdir().expect("a temp folder");
        let site = Self { node: Node::default(), folder, server: None };
        for (link, hardware, device) in [("eth0", "1\n", "device"), ("lo", "772\n", "queues")] {
            let folder = site.sys().join("class/net").join(link);
            std::fs::create_dir_all(folder.join(device)).expect("it can be made");
            std::fs::write(folder.join("type"), hardware).expect("it can be written");
        }
        std::fs::create_dir(site.etc()).expect("it can be made");
        Some(site)
    }

    fn sys(&self) -> PathBuf {
        self.folder.path().join("sys")
    }

    fn etc(&self) -> PathBuf {
        self.folder.path().join("etc")
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.etc().join(file)).expect("it is there")
    }

    fn start(&self, config: Option<MachineConfig>) -> NetworkHandle {
        let settings = Settings { sys: self.sys(), etc: self.etc(), fallback_hostname: "skerry-test".into() };
        start(self.node.clone(), settings, config.map(Arc::new))
    }

    fn serve(&mut self, range: &str) {
        self.stop_serving();
        let _ = std::fs::remove_file("/run/leases");
        let log = std::fs::File::options().create(true).append(true).open("/run/log").expect("it can be made");
        let mut command = Command::new("ip");
        command.args("netns exec server dnsmasq --keep-in-foreground --port=0 --interface=port --bind-interfaces".split(' '));
        command.args("--conf-file=/dev/null --dhcp-leasefile=/run/leases --pid-file= --user=root --log-facility=-".split(' '));
        command.args("--dhcp-authoritative --no-ping --log-dhcp --domain=site.example".split(' '));
        command.args("--dhcp-option=option:router,10.77.0.1 --dhcp-option=option:dns-server,10.77.0.53".split(' '));
        command.args("--dhcp-option=option:mtu,1400".split(' '));
        command.arg(format!("--dhcp-range={range},255.255.255.0,2m"));
        let child = command.stdout(Stdio::null()).stderr(log).spawn().expect("dnsmasq was found");
        self.server = Some(child);
    }

    fn stop_serving(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().expect("it runs");
            server.wait().expect("it has ended");
        }
    }

    async fn until(&self, what: &str, good: impl Fn(&NodeStatus) -> bool) {
        let mut watch = self.node.status.subscribe();
        let waited = tokio::time::timeout(PATIENCE, watch.wait_for(|status| good(status))).await.is_ok();
        let log = std::fs::read_to_string("/run/log").unwrap_or_default();
        assert!(waited, "{what}: {:#?}\n{:#?}\n{log}", self.node.status.get(), self.messages());
    }

    async fn until_log(&self, text: &str, times: usize) {
        for _ in 0..PATIENCE.as_millis() / 100 {
            let log = std::fs::read_to_string("/run/log").unwrap_or_default();
            if log.matches(text).count() >= times {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the server never logged `{text}`: {}", std::fs::read_to_string("/run/log").unwrap_or_default());
    }

    fn messages(&self) -> Vec<String> {
        self.node.events.tail(0).iter().map(|event| format!("{}: {}", event.subject, event.message)).collect()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.stop_serving();
    }
}

fn only(status: &NodeStatus, prefix: &str) -> bool {
    matches!(&status.addresses[..], [address] if address.starts_with(prefix))
}

#[tokio::test]
#[ignore = "runs inside a namespace of its own"]
async fn leases() {
    let Some(mut site) = Site::new() else { return };
    site.serve("10.77.0.100,10.77.0.109");
    let network = site.start(None);
    site.until("a lease", |status| only(status, "eth0 10.77.0.10")).await;
    assert!(run("ip route").contains("default via 10.77.0.1 dev eth0"), "{}", run("ip route"));
    assert!(run("ip link show eth0").contains("mtu 1400"));
    assert!(run("ip link show lo").contains("UP"));
    assert!(site.read("resolv.conf").ends_with("nameserver 10.77.0.53\nsearch site.example\n"));
    assert!(site.node.times.snapshot().dhcp_wait_usec > 0);
    assert_eq!(site.read("hostname"), "skerry-test\n");

    // A new name is told by an early renewal; the server's shortest lease would otherwise be renewed only after a minute.
    network.apply(Some(Arc::new(config(vec![]))));
    site.until("the configured name", |status| status.hostname == "store").await;
    site.until_log("client provides name: store", 1).await;
    site.until_log("DHCPACK", 2).await;

    site.serve("10.77.0.200,10.77.0.209");
    site.until_log("10.77.0.200 -- 10.77.0.209", 1).await;
    network.apply(None);
    site.until("another lease after a refusal", |status| only(status, "eth0 10.77.0.20")).await;
    assert!(site.messages().iter().any(|message| message.starts_with("eth0: lease refused")), "{:?}", site.messages());

    run("ip -n server link set port down");
    tokio::time::timeout(PATIENCE, async {
        while !site.messages().contains(&"eth0: cable is disconnected".to_owned()) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .expect("the pulled cable is noticed");
    assert!(only(&site.node.status.get(), "eth0 10.77.0.20"), "the address stays");
    let before = std::fs::read_to_string("/run/log").unwrap_or_default().matches("DHCPACK").count();
    run("ip -n server link set port up");
    site.until_log("DHCPACK", before + 1).await;
}

#[tokio::test]
#[ignore = "runs inside a namespace of its own"]
async fn configurations() {
    let Some(mut site) = Site::new() else { return };
    let interface = |name: &str, address: &str| Interface {
        name: Some(name.parse().expect("valid")),
        addresses: vec![address.parse().expect("valid")],
        ..Interface::default()
    };
    let network = site.start(Some(config(vec![
        Interface {
            routes: vec![Route {
                to: "0.0.0.0/0".parse().expect("valid"),
                via: "10.77.0.1".parse().expect("valid"),
                metric: Some(7),
            }],
            mtu: Some(1300),
            ..interface("eth0", "10.77.0.9/24")
        },
        interface("eth7", "2001:db8::7/64"),
    ])));
    site.until("a static address", |status| only(status, "eth0 10.77.0.9/24")).await;
    site.until("a missing link", |status| status.error_lines() == ["network: configured interface eth7 is not there"]).await;
    assert!(run("ip route").contains("default via 10.77.0.1 dev eth0 proto static metric 7"), "{}", run("ip route"));
    assert!(run("ip link show eth0").contains("mtu 1300"));

    run("ip link add eth7 type veth peer name peer7");
    site.until("the late link", |status| status.addresses.len() == 2 && status.error_lines().is_empty()).await;

    run("ip address add 172.30.0.1/32 dev eth0");
    run("ip address del 10.77.0.9/24 dev eth0");
    site.until("the foreign address", |status| status.addresses.contains(&"eth0 172.30.0.1/32".to_owned())).await;
    site.until("the address comes back", |status| status.addresses.contains(&"eth0 10.77.0.9/24".to_owned())).await;
    let back = || run("ip route").contains("default via 10.77.0.1 dev eth0");
    tokio::time::timeout(PATIENCE, async {
        while !back() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .expect("the route comes back with it");

    site.serve("10.77.0.100,10.77.0.109");
    network.apply(Some(Arc::new(config(vec![Interface {
        name: Some("eth0".parse().expect("valid")),
        dhcp4: true,
        ..Interface::default()
    }]))));
    site.until("DHCP instead", |status| status.addresses.iter().any(|address| address.starts_with("eth0 10.77.0.10"))).await;
    let addresses = site.node.status.get().addresses;
    assert!(addresses.contains(&"eth0 172.30.0.1/32".to_owned()), "{addresses:?}");
    assert_eq!(addresses.len(), 2, "{addresses:?}");
    assert!(!run("ip -6 address show eth7").contains("2001:db8::7"), "a link no longer configured has nothing of ours");

    let ignored = Interface { name: Some("eth0".parse().expect("valid")), ignore: true, ..Interface::default() };
    network.apply(Some(Arc::new(config(vec![ignored]))));
    site.until("no lease", |status| !status.addresses.iter().any(|address| address.contains("10.77."))).await;
    assert!(run("ip link show eth0").contains("state DOWN"), "{}", run("ip link show eth0"));
    assert!(Path::new(&site.etc()).join("hosts").exists());
}
