//! Machines without a disk start over the network of a warehouse bench: `imager serve` beside a plain DHCP server, on a network of its own. Each runs its
//! own image, loaded in the way its firmware knows, and whoever else asks gets nothing.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use api::Role;
use api::v1::{NodeMode, ServiceState, StatusResponse};
use imager::image::digest::Digest;
use imager::stamp::manifest::Manifest;
use imager::stamp::station;
use skerry_tests::bootserver::BootServer;
use skerry_tests::config::Config;
use skerry_tests::fleet::Credentials;
use skerry_tests::harness::emulator::Emulator;
use skerry_tests::harness::hardware::Wiring;
use skerry_tests::harness::logs::Logs;
use skerry_tests::harness::{Booted, Chassis, Guest, Machine, Patience, boot};
use skerry_tests::images::{self, TestImage};
use skerry_tests::lab::Lab;
use skerry_tests::network::{Bench, OWN, Port};
use skerry_tests::node::{Caller, Node};
use skerry_tests::story::step;

/// Two PCs, an arm64 machine, and one that is in no inventory.
const MACS: [&str; 4] = ["52:54:00:5c:e4:01", "52:54:00:5c:e4:02", "52:54:00:5c:e4:03", "52:54:00:5c:e4:09"];
const ARM: usize = 2;
const STRANGER: usize = 3;

/// Has the firmware boot over HTTP alone, as a technician sets it.
const HTTP_ONLY: [&str; 4] =
    ["-fw_cfg", "name=opt/org.tianocore/IPv4PXESupport,string=n", "-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=n"];

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
    let config = Config { name: "bench-2".into(), k3s: None, ..fleet.config().unwrap() };
    fs::write(folder.join("bench-2.yaml"), fleet.sign(&config).unwrap()).unwrap();
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
    step("a machine that was served goes on to its disk", || {
        let machine = story.power_on(0)?;
        let passed = server.wait_for("passed", &Patience::new("the refusal", 20))?;
        ensure!(passed["mac"] == MACS[0] && passed["reason"].to_string().contains("boots from its disk"), "{passed}");
        Ok(machine.pull_the_plug()?)
    });
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
    let [one, two, three, _stranger] = MACS;
    format!("name,mac,board,config\nbench-1,{one},{pc},none\nbench-2,{two},{pc},bench-2.yaml\nbench-3,{three},{arm},none\n")
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

    /// The machine at a port; it has no disk.
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

    /// Starts the machine at a port and waits until it is up.
    fn boot(&mut self, number: usize, more: &[&str]) -> Result<Booted> {
        let guest = self.guest(number, more);
        let patience = Patience::new("the status block on the console", 60);
        Ok(boot(&guest, &self.lab.rig_for(&guest, self.logs)?, None, &mut self.run, &patience, |line| line.contains(UP))?)
    }

    /// The API of the machine at a port.
    fn node(&self, number: usize, credentials: Option<&Credentials>) -> Result<Node> {
        let host = self.port(number).address.into();
        let caller = Caller { host, port: api::DEFAULT_PORT, device: None, credentials: credentials.cloned() };
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
