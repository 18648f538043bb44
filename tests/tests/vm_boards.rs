//! Every board that the emulator can boot, from its own image to a running container, over the disks and network cards it may meet.

use anyhow::{Context, Result, ensure};
use api::Role;
use api::v1::{NodeMode, PhaseState};
use imager::board::Architecture;
use machine_config::DeviceId;
use skerry_tests::config::HELLO_PORT;
use skerry_tests::device::Device;
use skerry_tests::fleet::Credentials;
use skerry_tests::greeting::{Pace, wait_for_greeting};
use skerry_tests::harness::emulator::SerialPort;
use skerry_tests::harness::logs::Logs;
use skerry_tests::harness::{Chassis, DiskBus, Guest, NetworkCard, Patience, boot};
use skerry_tests::images::TestImage;
use skerry_tests::lab::Lab;
use skerry_tests::node::Node;
use skerry_tests::story::step;
use skerry_tests::{filesystem, modules, raspberry};

/// An arm64 guest, emulated on another processor.
const ARM: Pace = Pace(2);

/// A Raspberry Pi: four such processors, a card that is read word by word, and a network over slow USB.
const PI: Pace = Pace(4);

#[test]
fn a_nuc_runs_containers_from_any_disk_behind_any_card() {
    let Some(lab) = Lab::open_or_skip() else { return };
    let nvme = Guest { disk_bus: DiskBus::Nvme, card: Some(NetworkCard::E1000e), ..guest("vm-nuc") };
    let mut rig = Rig::new(&lab, nvme, TestImage::Nuc, Pace::USUAL).unwrap();
    step("NVMe and e1000e: from the first power-on to a container", || rig.reaches_a_container());
    step("the same disk behind AHCI, with an igb card", || {
        rig.device.rebuild(|guest| {
            guest.disk_bus = DiskBus::Ahci;
            guest.card = Some(NetworkCard::Igb);
            guest.emulator = Some(lab.newer_emulator(Chassis::Pc).expect("build-images fetched it"));
        });
        rig.reaches_a_container()
    });
    step("the same disk on USB", || {
        rig.device.rebuild(|guest| {
            guest.disk_bus = DiskBus::Usb;
            guest.card = Some(NetworkCard::Virtio);
            guest.emulator = None;
        });
        rig.reaches_a_container()
    });
}

#[test]
fn the_virtual_arm64_machine_runs_containers() {
    let Some(lab) = Lab::open_or_skip() else { return };
    let guest = Guest { chassis: Chassis::ARM, ..guest("vm-qemu-aarch64") };
    let mut rig = Rig::new(&lab, guest, TestImage::QemuAarch64, ARM).unwrap();
    step("UEFI firmware to a container", || rig.reaches_a_container());
}

#[test]
fn a_generic_arm64_machine_runs_containers_from_nvme_behind_an_igb_card() {
    let Some(lab) = Lab::open_or_skip() else { return };
    let emulator = lab.newer_emulator(Chassis::ARM).unwrap();
    let guest = Guest {
        chassis: Chassis::ARM,
        disk_bus: DiskBus::Nvme,
        card: Some(NetworkCard::Igb),
        emulator: Some(emulator),
        ..guest("vm-arm64-uefi")
    };
    let mut rig = Rig::new(&lab, guest, TestImage::Arm64Uefi, ARM).unwrap();
    step("UEFI firmware to a container", || rig.reaches_a_container());
}

#[test]
fn a_raspberry_pi_4s_card_starts_through_u_boot_and_runs_its_services() {
    let Some(lab) = Lab::open_or_skip() else { return };
    let mut device = card(&lab, raspberry::pi3("vm-rpi4-u-boot")).unwrap();
    step("U-Boot off the card starts the loader, the loader the UKI, that PID 1", || {
        raspberry::start_u_boot(&mut device, raspberry::pi3_tree(&lab)?)?;
        device.power_on_until("skerry init", &Patience::new("PID 1 on the serial console", 40))
    });
    step("it knows its board and makes STATE on the card", || shows(&mut device, "identity device_id=", 20));
    step("it runs containerd and the service in k3s's place, without a network", || shows(&mut device, "service=k3s", 60));
    step("the file systems are on the card", || {
        device.pull_the_plug()?;
        filesystem::exist_all(device.disk().path())
    });
}

#[test]
fn a_raspberry_pi_4s_card_starts_through_u_boot_on_its_own_chip() {
    let Some(lab) = Lab::open_or_skip() else { return };
    let guest = Guest { port: SerialPort::Second, ..raspberry::pi4(&lab, "vm-rpi4-chip-u-boot").unwrap() };
    let mut device = card(&lab, guest).unwrap();
    step("U-Boot off the card, with the card's own device tree, finds what to start on the card", || {
        let tree = raspberry::pi4_tree(&device)?;
        raspberry::start_u_boot(&mut device, tree)?;
        device.power_on_until("efi_mgr", &Patience::new("U-Boot's word that it starts an UEFI program", 30))
    });
    step("that is the loader, which starts the UKI, which starts the kernel", || {
        raspberry::wait_for_kernel(&mut device, &Patience::new("the kernel's own addresses", 90))
    });
}

#[test]
fn a_raspberry_pi_4s_kernel_and_ram_disk_run_on_its_own_chip() {
    let Some(lab) = Lab::open_or_skip() else { return };
    let forwards = vec![api::DEFAULT_PORT, HELLO_PORT];
    let mut device = card(&lab, Guest { forwards, ..raspberry::pi4(&lab, "vm-rpi4-chip").unwrap() }).unwrap();
    let admin = lab.fleet().unwrap().certificate(Role::Admin, device.logs().folder()).unwrap();
    step("the kernel finds PID 1 in the RAM disk", || {
        raspberry::start_kernel(&mut device)?;
        device.power_on_until("skerry init", &Patience::new("PID 1 on the serial console", 20))
    });
    let node = step("it makes STATE on the card and has the configuration from SEED in force", || {
        let node = device.node_within(&Patience::new("the API over USB", 40), None, Some(&admin))?;
        let status = node.wait_mode(NodeMode::Configured, &Patience::new("the configuration from SEED", 5))?;
        ensure!(status.config_generation == 1 && status.hostname == "box-1", "{status:?}");
        let volumes = Patience::new("the phase `volumes`", 30);
        node.wait_until(&volumes, |node| {
            let phases = node.boot_times()?.phases;
            Ok(phases.into_iter().find(|phase| phase.name == "volumes" && phase.state() == PhaseState::Done))
        })?;
        Ok(node)
    });
    step("it runs a container, which answers over USB", || wait_for_greeting(&mut device, &node, PI));
    step("the file systems are on the card", || {
        device.pull_the_plug()?;
        filesystem::exist_all(device.disk().path())
    });
}

#[test]
fn a_raspberry_pi_5s_kernel_and_ram_disk_run_containers_on_another_machine() {
    let Some(lab) = Lab::open_or_skip() else { return };
    let guest = Guest {
        chassis: Chassis::Arm { cpu: "cortex-a76" },
        disk_bus: DiskBus::Usb,
        card: Some(NetworkCard::Usb),
        ..guest("vm-rpi5-kernel")
    };
    let mut rig = Rig { sign: "skerry init", ..Rig::new(&lab, guest, TestImage::Rpi5, ARM).unwrap() };
    step("kernel, RAM disk and command line of slot A, a stick and an adapter on USB: to a container", || {
        raspberry::start_slot(&mut rig.device)?;
        rig.reaches_a_container()
    });
}

/// A Raspberry Pi with the real image on its SD card.
fn card(lab: &Lab, guest: Guest) -> Result<Device<'_>> {
    Device::flashed_to(lab, guest, &lab.image(TestImage::Rpi4), raspberry::CARD_BYTES)
}

/// Waits for a line of the console with `ready` or `identity` and these words, which usually takes `seconds`.
fn shows(device: &mut Device<'_>, words: &str, seconds: u64) -> Result<()> {
    let patience = Patience::new(format!("`{words}` on the console"), seconds);
    let is_it = |line: &str| line.contains(words) && (line.contains("ready after") || line.contains("identity"));
    device.machine().console().wait_for(&patience, is_it)?;
    Ok(())
}

#[test]
fn every_module_of_every_board_loads() {
    let Some(lab) = Lab::open_or_skip() else { return };
    for image in TestImage::boards() {
        let chassis = match image.architecture() {
            Architecture::X86_64 => Chassis::Pc,
            Architecture::Aarch64 if image == TestImage::Rpi5 => Chassis::Arm { cpu: "cortex-a76" },
            Architecture::Aarch64 => Chassis::ARM,
        };
        step(format!("{}: every module loads, or says that its hardware is not there", image.board()), || {
            let name = format!("vm-modules-{}", image.board());
            let logs = Logs::fresh(&name)?;
            let rig = boot::Rig { accelerator: lab.accelerator(), firmware: None, logs: &logs };
            let loaded = modules::load_all(&lab.image(image), &name, chassis, image.architecture(), &rig)?;
            eprintln!("     {loaded} loaded");
            Ok(())
        });
    }
}

fn guest(name: &str) -> Guest {
    Guest { forwards: vec![api::DEFAULT_PORT, HELLO_PORT], ..Guest::new(name) }
}

/// A device with its configuration in SEED, and who it has proved to be.
struct Rig<'a> {
    device: Device<'a>,
    admin: Credentials,
    id: Option<DeviceId>,
    pace: Pace,
    /// What the serial port says first. Boards without one say nothing more on it than their firmware does: the API must tell the rest.
    sign: &'static str,
}

impl<'a> Rig<'a> {
    fn new(lab: &'a Lab, guest: Guest, image: TestImage, pace: Pace) -> Result<Self> {
        let device = Device::flashed(lab, guest, &lab.image(image))?;
        let admin = lab.fleet()?.certificate(Role::Admin, device.logs().folder())?;
        Ok(Self { device, admin, id: None, pace, sign: "BdsDxe: starting" })
    }

    /// From power-on to a running container, and off again in order, with the file systems clean.
    fn reaches_a_container(&mut self) -> Result<()> {
        self.device.power_on_until(self.sign, &self.pace.patience("a sign of life", 8))?;
        let api = self.pace.patience("the API", 15);
        let node = self.device.node_within(&api, self.id.as_ref(), Some(&self.admin))?;
        let status = node.wait_mode(NodeMode::Configured, &Patience::new("the configuration from SEED", 5))?;
        ensure!(status.config_generation == 1, "{status:?}");
        self.id = Some(node.device_id().clone());
        wait_for_greeting(&mut self.device, &node, self.pace)?;
        is_healthy(&node, self.pace)?;
        node.call(|client| async move { client.power_off(api::v1::PowerOffRequest {}).await })?;
        drop(node);
        self.device.wait_power_off()?;
        filesystem::check_all(self.device.disk().path()).context("after the power-off")
    }
}

fn is_healthy(node: &Node, pace: Pace) -> Result<()> {
    let patience = pace.patience("a healthy node", 10);
    let status = node.wait_until(&patience, |node| Ok(Some(node.status()?).filter(|status| status.healthy)))?;
    ensure!(status.errors.is_empty(), "{status:?}");
    Ok(())
}
