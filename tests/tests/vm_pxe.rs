//! Machines start over the network of a warehouse bench: `imager serve` beside a plain DHCP server, on a network of its own. Each runs its own image,
//! loaded in the way its firmware knows, and whoever else asks gets nothing. One has a disk, installs itself on it, and goes on to it afterwards.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use api::Role;
use api::v1::{NodeMode, PowerOffRequest, ServiceState, StatusResponse};
use imager::image::digest::Digest;
use imager::stamp::manifest::Manifest;
use imager::stamp::station;
use machine_config::DeviceId;
use serde_json::Value;
use skerry_tests::bootserver::BootServer;
use skerry_tests::config::Config;
use skerry_tests::filesystem;
use skerry_tests::fleet::Credentials;
use skerry_tests::harness::disk::DISK_BYTES;
use skerry_tests::harness::emulator::Emulator;
use skerry_tests::harness::hardware::Wiring;
use skerry_tests::harness::logs::Logs;
use skerry_tests::harness::{Booted, Chassis, Disk, DiskBus, Guest, Machine, Patience, boot};
use skerry_tests::images::{self, TestImage};
use skerry_tests::lab::Lab;
use skerry_tests::network::{Bench, OWN, Port};
use skerry_tests::node::{Caller, Node};
use skerry_tests::story::step;

/// Two PCs, an arm64 machine, a PC with a disk, and one that is in no inventory.
const MACS: [&str; 5] = ["52:54:00:5c:e4:01", "52:54:00:5c:e4:02", "52:54:00:5c:e4:03", "52:54:00:5c:e4:04", "52:54:00:5c:e4:09"];
const ARM: usize = 2;
const WITH_DISK: usize = 3;
const STRANGER: usize = 4;

/// Has the firmware boot over HTTP alone, as a technician sets it.
const HTTP_ONLY: [&str; 4] =
    ["-fw_cfg", "name=opt/org.tianocore/IPv4PXESupport,string=n", "-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=n"];

/// Has the firmware wait for no IPv6, of which the bench has nothing.
const NO_IPV6: [&str; 2] = ["-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=n"];

/// Firmware for Arm has no network without random numbers, and takes them from the CPU alone.
const RANDOM_ARM: Chassis = Chassis::Arm { cpu: "max,pauth-impdef=on" };

/// What the console shows when the system is up.
const UP: &str = "  skerry  ";

/// Everything a step needs.
struct Story<'a> {
    lab: &'a Lab,
    logs: &'a Logs,
    bench: Bench,
    folder: &'a Path,
    images: [PathBuf; 2],
    run: u32,
}

#[test]
fn a_machine_boots_its_own_image_over_the_network() {
    let Some(lab) = Lab::open_or_skip() else { return };
    let logs = Logs::fresh("vm-pxe").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let fleet = lab.fleet().unwrap();
    let admin = fleet.certificate(Role::Admin, folder).unwrap();
    let images = step("the RAM form of two boards' images is written", || {
        Ok([convert(&lab, TestImage::Blank, folder)?, convert(&lab, TestImage::QemuAarch64, folder)?])
    });
    let bench = step("there is a bench network with a plain DHCP server", || Bench::join(&MACS, &logs));
    let mut story = Story { lab: &lab, logs: &logs, bench, folder, images, run: 0 };
    let install = "  install: {disk: {transport: nvme, minSizeMib: 1000}, wipe: refuse}\n";
    for (name, machine) in [("bench-2", ""), ("bench-4", install)] {
        let config = Config { name: name.into(), machine: machine.into(), k3s: None, ..fleet.config().unwrap() };
        fs::write(folder.join(format!("{name}.yaml")), fleet.sign(&config).unwrap()).unwrap();
    }
    fs::write(folder.join("devices.csv"), inventory()).unwrap();
    station::make(&folder.join("station")).unwrap();

    let mut server = step("the boot server starts", || story.serve(&[], 1));
    step("UEFI loads iPXE over TFTP, iPXE loads the image over HTTP, and the machine has its name", || {
        let booted = story.boot(0, &[])?;
        server.wait_until(&Patience::new("iPXE", 1), |event| event["event"] == "offered" && event["loader"] == "iPXE")?;
        server.wait_for("loaded", &Patience::new("the load", 1))?;
        is_unnamed_no_more(&story.node(0, None)?.status()?)?;
        Ok(booted.cut()?)
    });
    step("its manifest says what it loaded", || story.check_manifest("bench-1"));
    step("UEFI loads over HTTP, and the machine takes the configuration in its SEED", || {
        let booted = story.boot(1, &HTTP_ONLY)?;
        server.wait_for("loaded", &Patience::new("the load", 1))?;
        is_configured(&story.node(1, Some(&admin))?)?;
        Ok(booted.cut()?)
    });
    step("an arm64 machine gets the image of its board", || {
        let booted = story.boot(ARM, &[])?;
        server.wait_until(&Patience::new("iPXE", 1), |event| event["event"] == "offered" && event["loader"] == "iPXE")?;
        let loaded = server.wait_for("loaded", &Patience::new("the load", 1))?;
        ensure!(loaded["name"] == "bench-3", "{loaded}");
        Ok(booted.cut()?)
    });
    step("another host gets no machine's image, and no machine gets another's", || story.refuses_strangers());
    step("a machine that is not listed is not answered, with a reason", || {
        let machine = story.power_on(STRANGER)?;
        let passed = server.wait_for("passed", &Patience::new("the refusal", 20))?;
        ensure!(passed["mac"] == MACS[STRANGER] && passed["reason"].to_string().contains("no such MAC address"), "{passed}");
        Ok(machine.pull_the_plug()?)
    });
    drop(server);

    let mut server = step("a server that is to serve each machine once remembers the last one", || story.serve(&["--once"], 2));
    step("a machine that was served is not answered", || {
        let machine = story.power_on(0)?;
        let passed = server.wait_for("passed", &Patience::new("the refusal", 20))?;
        is_left_to_its_disk(&passed, 0)?;
        Ok(machine.pull_the_plug()?)
    });
    let disk = step("a PC has an empty disk", || Ok(Disk::empty(&logs.path("disk.img"), DISK_BYTES)?));
    let (mut installing, id) = step("a machine with a disk loads its image and installs it", || {
        let booted = story.boot_with(WITH_DISK, &NO_IPV6, Some(&disk))?;
        let loaded = server.wait_for("loaded", &Patience::new("the load", 1))?;
        ensure!(loaded["mac"] == MACS[WITH_DISK] && loaded["loads"] == 1, "{loaded}");
        let node = story.node(WITH_DISK, Some(&admin))?;
        is_installed(&node)?;
        Ok((booted, node.device_id().clone()))
    });
    step("it restarts, asks the network first again, is not answered, and goes on to its disk", || {
        let machine = &mut installing.machine;
        machine.qmp().wait_event("RESET", &Patience::new("the restart", 20))?;
        let passed = server.wait_for("passed", &Patience::new("the refusal", 20))?;
        is_left_to_its_disk(&passed, WITH_DISK)?;
        // Beyond what the console showed of the system in RAM. The firmware tries HTTP as well, over IPv4 and IPv6, and waits minutes for an answer.
        let up = Patience::new("the status block of a system on a disk", 150);
        machine.console().wait_for(&up, |line| line.contains(UP) && !line.contains("in RAM"))?;
        let node = story.node_of(WITH_DISK, Some(&id), Some(&admin))?;
        runs_from_its_disk(&node)?;
        node.call(|client| async move { client.power_off(PowerOffRequest {}).await })?;
        machine.wait_exit(&Patience::new("power-off", 15))?;
        filesystem::check_all(disk.path())?;
        let loads = server.events().iter().filter(|event| event["event"] == "loading").count();
        ensure!(loads == 1, "it was given its image {loads} times");
        Ok(())
    });
    drop(installing);
    drop(server);

    let mut server = step("a server without iPXE starts", || story.serve(&["--no-ipxe"], 3));
    step("UEFI loads the whole image over TFTP", || {
        let booted = story.boot(0, &[])?;
        let loaded = server.wait_for("loaded", &Patience::new("the load", 1))?;
        ensure!(loaded["loads"] == 2, "what others were refused does not count: {loaded}");
        is_unnamed_no_more(&story.node(0, None)?.status()?)?;
        Ok(booted.cut()?)
    });
}

fn inventory() -> String {
    let (pc, arm) = (TestImage::Blank.board(), TestImage::QemuAarch64.board());
    let [one, two, three, four, _stranger] = MACS;
    format!(
        "name,mac,board,config\nbench-1,{one},{pc},none\nbench-2,{two},{pc},bench-2.yaml\nbench-3,{three},{arm},none\n\
         bench-4,{four},{pc},bench-4.yaml\n"
    )
}

/// The RAM form of a raw image, as an operator makes it.
fn convert(lab: &Lab, image: TestImage, folder: &Path) -> Result<PathBuf> {
    let out = folder.join(format!("{}.efi", image.board()));
    let mut command = Command::new(images::imager());
    command.arg("convert").arg(lab.image(image)).args(["--format", "uki", "--out"]).arg(&out);
    let output = command.current_dir(skerry_tests::places::workspace()).output().context("cannot run imager")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(out)
}

impl Story<'_> {
    fn serve(&self, more: &[&str], run: u32) -> Result<BootServer> {
        BootServer::start(&self.images, self.folder, more, self.logs, run)
    }

    fn port(&self, number: usize) -> &Port {
        &self.bench.ports()[number]
    }

    /// The machine at a port. If it has a disk, it is one of today.
    fn guest(&self, number: usize, more: &[&str]) -> Guest {
        let port = self.port(number);
        let chassis = if number == ARM { RANDOM_ARM } else { Chassis::Pc };
        let guest = Guest { chassis, ..Guest::new("vm-pxe") };
        let arguments = more.iter().map(|word| (*word).to_owned()).collect();
        Guest {
            mac: port.mac.clone(),
            wiring: Wiring::Tap(port.tap.clone()),
            network_bootindex: Some(0),
            emulator: Some(Emulator { program: guest.program().to_owned(), arguments }),
            disk_bus: DiskBus::Nvme,
            memory_mib: 2048,
            forwards: vec![],
            ..guest
        }
    }

    /// Starts the machine at a port and waits for nothing.
    fn power_on(&mut self, number: usize) -> Result<Machine> {
        self.run += 1;
        let (lab, guest) = (self.lab, self.guest(number, &[]));
        Ok(Machine::start(&guest, self.run, lab.accelerator(), Some(lab.firmware()), None, self.logs)?)
    }

    /// Starts the machine at a port, without a disk, and waits until it is up.
    fn boot(&mut self, number: usize, more: &[&str]) -> Result<Booted> {
        self.boot_with(number, more, None)
    }

    /// The same with a disk, or without.
    fn boot_with(&mut self, number: usize, more: &[&str], disk: Option<&Disk>) -> Result<Booted> {
        let guest = self.guest(number, more);
        let patience = Patience::new("the status block on the console", 60);
        Ok(boot(&guest, &self.lab.rig_for(&guest, self.logs)?, disk, &mut self.run, &patience, |line| line.contains(UP))?)
    }

    /// The API of the machine at a port, whoever it is.
    fn node(&self, number: usize, credentials: Option<&Credentials>) -> Result<Node> {
        self.node_of(number, None, credentials)
    }

    /// The API of the machine at a port, which must be this device.
    fn node_of(&self, number: usize, device: Option<&DeviceId>, credentials: Option<&Credentials>) -> Result<Node> {
        let host = self.port(number).address.into();
        let caller = Caller { host, port: api::DEFAULT_PORT, device: device.cloned(), credentials: credentials.cloned() };
        Node::connect_when_up(&caller, &Patience::new("the API", 10))
    }

    /// What the station signed is the image that is served, for this machine. Nobody but the machine gets it, this host neither.
    fn check_manifest(&self, name: &str) -> Result<()> {
        let path = self.folder.join(format!("{name}.manifest.json"));
        let public = station::load_public(&self.folder.join("station.pub"))?;
        let manifest = Manifest::read(&fs::read(&path)?, Some(&public))?;
        let path = format!("/boot/{}/skerry.efi", self.port(0).mac.replace(':', "-"));
        let (head, body) = ask(&path)?;
        ensure!(head.starts_with("HTTP/1.1 403"), "{head}");
        ensure!(String::from_utf8_lossy(&body).contains("what machine asks is not known"), "{body:?}");
        let base = fs::read(&self.images[0])?;
        ensure!(Digest::of(&base) == manifest.base.sha256, "the manifest's base is {}", manifest.base.sha256);
        ensure!(base.len() as u64 == manifest.image.bytes, "nothing is added to the image");
        ensure!(manifest.device.name.as_str() == name && manifest.image.sha256 != manifest.base.sha256, "{manifest:?}");
        Ok(())
    }

    /// From the DHCP server's host, which is no machine of the inventory.
    fn refuses_strangers(&self) -> Result<()> {
        for mac in [MACS[0], MACS[1]] {
            let path = format!("/boot/{}/skerry.efi", mac.replace(':', "-"));
            let (head, body) = self.bench.elsewhere(|| ask(&path))??;
            ensure!(head.starts_with("HTTP/1.1 403"), "{head}");
            ensure!(String::from_utf8_lossy(&body).contains("it is another machine's"), "{body:?}");
        }
        let (head, _) = self.bench.elsewhere(|| ask("/boot/../etc/passwd"))??;
        ensure!(head.starts_with("HTTP/1.1 404"), "{head}");
        Ok(())
    }
}

/// What the boot server answers over HTTP: head and body.
fn ask(path: &str) -> Result<(String, Vec<u8>)> {
    let mut stream = TcpStream::connect(SocketAddr::from((OWN, 8080)))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").context("an answer has a head")? + 4;
    let body = answer.split_off(end);
    Ok((String::from_utf8_lossy(&answer).into_owned(), body))
}

/// A machine whose row has no configuration waits for one under its own name.
fn is_unnamed_no_more(status: &StatusResponse) -> Result<()> {
    ensure!(status.mode() == NodeMode::Maintenance && status.hostname == "bench-1", "{status:?}");
    Ok(())
}

fn is_configured(node: &Node) -> Result<()> {
    let status = node.wait_mode(NodeMode::Configured, &Patience::new("the configuration from SEED", 5))?;
    ensure!(status.config_generation == 1 && status.hostname == "bench-2", "{status:?}");
    node.wait_service("containerd", ServiceState::Ready, &Patience::new("containerd", 40))?;
    Ok(())
}

/// The server's reason for not answering a machine that has had its image.
fn is_left_to_its_disk(passed: &Value, number: usize) -> Result<()> {
    ensure!(passed["mac"] == MACS[number] && passed["reason"].to_string().contains("boots from its disk"), "{passed}");
    Ok(())
}

/// Sees the installation through, from RAM.
fn is_installed(node: &Node) -> Result<()> {
    let status = node.status()?;
    ensure!(status.runs_from == "RAM" && status.hostname == "bench-4", "{status:?}");
    let installed = |status: &StatusResponse| status.install.starts_with("installed on nvme0n1");
    node.wait_until(&Patience::new("the installation", 60), |node| Ok(Some(node.status()?).filter(installed)))?;
    Ok(())
}

/// What was installed is what runs, and keeps its state there.
fn runs_from_its_disk(node: &Node) -> Result<()> {
    let status = node.wait_mode(NodeMode::Configured, &Patience::new("the configuration it was installed with", 5))?;
    ensure!(status.runs_from == "nvme0n1" && status.hostname == "bench-4" && status.config_generation == 1, "{status:?}");
    ensure!(status.install == "machine.install has no effect: this system runs from nvme0n1", "{status:?}");
    node.wait_service("containerd", ServiceState::Ready, &Patience::new("containerd", 40))?;
    let mounts = node.resources()?.mounts;
    let state = mounts.iter().find(|mount| mount.target == "/run/skerry/state").context("STATE is not mounted")?;
    ensure!(state.source.starts_with("/dev/nvme0n1p") && state.fs_type == "ext4", "{state:?}");
    Ok(())
}
