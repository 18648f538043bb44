//! Forty devices from one base: every image is proved, and what boots of them is who its manifest says.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use api::v1::NodeMode;
use imager::stamp::manifest::Manifest;
use machine_config::DeviceId;
use skerry_tests::device::Device;
use skerry_tests::harness::{Guest, Patience};
use skerry_tests::images::{TestImage, imager};
use skerry_tests::lab::Lab;
use skerry_tests::story::step;

const DEVICES: usize = 40;
/// The devices that are booted: one that makes its key itself, one whose key is made with its image.
const PLAIN: usize = 7;
const KNOWN: usize = 23;
/// Where the latter is to phone home: a name that nobody resolves, then an address where nobody listens.
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
    let plain = step("a device without a key boots under its name, and calls nobody", || boot(&lab, &warehouse, PLAIN));
    let known = step("a device with a key is who its manifest says, and tells that its hub does not answer", || {
        let id = boot(&lab, &warehouse, KNOWN)?;
        let expected = warehouse.manifest(KNOWN)?.identity.context("its manifest names no device id")?.device_id;
        ensure!(id == expected, "it is {id}, its manifest says {expected}");
        Ok(id)
    });
    assert_ne!(plain, known);
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
    phones_home(&mut machine, &id, device == KNOWN)?;
    machine.pull_the_plug()?;
    let booted = warehouse.verify(machine.disk().path(), device).expect_err("first boot moved the tables").to_string();
    ensure!(booted.contains("it has booted"), "a disk that booted is not told from a damaged one: {booted}");
    Ok(id)
}

/// A device with a hub says on the console and over the API why it has no session, and where to claim it; one without is silent.
fn phones_home(machine: &mut Device, id: &DeviceId, has_hub: bool) -> Result<()> {
    let node = machine.node(Some(id), None)?;
    if has_hub {
        let claim = format!("   claim  {HUB}/claim/id/{}", &id.as_str()[..16]);
        let told = node.wait_until(&Patience::new("why there is no session", 40), |node| {
            Ok(Some(node.status()?.hub).filter(|line| line.starts_with("no session with https://")))
        })?;
        ensure!(told.contains(HUB) || told.contains(FALLBACK), "{told}");
        machine
            .machine()
            .console()
            .wait_for(&Patience::new("the hub on the console", 5), |line| line.starts_with("     hub  no session with"))?;
        machine.machine().console().wait_for(&Patience::new("where to claim it", 5), |line| line.starts_with(&claim))?;
    } else {
        ensure!(node.status()?.hub.is_empty(), "it calls a hub that nobody named");
        let spoken = machine
            .machine()
            .console()
            .lines()
            .into_iter()
            .find(|line| line.starts_with("     hub  ") || line.starts_with("   claim  "));
        ensure!(spoken.is_none(), "it speaks of a hub that nobody named: {spoken:?}");
    }
    Ok(())
}
