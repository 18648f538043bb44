//! Forty devices from one base: every image is proved, and what boots of them is who its manifest says. One more, for a site without any hub, brings
//! its configuration with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use api::Role;
use api::v1::{NodeMode, ServiceState};
use imager::stamp::manifest::Manifest;
use machine_config::DeviceId;
use skerry_tests::config::Config;
use skerry_tests::device::Device;
use skerry_tests::harness::{Guest, Patience};
use skerry_tests::images::{TestImage, imager};
use skerry_tests::lab::Lab;
use skerry_tests::node::Node;
use skerry_tests::story::step;

const DEVICES: usize = 40;
/// The devices that are booted: one that makes its key itself, one whose key is made with its image.
const PLAIN: usize = 7;
const KNOWN: usize = 23;
/// One more, stamped by itself: with a configuration and without a hub.
const OFFLINE: usize = DEVICES + 1;
/// What that is called in its configuration.
const SITE: &str = "site-1";
/// Where the device with a key is to phone home: a name that nobody resolves, then an address where nobody listens.
const HUB: &str = "https://hub.invalid";
const FALLBACK: &str = "https://10.0.2.2:9";

/// A warehouse: a base, a station's key and what was stamped.
struct Warehouse {
    folder: tempfile::TempDir,
    base: PathBuf,
}

impl Warehouse {
    fn new(base: PathBuf) -> Result<Self> {
        let folder = tempfile::tempdir_in(base.parent().context("an image lies in a folder")?)?;
        fs::create_dir(folder.path().join("out"))?;
        let warehouse = Self { folder, base };
        warehouse.imager(&["station-key", &warehouse.text("station")])?;
        Ok(warehouse)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn image(&self, device: usize) -> PathBuf {
        self.path(&format!("out/store-{device}.img"))
    }

    fn manifest_path(&self, device: usize) -> PathBuf {
        self.path(&format!("out/store-{device}.manifest.json"))
    }

    fn manifest(&self, device: usize) -> Result<Manifest> {
        let key = imager::stamp::station::load_public(&self.path("station.pub"))?;
        Ok(Manifest::read(&fs::read(self.manifest_path(device))?, Some(&key))?)
    }

    /// Runs the command as a technician would; its words when it fails are the error.
    fn imager(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new(imager()).args(arguments).output().context("cannot run imager")?;
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "{words}");
        Ok(words)
    }

    fn stamp(&self) -> Result<()> {
        let pin = "ab".repeat(32);
        let hub = |n| if n == KNOWN { format!("{HUB},{pin},{FALLBACK}") } else { ",,".to_owned() };
        let row = |n| format!("store-{n},SERIAL-{n},qemu-x86_64,{},{}\n", if n == KNOWN { "auto" } else { "" }, hub(n));
        let rows: String = (1..=DEVICES).map(row).collect();
        fs::write(self.path("devices.csv"), format!("name,serial,board,identity,hub,hub_pin,hub_fallbacks\n{rows}"))?;
        let base = self.base.display().to_string();
        let (inventory, out, key) = (self.text("devices.csv"), self.text("out"), self.text("station"));
        self.imager(&["stamp", &base, "--inventory", &inventory, "--out", &out, "--station-key", &key])?;
        Ok(())
    }

    /// Stamps one more device, for a site that nothing leads to or from: with a configuration that any device of the fleet may take.
    fn stamp_offline(&self, config: &[u8]) -> Result<()> {
        fs::write(self.path("site.yaml"), config)?;
        fs::write(self.path("site.csv"), format!("name,serial,board\nstore-{OFFLINE},SERIAL-{OFFLINE},qemu-x86_64\n"))?;
        let base = self.base.display().to_string();
        let (inventory, config, out, key) =
            (self.text("site.csv"), self.text("site.yaml"), self.text("out"), self.text("station"));
        self.imager(&["stamp", &base, "--inventory", &inventory, "--config", &config, "--out", &out, "--station-key", &key])?;
        self.verify(&self.image(OFFLINE), OFFLINE)?;
        Ok(())
    }

    /// Pipes the image of one device out of the program, with no folder for anything else, and proves what came through.
    fn pipe(&self, device: usize) -> Result<()> {
        fs::write(self.path("one.csv"), format!("name,serial,board\nstore-{device},SERIAL-{device},qemu-x86_64\n"))?;
        let (inventory, key, piped) = (self.text("one.csv"), self.text("station"), self.path("piped"));
        let mut command = Command::new(imager());
        command.arg("stamp").arg(&self.base).args(["--inventory", &inventory, "--stdout", "--station-key", &key]);
        let mut child = command.stdout(Stdio::piped()).spawn().context("cannot run imager")?;
        let mut from = child.stdout.take().context("there is no pipe")?;
        std::io::copy(&mut from, &mut fs::File::create(&piped)?)?;
        ensure!(child.wait()?.success(), "imager failed");
        self.verify(&piped, device)?;
        Ok(fs::remove_file(piped)?)
    }

    /// What `verify` says of an image or disk.
    fn verify(&self, image: &Path, device: usize) -> Result<String> {
        let (image, manifest) = (image.display().to_string(), self.manifest_path(device).display().to_string());
        let (base, key) = (self.base.display().to_string(), self.text("station.pub"));
        self.imager(&["verify", &image, "--manifest", &manifest, "--base", &base, "--station-key", &key])
    }
}

#[test]
fn forty_stamped_devices_are_who_their_manifests_say() {
    let Some(lab) = Lab::open_or_skip() else { return };
    let warehouse = Warehouse::new(lab.image(TestImage::Blank)).expect("a warehouse");
    step("forty images are stamped from one base", || warehouse.stamp());
    step("each of them verifies against its manifest and the base", || verify_all(&warehouse));
    step("a piped image is the one that the folder's manifest is for", || warehouse.pipe(PLAIN));
    let plain = step("a device without a key boots under its name, and calls nobody", || boot(&lab, &warehouse, PLAIN));
    let known = step("a device with a key is who its manifest says, and tells that its hub does not answer", || {
        let id = boot(&lab, &warehouse, KNOWN)?;
        let expected = warehouse.manifest(KNOWN)?.identity.context("its manifest names no device id")?.device_id;
        ensure!(id == expected, "it is {id}, its manifest says {expected}");
        Ok(id)
    });
    assert_ne!(plain, known);
    step("a device for a site of its own is stamped with its configuration", || {
        let fleet = lab.fleet()?;
        warehouse.stamp_offline(&fleet.sign(&Config { name: SITE.into(), k3s: None, ..fleet.config()? })?)
    });
    step("it boots configured, runs its services, and speaks of no hub", || boot_offline(&lab, &warehouse));
}

fn verify_all(warehouse: &Warehouse) -> Result<()> {
    for device in 1..=DEVICES {
        warehouse.verify(&warehouse.image(device), device)?;
        let named = warehouse.manifest(device)?.identity.is_some();
        ensure!(named == (device == KNOWN), "store-{device}: the manifest names a device id: {named}");
    }
    Ok(())
}

/// Writes a device's image to a disk, boots it, and returns who it is on the console and over the API.
fn boot(lab: &Lab, warehouse: &Warehouse, device: usize) -> Result<DeviceId> {
    let name = format!("store-{device}");
    let mut machine = Device::flashed(lab, Guest::new(&format!("vm-stamp-{device}")), &warehouse.image(device))?;
    let words = warehouse.verify(machine.disk().path(), device).context("on its disk the image does not verify")?;
    ensure!(words.contains("bytes after the image's end were not looked at"), "the rest of the disk is not spoken of: {words}");
    machine.power_on()?;
    let patience = Patience::new("its name on the console", 5);
    machine.machine().console().wait_for(&patience, |line| line.trim() == format!("host  {name}"))?;
    let id = machine.id_on_console()?;
    let status = machine.node(Some(&id), None)?.wait_mode(NodeMode::Maintenance, &Patience::new("maintenance", 5))?;
    ensure!((status.hostname.as_str(), status.device_id.as_str()) == (name.as_str(), id.as_str()), "{status:?}");
    if device == KNOWN {
        tells_why_no_session(&mut machine, &id)?;
    } else {
        let node = machine.node(Some(&id), None)?;
        calls_nobody(&mut machine, &node)?;
    }
    machine.pull_the_plug()?;
    let booted = warehouse.verify(machine.disk().path(), device).expect_err("first boot moved the tables").to_string();
    ensure!(booted.contains("it has booted"), "a disk that booted is not told from a damaged one: {booted}");
    Ok(id)
}

/// The device with its configuration: what it is told to run runs, though nobody ever spoke to it.
fn boot_offline(lab: &Lab, warehouse: &Warehouse) -> Result<()> {
    let mut machine = Device::flashed(lab, Guest::new("vm-stamp-offline"), &warehouse.image(OFFLINE))?;
    let admin = lab.fleet()?.certificate(Role::Admin, machine.logs().folder())?;
    machine.power_on()?;
    let id = machine.id_on_console()?;
    let node = machine.node(Some(&id), Some(&admin))?;
    let status = node.wait_mode(NodeMode::Configured, &Patience::new("the configuration from SEED", 5))?;
    ensure!((status.hostname.as_str(), status.config_generation) == (SITE, 1), "{status:?}");
    node.wait_service("containerd", ServiceState::Ready, &Patience::new("containerd", 20))?;
    calls_nobody(&mut machine, &node)?;
    drop(node);
    machine.pull_the_plug()
}

/// A device with a hub says on the console and over the API why it has no session, and where to claim it.
fn tells_why_no_session(machine: &mut Device, id: &DeviceId) -> Result<()> {
    let node = machine.node(Some(id), None)?;
    let claim = format!("   claim  {HUB}/claim/id/{}", &id.as_str()[..16]);
    let told = node.wait_until(&Patience::new("why there is no session", 40), |node| {
        Ok(Some(node.status()?.hub).filter(|line| line.starts_with("no session with https://")))
    })?;
    ensure!(told.contains(HUB) || told.contains(FALLBACK), "{told}");
    let console = machine.machine().console();
    console.wait_for(&Patience::new("the hub on the console", 5), |line| line.starts_with("     hub  no session with"))?;
    console.wait_for(&Patience::new("where to claim it", 5), |line| line.starts_with(&claim))?;
    Ok(())
}

/// A device without a hub is silent about hubs.
fn calls_nobody(machine: &mut Device, node: &Node) -> Result<()> {
    ensure!(node.status()?.hub.is_empty(), "it calls a hub that nobody named");
    let lines = machine.machine().console().lines();
    let spoken = lines.iter().find(|line| line.starts_with("     hub  ") || line.starts_with("   claim  "));
    ensure!(spoken.is_none(), "it speaks of a hub that nobody named: {spoken:?}");
    Ok(())
}
