//! A device obeys a key, not a network: one machine from the factory to its configuration, its refusals first.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use api::Role;
use api::v1::{NodeMode, PhaseState};
use client::{CallError, CertificateProblem, ConnectError};
use machine_config::{DeviceId, MAX_CONFIG_BYTES};
use skerry_tests::config::Config;
use skerry_tests::device::Device;
use skerry_tests::fleet::{Credentials, TestFleet};
use skerry_tests::harness::{Guest, Patience};
use skerry_tests::images::TestImage;
use skerry_tests::lab::Lab;
use skerry_tests::node::Node;
use skerry_tests::places;
use skerry_tests::story::step;

#[test]
fn a_device_obeys_its_fleets_key_and_nothing_else() {
    let Some(lab) = Lab::open_or_skip() else { return };
    let fleet = lab.fleet().unwrap();
    let mut device = Device::flashed(&lab, Guest::new("vm-config"), &lab.image(TestImage::Blank)).unwrap();
    let id = step("a blank device boots to maintenance and shows its id and why it waits", || boots_to_maintenance(&mut device));
    let node =
        step("it answers on the network without a certificate, and is who its console says", || device.node(Some(&id), None));
    step("in maintenance it says its version, status and hardware, and nothing else", || says_little(&node, &id));
    step("it refuses every configuration that is not for it, each with its code", || refuses(&lab, &fleet, &node));
    step("skerryctl says the same, and ends with the exit code of its kind", || says_skerryctl(&lab, &mut device, &id));
    let right = step("it judges the right configuration without taking it when asked to", || dry_run(&fleet, &node));
    step("it accepts the right configuration", || accepts(&node, &right));
    let admin = step("an administrator is let in", || let_in(&mut device, &fleet, &id));
    step("it refuses older and conflicting generations", || refuses_generations(&fleet, &admin, &right));
    step("it refuses callers without, with expired and with foreign certificates", || {
        refuses_strangers(&lab, &mut device, &fleet, &id)
    });
    step("a reader may look and may not reboot; an operator may not configure", || keeps_roles(&mut device, &fleet, &id, &right));
    step("what it was refused is not what it runs", || still_in_force(&admin));
}

fn boots_to_maintenance(device: &mut Device<'_>) -> Result<DeviceId> {
    device.power_on()?;
    let id = device.id_on_console()?;
    let console = device.machine().console();
    console
        .wait_for(&Patience::new("the reason it waits", 10), |line| line.contains("waits") && line.contains("configuration"))?;
    Ok(id)
}

fn says_little(node: &Node, id: &DeviceId) -> Result<()> {
    let status = node.wait_mode(NodeMode::Maintenance, &Patience::new("maintenance", 5))?;
    ensure!(status.device_id == id.as_str(), "the API names another device: {}", status.device_id);
    ensure!(
        status.phase_state() == PhaseState::Waiting && !status.waiting_for.is_empty(),
        "it does not say why it waits: {status:?}"
    );
    ensure!(status.config_generation == 0 && status.config_digest.is_empty(), "it has a configuration: {status:?}");
    let version = node.call(|client| async move { client.version(api::v1::VersionRequest {}).await })?;
    ensure!(version.board == "qemu-x86_64" && version.api_version == "skerry.v1", "{version:?}");
    let hardware = node.call(|client| async move { client.hardware(api::v1::HardwareRequest {}).await })?;
    ensure!(hardware.serial == "SKERRY-VM-CONFIG" && hardware.cpu_count == 2, "{hardware:?}");
    ensure!(hardware.disks.iter().any(|disk| disk.boot), "it does not know the disk it runs from: {:?}", hardware.disks);
    match node.services() {
        Err(CallError::Maintenance { .. }) => Ok(()),
        other => bail!("asked for its services in maintenance, it answered {other:?}"),
    }
}

/// Every kind of wrong configuration, and the code it must be refused with.
fn wrong_configurations(lab: &Lab, fleet: &TestFleet) -> Result<Vec<(&'static str, Vec<u8>, &'static str)>> {
    let good = fleet.config()?;
    let changed = |change: &dyn Fn(&mut Config)| {
        let mut config = good.clone();
        change(&mut config);
        fleet.sign(&config)
    };
    let signed = fleet.sign(&good)?;
    let tampered = String::from_utf8(signed.clone())?.replacen("name: box-1", "name: box-2", 1).into_bytes();
    let mut not_text = signed;
    not_text[0] = 0xff;
    Ok(vec![
        ("unsigned", good.to_yaml().into_bytes(), "envelope"),
        ("tampered with", tampered, "signature"),
        ("signed by another fleet's key", lab.foreign_fleet()?.sign(&good)?, "key-unknown"),
        ("for another fleet", changed(&|config| config.fleet = "rival".into())?, "fleet"),
        ("for another device", changed(&|config| config.target = "serial: SOMEBODY-ELSE".into())?, "target"),
        ("with an unknown key", changed(&|config| config.machine = "  hostnam: x\n".into())?, "schema"),
        ("that contradicts itself", changed(&|config| config.machine = CONTRADICTION.into())?, "semantics"),
        ("not text", not_text, "utf8"),
        ("too large", vec![b'#'; MAX_CONFIG_BYTES + 1], "size"),
    ])
}

const CONTRADICTION: &str = "  network:\n    interfaces:\n    - {name: eth0, dhcp4: true, ignore: true}\n";

fn refuses(lab: &Lab, fleet: &TestFleet, node: &Node) -> Result<()> {
    for (kind, config, code) in wrong_configurations(lab, fleet)? {
        let refused = node.refusal(&config).with_context(|| format!("a configuration {kind}"))?;
        ensure!(refused == code, "a configuration {kind} was refused as `{refused}`, not as `{code}`");
    }
    let status = node.status()?;
    ensure!(status.mode() == NodeMode::Maintenance && status.config_generation == 0, "a refused configuration acts: {status:?}");
    Ok(())
}

/// Runs the operator's command as a program; returns its exit code and standard output.
fn skerryctl(arguments: &[&str]) -> Result<(i32, String)> {
    let program = places::beside("skerryctl");
    let output = Command::new(&program).args(arguments).env_remove("SKERRY_CONTEXT").output();
    let output = output.with_context(|| format!("cannot run {}", program.display()))?;
    Ok((output.status.code().unwrap_or(-1), String::from_utf8(output.stdout)?))
}

fn says_skerryctl(lab: &Lab, device: &mut Device<'_>, id: &DeviceId) -> Result<()> {
    let fleet = lab.fleet()?;
    let unsigned = device.logs().path("unsigned.yaml");
    fs::write(&unsigned, fleet.config()?.to_yaml())?;
    let (context, unsigned) = (fleet.context_file().display().to_string(), unsigned.display().to_string());
    let node = format!("127.0.0.1:{}", device.port(api::DEFAULT_PORT)?);
    let nobody = "0".repeat(64);
    let call = |device: &str, rest: &[&str]| {
        skerryctl(&[&["--context", &context, "--node", &node, "--device", device, "--output", "json"], rest].concat())
    };
    let (code, status) = call(id.as_str(), &["status"])?;
    let status: serde_json::Value = serde_json::from_str(&status).context("`status -o json` is not JSON")?;
    ensure!(code == 0 && status["mode"] == "maintenance" && status["deviceId"] == id.as_str(), "{code}: {status}");
    for (device, command, expected) in [
        (id.as_str(), vec!["apply", "-f", &unsigned], 4),
        (id.as_str(), vec!["services"], 8),
        (nobody.as_str(), vec!["status"], 7),
    ] {
        let (code, output) = call(device, &command)?;
        ensure!(code == expected, "skerryctl {} ended with {code}, not {expected}: {output}", command.join(" "));
    }
    Ok(())
}

/// The configuration for this device: by its serial number, generation 2.
fn dry_run(fleet: &TestFleet, node: &Node) -> Result<Vec<u8>> {
    let right = fleet.sign(&Config { generation: 2, target: "serial: SKERRY-VM-CONFIG".into(), ..fleet.config()? })?;
    let judged = node.apply(&right, true)?;
    ensure!(judged.generation == 2 && !judged.already_in_force && !judged.changes.is_empty(), "{judged:?}");
    let status = node.status()?;
    ensure!(status.mode() == NodeMode::Maintenance && status.config_generation == 0, "a dry run acts: {status:?}");
    Ok(right)
}

fn accepts(node: &Node, right: &[u8]) -> Result<()> {
    let accepted = node.apply(right, false)?;
    ensure!(accepted.generation == 2 && !accepted.digest.is_empty(), "{accepted:?}");
    Ok(())
}

fn let_in(device: &mut Device<'_>, fleet: &TestFleet, id: &DeviceId) -> Result<Node> {
    let admin = fleet.certificate(Role::Admin, device.logs().folder())?;
    let deadline = Patience::new("the API with the client CA of the configuration", 5);
    let node = device.node(Some(id), Some(&admin))?;
    let status = node.wait_mode(NodeMode::Configured, &deadline)?;
    ensure!(status.config_generation == 2 && status.hostname == "box-1" && status.fleet == "acme", "{status:?}");
    Ok(node)
}

fn refuses_generations(fleet: &TestFleet, admin: &Node, right: &[u8]) -> Result<()> {
    let older = fleet.sign(&Config { generation: 1, ..fleet.config()? })?;
    ensure!(admin.refusal(&older)? == "generation-older");
    let conflict = fleet.sign(&Config { generation: 2, name: "box-9".into(), ..fleet.config()? })?;
    ensure!(admin.refusal(&conflict)? == "generation-conflict");
    ensure!(admin.apply(right, false)?.already_in_force, "the very same file is not recognised");
    Ok(())
}

/// What a stranger's status call meets.
fn meets(device: &mut Device<'_>, id: &DeviceId, credentials: Option<&Credentials>) -> Result<String> {
    let outcome = device.node(Some(id), credentials).and_then(|node| Ok(node.status()?));
    let Err(error) = outcome else { bail!("it was let in") };
    if let Some(CallError::Certificate { problem, .. }) = error.downcast_ref::<CallError>() {
        return Ok(match problem {
            CertificateProblem::Missing => "missing".into(),
            CertificateProblem::Expired { .. } => "expired".into(),
            CertificateProblem::WrongCa { .. } => "wrong CA".into(),
            CertificateProblem::Bad { alert, .. } => format!("bad: {alert}"),
        });
    }
    let connect = error.downcast_ref::<ConnectError>().map(ToString::to_string);
    bail!("it met {error:#} ({connect:?})")
}

fn refuses_strangers(lab: &Lab, device: &mut Device<'_>, fleet: &TestFleet, id: &DeviceId) -> Result<()> {
    let folder = device.logs().folder().to_owned();
    let expired = fleet.expired_certificate(&folder)?;
    let foreign = lab.foreign_fleet()?.certificate(Role::Admin, &folder)?;
    for (credentials, expected) in [(None, "missing"), (Some(&expired), "expired"), (Some(&foreign), "wrong CA")] {
        let met = meets(device, id, credentials).with_context(|| format!("a caller whose certificate is {expected}"))?;
        ensure!(met == expected, "a caller whose certificate is {expected} met `{met}`");
    }
    Ok(())
}

fn keeps_roles(device: &mut Device<'_>, fleet: &TestFleet, id: &DeviceId, right: &[u8]) -> Result<()> {
    let folder = device.logs().folder().to_owned();
    let reader = device.node(Some(id), Some(&fleet.certificate(Role::Reader, &folder)?))?;
    reader.status()?;
    let reboot = reader.call(|client| async move { client.reboot(api::v1::RebootRequest {}).await });
    ensure!(matches!(reboot, Err(CallError::Role { .. })), "a reader's reboot met {reboot:?}");
    let operator = device.node(Some(id), Some(&fleet.certificate(Role::Operator, &folder)?))?;
    let apply = operator.apply(right, true);
    ensure!(matches!(apply, Err(CallError::Role { .. })), "an operator's configuration met {apply:?}");
    Ok(())
}

fn still_in_force(admin: &Node) -> Result<()> {
    let status = admin.status()?;
    ensure!(status.config_generation == 2 && status.hostname == "box-1", "{status:?}");
    let config = admin.call(|client| async move { client.get_config(api::v1::GetConfigRequest {}).await })?;
    ensure!(config.generation == 2 && config.yaml.contains("box-1"), "{config:?}");
    Ok(())
}
