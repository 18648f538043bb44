//! A medium that runs in RAM, and from it to the internal disk: unattended and over the API, cut off in the middle, refused where something could
//! be lost.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use api::Role;
use api::v1::{NodeMode, PowerOffRequest, StatusResponse};
use imager::board::Format;
use machine_config::disk::SECTOR_BYTES;
use machine_config::seed::Seed;
use machine_config::{DeviceId, IdentitySeed};
use serde_json::json;
use skerry_tests::config::{Config, HELLO_PORT};
use skerry_tests::device::Device;
use skerry_tests::fleet::{Credentials, TestFleet};
use skerry_tests::greeting::{Pace, wait_for_greeting};
use skerry_tests::harness::hardware::{Medium, MediumOrder, MediumSort};
use skerry_tests::harness::{DiskBus, Guest, Patience};
use skerry_tests::images::{TestImage, imager};
use skerry_tests::lab::Lab;
use skerry_tests::node::Node;
use skerry_tests::story::step;
use skerry_tests::{filesystem, medium};

const NVME: &str = "{transport: nvme, minSizeMib: 1000}";

#[test]
fn a_disc_installs_a_box_unattended_only_once_and_never_takes_it_back() {
    let Some(lab) = Lab::open_or_skip() else { return };
    let fleet = lab.fleet().unwrap();
    let identity = IdentitySeed::new([7; 32]);
    let id = identity.device_id();
    let seed = |generation, wipe| {
        let config = fleet.sign(&installing(&fleet, generation, wipe)).unwrap();
        Seed { config: Some(config), identity: Some(identity.clone()), ..blank_seed(&fleet) }
    };
    let mut rig = Rig::new(&lab, "vm-install", TestImage::Blank, MediumSort::Cd, &seed(2, "refuse")).unwrap();
    step("the power fails when about half of the installation is done", || rig.is_cut_off(45));
    step("what is on the disk then starts nothing, and says that it is half done", || rig.is_half_done());
    step("started again it starts over, and restarts when all is read back", || rig.installs(&id));
    step("with the disc still first, it installs nothing again and says so", || rig.is_left_alone(&id));
    step("an older disc leaves the disk that has not started yet as it is, and says why", || {
        rig.is_refused(&id, &seed(1, "all"), "it holds generation 2, the medium brings 1: start from the disk")
    });
    step("without the disc it is the same device, with its configuration and containers", || rig.runs_from_its_disk(&id));
    step("a disc with what it has accepted since leaves it alone as well", || {
        let newer = seed(3, "all");
        rig.accepts_on_its_disk(&id, newer.config.as_ref().expect("it has one"))?;
        medium::stamp(&rig.medium.image, &newer)?;
        rig.is_left_alone(&id)
    });
    step("an older disc does not take back what it has accepted, whatever it gives free", || {
        rig.is_refused(&id, &seed(2, "all"), "it holds generation 3, the medium brings 2: start from the disk")
    });
    step("nor does a disc of the same generation with other content", || {
        rig.is_refused(&id, &seed(3, "skerry"), "it holds generation 3 with other content: start from the disk")
    });
}

#[test]
fn a_nuc_in_maintenance_is_installed_by_a_configuration_and_loses_nothing_unasked() {
    let Some(lab) = Lab::open_or_skip() else { return };
    let fleet = lab.fleet().unwrap();
    let mut rig = Rig::new(&lab, "vm-install-nuc", TestImage::Nuc, MediumSort::UsbStick, &blank_seed(&fleet)).unwrap();
    let before = step("something that nobody here knows is on its disk", || {
        let disk = File::options().write(true).open(rig.device.disk().path())?;
        disk.write_all_at(b"a system of its own kind", 64 << 20)?;
        Ok(rig.device.disk().fingerprint()?)
    });
    let id = step("it comes up in maintenance, in RAM", || rig.is_in_maintenance());
    step("a configuration that allows nothing to be lost is accepted, and the disk listed and left", || {
        let status = rig.refuses(&id, &fleet.sign(&installing(&fleet, 1, "refuse"))?)?;
        ensure!(status.install.contains("it holds data of an unknown kind at byte 67108864; to lose it"), "{status:?}");
        ensure!(status.install.contains("sda") && status.install.contains("this system was started from it"), "{status:?}");
        ensure!(rig.device.disk().fingerprint()? == before, "the disk was written to");
        Ok(())
    });
    step("a later one that gives the disk free installs at once", || {
        let node = rig.device.node(Some(&id), Some(&rig.admin))?;
        node.apply(&fleet.sign(&installing(&fleet, 2, "all"))?, false)?;
        rig.sees_the_installation_through(&node)
    });
    step("without the stick it is the same device, with its configuration and containers", || rig.runs_from_its_disk(&id));
}

#[test]
fn a_nuc_goes_on_from_the_disc_to_what_it_installed_with_nobody_near() {
    let Some(lab) = Lab::open_or_skip() else { return };
    let fleet = lab.fleet().unwrap();
    let identity = IdentitySeed::new([8; 32]);
    let id = identity.device_id();
    let config = Some(fleet.sign(&installing(&fleet, 1, "refuse")).unwrap());
    let seed = Seed { config, identity: Some(identity), ..blank_seed(&fleet) };
    let mut rig = Rig::new(&lab, "vm-install-alone", TestImage::Nuc, MediumSort::Cd, &seed).unwrap();
    rig.tries_its_disk_first();
    step("its disk is empty, so it starts from the disc, installs itself and restarts", || {
        rig.power_on()?;
        let node = rig.device.node_within(&Patience::new("the API", 30), Some(&id), Some(&rig.admin))?;
        rig.sees_it_restart(&node)
    });
    step("the firmware now starts its disk, the disc still in the drive, and it is the same device", || {
        let chosen = Patience::new("the firmware's choice", 20);
        rig.device.machine().console().wait_for(&chosen, |line| line.contains("BdsDxe: starting") && line.contains("NVMe"))?;
        rig.is_at_home(&id)
    });
}

#[test]
fn a_disc_runs_containers_in_ram_and_moves_to_a_disk_when_told() {
    let Some(lab) = Lab::open_or_skip() else { return };
    let fleet = lab.fleet().unwrap();
    let config = fleet.sign(&fleet.config().unwrap()).unwrap();
    let seed = Seed { config: Some(config), ..blank_seed(&fleet) };
    let mut rig = Rig::new(&lab, "vm-ram", TestImage::Blank, MediumSort::Cd, &seed).unwrap();
    let before = rig.device.disk().fingerprint().unwrap();
    let id = step("without a word of installing it runs its containers in RAM", || rig.runs_in_ram());
    step("a configuration that would take a restart is taken without one, and says so", || {
        let node = rig.device.node(Some(&id), Some(&rig.admin))?;
        let machine = "  volumes: {data: {maxSizeMib: 600}}\n".to_owned();
        node.apply(&fleet.sign(&Config { generation: 2, machine, ..fleet.config()? })?, false)?;
        let told = Patience::new("the word of what a restart would lose", 5);
        let said = |status: &StatusResponse| status.errors.iter().any(|error| error.starts_with("restart: machine.volumes"));
        let status = node.wait_until(&told, |node| Ok(Some(node.status()?).filter(said)))?;
        ensure!(status.config_generation == 2 && rig.device.disk().fingerprint()? == before, "{status:?}");
        Ok(())
    });
    step("a configuration with a disk installs it, beside its services", || {
        let node = rig.device.node(Some(&id), Some(&rig.admin))?;
        node.apply(&fleet.sign(&installing(&fleet, 3, "refuse"))?, false)?;
        rig.sees_the_installation_through(&node)
    });
    step("without the disc it is the same device, with its configuration and containers", || rig.runs_from_its_disk(&id));
}

/// The fleet's usual configuration, to be installed on the NVMe disk.
fn installing(fleet: &TestFleet, generation: u64, wipe: &str) -> Config {
    let machine = format!("  install: {{disk: {NVME}, wipe: {wipe}}}\n");
    Config { generation, machine, ..fleet.config().expect("the fleet's folder is whole") }
}

fn blank_seed(fleet: &TestFleet) -> Seed {
    Seed { fleet: fleet.trust(), hub: None, join_token: None, device_name: None, config: None, identity: None }
}

/// A box with an internal disk and a medium.
struct Rig<'a> {
    device: Device<'a>,
    medium: Medium,
    admin: Credentials,
}

impl<'a> Rig<'a> {
    fn new(lab: &'a Lab, name: &str, image: TestImage, sort: MediumSort, seed: &Seed) -> Result<Self> {
        let forwards = vec![api::DEFAULT_PORT, HELLO_PORT];
        let guest = Guest { disk_bus: DiskBus::Nvme, memory_mib: 1536, forwards, ..Guest::new(name) };
        let mut device = Device::empty(lab, guest)?;
        let image = step("a medium is made from the disk image, and stamped", || {
            let image = medium::make(&lab.image(image), Format::Iso, &device.logs().path("medium.iso"))?;
            medium::stamp(&image, seed)?;
            Ok(image)
        });
        let medium = Medium { image, sort, order: MediumOrder::First };
        device.rebuild(|guest| guest.medium = Some(medium.clone()));
        let admin = lab.fleet()?.certificate(Role::Admin, device.logs().folder())?;
        Ok(Self { device, medium, admin })
    }

    /// Cuts the power once the installation has come so far. The disk is slow, so that there is something to see.
    fn is_cut_off(&mut self, percent: u64) -> Result<()> {
        self.device.power_on_until("running from RAM", &Patience::new("the system in RAM", 20))?;
        let slow = json!({"device": "disk", "bps": 0, "bps_rd": 0, "bps_wr": 8 << 20, "iops": 0, "iops_rd": 0, "iops_wr": 0});
        self.device.machine().qmp().execute("block_set_io_throttle", &slow)?;
        let far = Patience::new(format!("{percent} % of the installation"), 60);
        self.device.machine().console().wait_for(&far, |line| progress_in(line).is_some_and(|shown| shown >= percent))?;
        self.device.pull_the_plug()
    }

    fn installs(&mut self, id: &DeviceId) -> Result<()> {
        self.device.power_on()?;
        ensure!(self.device.id_on_console()? == *id, "the identity in SEED was not taken");
        let node = self.device.node(Some(id), Some(&self.admin))?;
        self.sees_the_installation_through(&node)
    }

    /// The firmware tries the medium when the disk starts nothing.
    fn tries_its_disk_first(&mut self) {
        self.medium.order = MediumOrder::Last;
        let medium = self.medium.clone();
        self.device.rebuild(|guest| guest.medium = Some(medium));
    }

    /// From the last words of the system in RAM to the restart, and off.
    fn sees_the_installation_through(&mut self, node: &Node) -> Result<()> {
        self.sees_it_restart(node)?;
        self.device.pull_the_plug()
    }

    /// From the last words of the system in RAM to the restart.
    fn sees_it_restart(&mut self, node: &Node) -> Result<()> {
        let done = Patience::new("the installation", 60);
        let status =
            node.wait_until(&done, |node| Ok(Some(node.status()?).filter(|status| status.install.starts_with("installed on"))))?;
        ensure!(status.install.contains("nvme0n1 (QEMU NVMe Ctrl, 4.3 GB); remove the medium"), "{status:?}");
        self.device.machine().qmp().wait_event("RESET", &Patience::new("the restart", 20))?;
        Ok(())
    }

    /// Sector 1 has the mark of an installation that began, and the places of both tables are clear.
    fn is_half_done(&self) -> Result<()> {
        let disk = File::open(self.device.disk().path())?;
        let last = disk.metadata()?.len() / SECTOR_BYTES - 1;
        let sector = |number: u64| -> Result<[u8; SECTOR_BYTES as usize]> {
            let mut bytes = [0; SECTOR_BYTES as usize];
            disk.read_exact_at(&mut bytes, number * SECTOR_BYTES)?;
            Ok(bytes)
        };
        ensure!(sector(1)?.starts_with(b"SKERRY-HALF-DONE"), "sector 1 has {:?}", sector(1)?);
        for number in [0, 2, last] {
            ensure!(sector(number)?.iter().all(|byte| *byte == 0), "sector {number} is not clear");
        }
        Ok(())
    }

    fn is_left_alone(&mut self, id: &DeviceId) -> Result<()> {
        self.writes_nothing_and_says(id, "already installed on nvme0n1", "remove the medium")
    }

    /// With this SEED in the medium, no configuration of which may be installed.
    fn is_refused(&mut self, id: &DeviceId, seed: &Seed, why: &str) -> Result<()> {
        medium::stamp(&self.medium.image, seed)?;
        self.writes_nothing_and_says(id, "not installing: nvme0n1", why)
    }

    /// Starts it from its medium; what the install line begins with, and what else is in it, on the console and over the API.
    fn writes_nothing_and_says(&mut self, id: &DeviceId, first: &str, further: &str) -> Result<()> {
        let before = self.device.disk().fingerprint()?;
        self.device.power_on_until(first, &Patience::new("the end of the search for disks", 40))?;
        let node = self.device.node(Some(id), Some(&self.admin))?;
        let status = node.status()?;
        let says_so = status.install.starts_with(first) && status.install.contains(further);
        ensure!(status.runs_from == "RAM" && status.phase == "install" && says_so, "{status:?}");
        let shown = self.device.machine().console().lines().iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ");
        ensure!(shown.contains(&status.install), "the console does not say: {}", status.install);
        ensure!(node.services()?.iter().all(|service| service.name == "apid"), "services run though nothing is settled");
        self.powers_off(node)?;
        ensure!(self.device.disk().fingerprint()? == before, "the disk was written to");
        Ok(())
    }

    fn runs_in_ram(&mut self) -> Result<DeviceId> {
        self.device.power_on()?;
        let id = self.device.id_on_console()?;
        let node = self.device.node(Some(&id), Some(&self.admin))?;
        wait_for_greeting(&mut self.device, &node, Pace::USUAL)?;
        let healthy = Patience::new("a healthy node", 10);
        let status = node.wait_until(&healthy, |node| Ok(Some(node.status()?).filter(|status| status.healthy)))?;
        ensure!(status.runs_from == "RAM" && status.errors.is_empty() && status.install.is_empty(), "{status:?}");
        let var =
            node.resources()?.mounts.into_iter().find(|mount| mount.target == "/var").context("nothing is mounted at /var")?;
        ensure!(var.fs_type == "tmpfs" && var.size_bytes < 800 << 20, "{var:?}");
        Ok(id)
    }

    fn is_in_maintenance(&mut self) -> Result<DeviceId> {
        self.power_on()?;
        let node = self.device.node_within(&Patience::new("the API", 30), None, None)?;
        let status = node.wait_mode(NodeMode::Maintenance, &Patience::new("maintenance", 10))?;
        ensure!(status.runs_from == "RAM" && status.install.is_empty(), "{status:?}");
        Ok(node.device_id().clone())
    }

    /// A NUC has no serial port that says more than its firmware does.
    fn power_on(&mut self) -> Result<()> {
        self.device.power_on_until("BdsDxe: starting", &Patience::new("the firmware", 12))
    }

    /// Applies a configuration as anybody may in maintenance; returns what an administrator reads once it is refused to install.
    fn refuses(&mut self, id: &DeviceId, signed: &[u8]) -> Result<StatusResponse> {
        self.device.node(Some(id), None)?.apply(signed, false)?;
        let node = self.device.node(Some(id), Some(&self.admin))?;
        let said = Patience::new("the refusal", 20);
        node.wait_until(&said, |node| Ok(Some(node.status()?).filter(|status| status.install.starts_with("not installing"))))
    }

    fn runs_from_its_disk(&mut self, id: &DeviceId) -> Result<()> {
        self.device.rebuild(|guest| guest.medium = None);
        self.power_on()?;
        self.is_at_home(id)
    }

    /// Sees it come up from its disk and run its containers; then turns it off and looks at the disk.
    fn is_at_home(&mut self, id: &DeviceId) -> Result<()> {
        let node = self.device.node_within(&Patience::new("the same device", 30), Some(id), Some(&self.admin))?;
        let status = node.wait_mode(NodeMode::Configured, &Patience::new("the configuration from SEED", 5))?;
        ensure!(status.hostname == "box-1" && status.runs_from == "nvme0n1", "{status:?}");
        ensure!(status.install == "machine.install has no effect: this system runs from nvme0n1", "{status:?}");
        wait_for_greeting(&mut self.device, &node, Pace::USUAL)?;
        self.powers_off(node)?;
        let disk = self.device.disk().path();
        filesystem::check_all(disk).context("after the power-off")?;
        filesystem::check_table(disk)?;
        inspects(disk)
    }

    fn accepts_on_its_disk(&mut self, id: &DeviceId, config: &[u8]) -> Result<()> {
        self.device.rebuild(|guest| guest.medium = None);
        self.device.power_on()?;
        let node = self.device.node(Some(id), Some(&self.admin))?;
        node.apply(config, false)?;
        self.powers_off(node)?;
        let medium = self.medium.clone();
        self.device.rebuild(|guest| guest.medium = Some(medium));
        Ok(())
    }

    fn powers_off(&mut self, node: Node) -> Result<()> {
        node.call(|client| async move { client.power_off(PowerOffRequest {}).await })?;
        drop(node);
        self.device.wait_power_off()
    }
}

/// Nothing is on the disk that an image must not hold, and its runtime image is the one that its kernel is told.
fn inspects(disk: &Path) -> Result<()> {
    let output = Command::new(imager()).args(["inspect", "--check"]).arg(disk).output().context("cannot run imager")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// How far the installation is, as the console shows it.
fn progress_in(line: &str) -> Option<u64> {
    line.split_once("installing on")?.1.trim_end().strip_suffix(" %")?.rsplit(' ').next()?.parse().ok()
}

impl Drop for Rig<'_> {
    fn drop(&mut self) {
        // Policy: a medium that cannot be removed is the log folder's problem, not the test's.
        drop(std::fs::remove_file(&self.medium.image));
    }
}
