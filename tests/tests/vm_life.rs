//! A device with its configuration in SEED: from power-on to a running container with no call, through crashes, a reboot and a
//! pulled plug, to an orderly end.

use anyhow::{Context, Result, ensure};
use api::Role;
use api::v1::{GetConfigRequest, KmsgRequest, LogsRequest, NodeMode, ServiceState};
use machine_config::DeviceId;
use skerry_tests::config::{Config, HELLO_PORT, K3s, TOKEN};
use skerry_tests::device::Device;
use skerry_tests::fleet::{Credentials, TestFleet};
use skerry_tests::greeting::{Pace, wait_for_greeting};
use skerry_tests::harness::emulator::Cable;
use skerry_tests::harness::{Guest, Patience};
use skerry_tests::images::TestImage;
use skerry_tests::lab::Lab;
use skerry_tests::node::Node;
use skerry_tests::story::step;
use skerry_tests::{filesystem, standin};

#[test]
fn a_seeded_device_works_unattended_and_survives() {
    let Some(lab) = Lab::open_or_skip() else { return };
    let fleet = lab.fleet().unwrap();
    let guest = Guest { forwards: vec![api::DEFAULT_PORT, HELLO_PORT], ..Guest::new("vm-life") };
    let mut device = Device::flashed(&lab, guest, &lab.image(TestImage::Seeded)).unwrap();
    let admin = fleet.certificate(Role::Admin, device.logs().folder()).unwrap();
    let id = step("it powers on", || device.power_on().and_then(|()| device.id_on_console()));
    let node = step("a configuration in SEED needs no API call", || is_configured(&mut device, &id, &admin));
    step("it runs a container through containerd's CRI socket", || wait_for_greeting(&mut device, &node, Pace::USUAL));
    step("k3s is given its arguments, configuration, environment and cgroup", || keeps_the_contract(&node));
    step("its streams follow what happens, and its secrets stay its own", || streams(&node));
    step("a crashing service is restarted with growing pauses and disturbs no other", || restarts_with_backoff(&fleet, &node));
    drop(node);
    let node = step("it keeps its identity and configuration over a reboot", || reboots(&mut device, &id, &admin));
    step("the container runs again", || wait_for_greeting(&mut device, &node, Pace::USUAL));
    drop(node);
    step("without a network it comes up after its plug was pulled, and runs its services", || works_offline(&mut device));
    let node = step("it is the same device when the cable is back", || is_back(&mut device, &id, &admin));
    step("it powers off in order", || powers_off(&mut device, &node));
}

fn is_configured(device: &mut Device<'_>, id: &DeviceId, admin: &Credentials) -> Result<Node> {
    let node = device.node(Some(id), Some(admin))?;
    let status = node.wait_mode(NodeMode::Configured, &Patience::new("the configuration from SEED in force", 5))?;
    ensure!(status.config_generation == 1 && status.hostname == "box-1", "{status:?}");
    Ok(node)
}

fn keeps_the_contract(node: &Node) -> Result<()> {
    let started = standin::last_report(node, "started")?.context("k3s has not started")?;
    let arguments: Vec<_> = started["arguments"].as_array().into_iter().flatten().filter_map(|value| value.as_str()).collect();
    ensure!(arguments.first().is_some_and(|program| program.ends_with("k3s")), "argv[0]: {arguments:?}");
    ensure!(arguments.get(1) == Some(&"server"), "k3s was not started as a server: {arguments:?}");
    let config = &started["config"];
    ensure!(config["token"] == TOKEN, "token: {}", config["token"]);
    ensure!(config["node-name"] == "box-1", "node-name: {}", config["node-name"]);
    let labels = config["node-label"].to_string();
    ensure!(labels.contains("skerry.dev/story=yes"), "node-label: {labels}");
    for component in ["traefik", "servicelb", "metrics-server", "local-storage", "coredns"] {
        ensure!(config["disable"].to_string().contains(component), "{component} is not disabled: {}", config["disable"]);
    }
    ensure!(config["resolv-conf"] == "/etc/resolv.conf", "k3s would choose a public name server: {config}");
    ensure!(config["container-runtime-endpoint"] == format!("unix://{}", api::CONTAINERD_SOCKET), "{config}");
    let environment = started["environment"].as_object().context("no environment")?;
    let names: Vec<_> = environment.keys().map(String::as_str).collect();
    ensure!(names == ["HOME", "NOTIFY_SOCKET", "PATH", "SSL_CERT_FILE"], "its environment holds {names:?}");
    ensure!(environment["PATH"] == "/usr/sbin:/usr/bin", "PATH: {}", environment["PATH"]);
    ensure!(started["cgroup"].as_str().is_some_and(|cgroup| cgroup.contains("/skerry/k3s")), "cgroup: {}", started["cgroup"]);
    let service = node.service("k3s")?;
    ensure!(service.state() == ServiceState::Ready && service.memory_bytes > 0, "{service:?}");
    Ok(())
}

fn restarts_with_backoff(fleet: &TestFleet, node: &Node) -> Result<()> {
    let before = node.service("containerd")?;
    let crashing = K3s { labels: [("skerry.dev/standin-crash-after-seconds".into(), "1".into())].into() };
    let config = Config { generation: 2, k3s: Some(crashing), ..fleet.config()? };
    let applied = node.apply(&fleet.sign(&config)?, false)?;
    let effects: Vec<_> = applied.changes.iter().map(|change| (change.path.as_str(), change.effect.as_str())).collect();
    let needs_restart =
        effects.iter().filter(|(path, _)| path.starts_with("k3s.nodeLabels")).all(|(_, effect)| *effect == "restart k3s");
    let nothing_more = effects.iter().all(|(_, effect)| ["restart k3s", "live"].contains(effect));
    ensure!(needs_restart && nothing_more, "a changed label has the effects {effects:?}");
    let crashed = node.wait_until(&Patience::new("three restarts of k3s", 20), |node| {
        let service = node.service("k3s")?;
        Ok(Some(service).filter(|service| service.restarts >= 3 && service.last_exit == "exit code 3"))
    })?;
    let pauses = node.wait_until(&Patience::new("three pauses in the events", 5), |node| {
        let pauses = pauses_of(node, "k3s")?;
        Ok(Some(pauses).filter(|pauses| pauses.len() >= 3))
    })?;
    ensure!(pauses.is_sorted_by(|a, b| a < b), "the pauses do not grow: {pauses:?} ({crashed:?})");
    let after = node.service("containerd")?;
    ensure!(after.pid == before.pid && after.restarts == before.restarts, "containerd was disturbed: {before:?}, then {after:?}");
    let calm = Config { generation: 3, ..fleet.config()? };
    node.apply(&fleet.sign(&calm)?, false)?;
    node.wait_service("k3s", ServiceState::Ready, &Patience::new("k3s at rest again", 15))?;
    Ok(())
}

fn streams(node: &Node) -> Result<()> {
    let request = LogsRequest { service: "k3s".into(), follow: true, tail: 1 };
    node.call(|client| async move {
        let mut lines = client.logs(request).await?;
        for _ in 0..3 {
            lines.next().await?; // the container says something every second
        }
        Ok(())
    })?;
    let kernel = node.call(|client| async move { client.kmsg(KmsgRequest { follow: false, tail: 0 }).await?.next().await })?;
    ensure!(kernel.is_some_and(|line| !line.message.is_empty()), "the kernel log is empty");
    let events = node.events()?;
    ensure!(events.iter().any(|event| event.kind == "phase" && event.subject == "services"), "no phase among the events");
    ensure!(events.is_sorted_by_key(|event| event.sequence), "the events are out of order");
    let config = node.call(|client| async move { client.get_config(GetConfigRequest {}).await })?;
    ensure!(config.yaml.contains("token:") && !config.yaml.contains(TOKEN), "the API gives the token away:\n{}", config.yaml);
    Ok(())
}

/// The announced pauses before each restart, in milliseconds.
fn pauses_of(node: &Node, service: &str) -> Result<Vec<u64>> {
    let events = node.events()?.into_iter().filter(|event| event.kind == "service" && event.subject == service);
    let pauses = events.filter_map(|event| event.message.split_once("next try in ")?.1.split_once(" ms")?.0.parse().ok());
    Ok(pauses.collect())
}

fn reboots(device: &mut Device<'_>, id: &DeviceId, admin: &Credentials) -> Result<Node> {
    let node = device.node(Some(id), Some(admin))?;
    let before = node.status()?;
    node.call(|client| async move { client.reboot(api::v1::RebootRequest {}).await })?;
    device.machine().qmp().wait_event("RESET", &Patience::new("the machine's reset", 15))?;
    device.machine().console().wait_for_text("  skerry  ", 12)?;
    same_device(device, id, admin, &before)
}

fn works_offline(device: &mut Device<'_>) -> Result<()> {
    device.pull_the_plug()?;
    device.set_cable(Cable::Unplugged)?;
    device.power_on()?;
    let ready = Patience::new("k3s at work without a network", 40);
    device.machine().console().wait_for(&ready, |line| line.contains("ready") && line.contains("service=k3s"))?;
    Ok(())
}

fn is_back(device: &mut Device<'_>, id: &DeviceId, admin: &Credentials) -> Result<Node> {
    device.set_cable(Cable::Plugged)?;
    let node = device.node(Some(id), Some(admin))?;
    let status = node.wait_mode(NodeMode::Configured, &Patience::new("the configuration of before", 5))?;
    ensure!(status.config_generation == 3 && status.device_id == id.as_str(), "{status:?}");
    Ok(node)
}

fn same_device(device: &mut Device<'_>, id: &DeviceId, admin: &Credentials, before: &api::v1::StatusResponse) -> Result<Node> {
    let shown = device.id_on_console()?;
    ensure!(shown == *id, "the console shows another device: {shown}");
    let node = device.node(Some(id), Some(admin))?;
    let after = node.wait_mode(NodeMode::Configured, &Patience::new("the configuration of before", 5))?;
    ensure!(
        after.config_generation == before.config_generation,
        "generation {} became {}",
        before.config_generation,
        after.config_generation
    );
    ensure!(after.config_digest == before.config_digest, "the configuration changed");
    ensure!(after.uptime_ms < before.uptime_ms, "it did not restart: up {} ms, then {} ms", before.uptime_ms, after.uptime_ms);
    Ok(node)
}

fn powers_off(device: &mut Device<'_>, node: &Node) -> Result<()> {
    node.wait_service("containerd", ServiceState::Ready, &Patience::new("containerd", 20))?;
    node.call(|client| async move { client.power_off(api::v1::PowerOffRequest {}).await })?;
    device.wait_power_off()?;
    filesystem::check_all(device.disk().path())
}
