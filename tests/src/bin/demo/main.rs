//! `make demo`: one device from the factory to a running container, told step by step.
//!
//! Builds an image for a throw-away fleet, boots it, shows how it refuses an unsigned configuration and accepts a signed one,
//! waits for its container, and sums up. Then the machine is powered off; `KEEP=1` leaves it running.

mod narration;
mod summary;

use std::env;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use api::Role;
use api::v1::{self, NodeMode, PhaseState, ServiceState};
use client::CallError;
use imager::board::Architecture;
use machine_config::DeviceId;
use skerry_tests::config::{Config, HELLO_PORT};
use skerry_tests::device::Device;
use skerry_tests::fleet::{Credentials, TestFleet};
use skerry_tests::harness::emulator::Lifetime;
use skerry_tests::harness::{Guest, Patience};
use skerry_tests::images::{self, Inputs, K3sFrom, TestImage};
use skerry_tests::lab::Lab;
use skerry_tests::node::Node;
use skerry_tests::{http, places};

use narration::Narration;
use summary::Summary;

fn main() -> ExitCode {
    let tell = Narration::to_terminal();
    match demo(&tell) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell.trouble(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// What was made before anything boots.
struct Prepared {
    fleet: TestFleet,
    admin: Credentials,
    inputs: Inputs,
    image: std::path::PathBuf,
}

fn demo(tell: &Narration) -> Result<()> {
    let keep = env::var_os("KEEP").is_some_and(|value| value == "1");
    tell.chapter("An image for the fleet `acme`");
    let prepared = prepare(&places::in_target("demo")?, tell)?;
    tell.chapter("A device fresh from the warehouse is powered on");
    let lab = Lab::for_image(&prepared.image)?;
    let mut device = Device::flashed(&lab, guest(&prepared.inputs.k3s, keep), &prepared.image)?;
    let id = power_on(&mut device, tell)?;
    tell.chapter("Somebody on its network sends it a configuration");
    let node = device.node(Some(&id), None)?;
    refuse(&prepared.fleet, &node, tell)?;
    tell.chapter("Its fleet sends it a signed one");
    accept(&prepared.fleet, &node, tell)?;
    let node = device.node(Some(&id), Some(&prepared.admin))?;
    node.wait_mode(NodeMode::Configured, &Patience::new("the configuration in force", 10))?;
    tell.chapter("It starts containerd, k3s and a container");
    let output = run_container(&mut device, &node, &prepared.inputs.k3s, tell)?;
    let port = device.port(api::DEFAULT_PORT)?;
    let summary = Summary::of(&node, &prepared.image, &output)?;
    tell.chapter("What it came to");
    tell.plain(&summary.to_string());
    end(device, &node, keep, tell)?;
    tell.plain(&summary::next_commands(keep, port, &prepared.fleet.context_file(), &id));
    Ok(())
}

/// Real k3s needs more memory than its stand-in.
fn guest(k3s: &K3sFrom, keep: bool) -> Guest {
    let memory_mib = match k3s {
        K3sFrom::Release => 3072,
        K3sFrom::File(_) => 1024,
    };
    let lifetime = if keep { Lifetime::ItsOwn } else { Lifetime::OfItsStarter };
    Guest { memory_mib, lifetime, forwards: vec![api::DEFAULT_PORT, HELLO_PORT], ..Guest::new("demo") }
}

fn prepare(folder: &Path, tell: &Narration) -> Result<Prepared> {
    tell.step("a signing key, a client CA and an administrator's certificate (skerryctl fleet init)");
    let fleet = TestFleet::open_or_make(&folder.join("fleet"), "acme")?;
    let admin = fleet.certificate(Role::Admin, folder)?;
    tell.step("an archive with a pause image and a greeting program, since no registry is asked");
    images::fetch_firmware(folder, Architecture::X86_64);
    let archive = folder.join("images.tar");
    images::make_archive(Architecture::X86_64, &archive)?;
    tell.step("the disk image (imager build)");
    let image = folder.join("skerry.img");
    let k3s = K3sFrom::Release;
    let mut inputs = Inputs {
        imager: images::imager(),
        board: TestImage::Blank.board().into(),
        k3s,
        archive,
        fleet: fleet.folder().into(),
        config: None,
        cache: None,
    };
    let k3s = inputs.build_or_stand_in(&image, |reason| {
        tell.loudly(&[
            "k3s cannot be had here, so this demo runs WITHOUT KUBERNETES.",
            reason,
            "A stand-in takes k3s's place and starts the container through containerd's CRI socket, as a kubelet would.",
        ]);
    })?;
    if k3s == K3sFrom::Release {
        tell.step("it carries k3s itself");
    }
    let bytes = fs::metadata(&image).context("the image is gone")?.len();
    tell.result(&format!("{} of {}", image.display(), summary::size(bytes)));
    Ok(Prepared { fleet, admin, inputs, image })
}

fn power_on(device: &mut Device<'_>, tell: &Narration) -> Result<DeviceId> {
    device.power_on()?;
    let id = device.id_on_console()?;
    tell.result(&format!("its console shows who it is: {id}"));
    let node = device.node(Some(&id), None)?;
    let waiting = Patience::new("maintenance", 10);
    let status =
        node.wait_until(&waiting, |node| Ok(Some(node.status()?).filter(|status| status.phase_state() == PhaseState::Waiting)))?;
    tell.result(&format!("it answers on the network, proves that id, and waits for {}", status.waiting_for));
    Ok(id)
}

fn refuse(fleet: &TestFleet, node: &Node, tell: &Narration) -> Result<()> {
    tell.step("without a signature");
    let unsigned = fleet.config()?.to_yaml();
    tell_refusal(node, unsigned.as_bytes(), tell)?;
    tell.step("signed for the fleet, then changed by one letter");
    let changed = String::from_utf8(fleet.sign(&fleet.config()?)?)?.replacen("name: box-1", "name: box-x", 1);
    tell_refusal(node, changed.as_bytes(), tell)
}

fn tell_refusal(node: &Node, config: &[u8], tell: &Narration) -> Result<()> {
    match node.apply(config, false) {
        Err(CallError::Refused { code, message, .. }) => {
            tell.result(&format!("refused ({code}): {message}"));
            Ok(())
        }
        Err(error) => Err(error).context("the device failed instead of refusing"),
        Ok(_) => bail!("the device accepted a configuration that its fleet did not sign"),
    }
}

fn accept(fleet: &TestFleet, node: &Node, tell: &Narration) -> Result<()> {
    let config = Config { generation: 1, ..fleet.config()? };
    let accepted = node.apply(&fleet.sign(&config)?, false)?;
    tell.result(&format!(
        "accepted: generation {}, {} settings, digest {}…",
        accepted.generation,
        accepted.changes.len(),
        &accepted.digest[..12]
    ));
    for path in &accepted.not_yet_in_effect {
        tell.step(&format!("not yet in effect in this version: {path}"));
    }
    Ok(())
}

fn run_container(device: &mut Device<'_>, node: &Node, k3s: &K3sFrom, tell: &Narration) -> Result<String> {
    // Real k3s starts static pods half a minute after its own start on an emulated machine, and is heavy on a busy one.
    let seconds = match k3s {
        K3sFrom::Release => 120,
        K3sFrom::File(_) => 20,
    };
    for (service, state) in [("containerd", ServiceState::Ready), ("images", ServiceState::Done)] {
        let reached = node.wait_service(service, state, &Patience::new(service, 30))?;
        tell.step(&format!("{} is {}", reached.name, summary::state(&reached)));
    }
    let running = node.wait_until(&Patience::new("the container", seconds), |node| Ok(running_hello(&node.containers()?)))?;
    tell.step(&format!("container {} of pod {} runs image {}", running.name, running.pod, running.image));
    let port = device.port(HELLO_PORT)?;
    let output = node.wait_until(&Patience::new("the container's answer", 10), |_| Ok(Some(http::ask(port)?)))?;
    tell.result(&format!("it says: {}", output.trim()));
    Ok(output)
}

fn running_hello(containers: &[v1::Container]) -> Option<v1::Container> {
    containers.iter().find(|container| container.name == "hello" && container.state == "running").cloned()
}

fn end(mut device: Device<'_>, node: &Node, keep: bool, tell: &Narration) -> Result<()> {
    if keep {
        let pid = device.leave_running();
        tell.chapter(&format!("The machine is left running (process {})", pid.unwrap_or_default()));
        return Ok(());
    }
    tell.chapter("It is told to power off");
    node.call(|client| async move { client.power_off(v1::PowerOffRequest {}).await })?;
    device.wait_power_off()?;
    tell.result("services stopped in order, disks unmounted, power off");
    Ok(())
}
