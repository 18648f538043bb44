//! A netboot archive on a site's own server, as docs/formats.md has it: plain DHCP and TFTP, iPXE, the archive unpacked beside it. A machine with an empty
//! disk runs the archive's own script, installs itself, and goes on to its disk, in one run from power-on to power-off.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use api::Role;
use api::v1::{NodeMode, PowerOffRequest, ServiceState, StatusResponse};
use imager::board::{Architecture, Format};
use machine_config::seed::Seed;
use machine_config::{DeviceId, IdentitySeed};
use skerry_tests::config::Config;
use skerry_tests::fleet::Credentials;
use skerry_tests::harness::disk::DISK_BYTES;
use skerry_tests::harness::hardware::Wiring;
use skerry_tests::harness::logs::Logs;
use skerry_tests::harness::{Booted, Disk, DiskBus, Guest, Machine, Patience, boot, fetched};
use skerry_tests::images::TestImage;
use skerry_tests::lab::Lab;
use skerry_tests::network::{Bench, Netboot};
use skerry_tests::node::{Caller, Node};
use skerry_tests::story::step;
use skerry_tests::{filesystem, medium};

const MAC: &str = "52:54:00:5c:e4:11";
/// The component that holds iPXE, and the file in it.
const IPXE: &str = "ipxe";
const LOADER: &str = "ipxe/usr/lib/ipxe/ipxe-amd64.efi";
/// What the archive holds.
const SCRIPT: &str = "boot.ipxe";
const LOADED: [&str; 3] = [SCRIPT, "vmlinuz", "initramfs"];

#[test]
fn a_netboot_archive_installs_a_nuc_from_a_site_s_own_server() {
    let Some(lab) = Lab::open_or_skip() else { return };
    let logs = Logs::fresh("vm-netboot").unwrap();
    let folder = tempfile::tempdir_in(lab.images()).unwrap();
    let identity = IdentitySeed::new([9; 32]);
    let id = identity.device_id();
    let admin = lab.fleet().unwrap().certificate(Role::Admin, folder.path()).unwrap();
    let served = step("an archive is made of the NUC's image, unpacked and stamped", || served(&lab, folder.path(), identity));
    let netboot = Netboot { folder: served, loader: LOADER.into(), script: SCRIPT.into() };
    let bench = step("a DHCP server names iPXE to firmware, and the archive's script to iPXE", || {
        fetched::fetch(&netboot.folder, IPXE, Architecture::X86_64)?;
        Bench::join_with(&[MAC], Some(&netboot), &logs)
    });
    let disk = Disk::empty(&logs.path("disk.img"), DISK_BYTES).unwrap();
    let mut booted =
        step("a machine finds nothing on its disk, loads iPXE, and iPXE loads the script", || starts(&lab, &logs, &bench, &disk));
    step("the script runs the archive's kernel and initramfs, and the system installs itself", || {
        let node = node(&bench, &Patience::new("kernel and initramfs over TFTP, and the API", 150), &id, &admin)?;
        installs(&node, &mut booted.machine)
    });
    step("the server sent what the archive holds, and nothing else but iPXE", || sent_the_archive(&logs));
    step("it restarts and goes on to its disk, the server still there", || {
        let chosen = Patience::new("the firmware's choice", 20);
        booted.machine.console().wait_for(&chosen, |line| line.contains("BdsDxe: starting") && line.contains("NVMe"))?;
        let node = node(&bench, &Patience::new("the API of the system on the disk", 40), &id, &admin)?;
        runs_from_its_disk(&node)?;
        node.call(|client| async move { client.power_off(PowerOffRequest {}).await })?;
        booted.machine.wait_exit(&Patience::new("power-off", 15))?;
        filesystem::check_all(disk.path())?;
        filesystem::check_table(disk.path())
    });
}

/// The folder of an unpacked archive whose initramfs is stamped for a device that is to install itself.
fn served(lab: &Lab, folder: &Path, identity: IdentitySeed) -> Result<PathBuf> {
    let archive = medium::make(&lab.image(TestImage::Nuc), Format::Pxe, &folder.join("nuc.pxe.tar"))?;
    let unpacked = medium::unpack(&archive)?;
    fs::remove_file(archive)?;
    let fleet = lab.fleet()?;
    let machine = "  install: {disk: {transport: nvme, minSizeMib: 1000}, wipe: refuse}\n".to_owned();
    let config = fleet.sign(&Config { name: "bench-1".into(), machine, k3s: None, ..fleet.config()? })?;
    let seed = Seed {
        fleet: fleet.trust(),
        hub: None,
        join_token: None,
        device_name: None,
        config: Some(config),
        identity: Some(identity),
    };
    medium::stamp(&unpacked.join("initramfs"), &seed)?;
    Ok(unpacked)
}

/// The machine at the bench's only port; its firmware tries the network when its disk starts nothing.
fn starts(lab: &Lab, logs: &Logs, bench: &Bench, disk: &Disk) -> Result<Booted> {
    let port = &bench.ports()[0];
    let guest = Guest {
        mac: port.mac.clone(),
        wiring: Wiring::Tap(port.tap.clone()),
        network_bootindex: Some(2),
        disk_bus: DiskBus::Nvme,
        memory_mib: 2048,
        forwards: vec![],
        ..Guest::new("vm-netboot")
    };
    let script = Patience::new("iPXE loading the script", 60);
    Ok(boot(&guest, &lab.rig_for(&guest, logs)?, Some(disk), &mut 0, &script, |line| line.contains(SCRIPT))?)
}

fn node(bench: &Bench, patience: &Patience, id: &DeviceId, admin: &Credentials) -> Result<Node> {
    let host = bench.ports()[0].address.into();
    let caller = Caller { host, port: api::DEFAULT_PORT, device: Some(id.clone()), credentials: Some(admin.clone()) };
    Node::connect_when_up(&caller, patience)
}

/// From the system in RAM to its restart.
fn installs(node: &Node, machine: &mut Machine) -> Result<()> {
    let status = node.status()?;
    ensure!(status.runs_from == "RAM" && status.hostname == "bench-1", "{status:?}");
    let installed = |status: &StatusResponse| status.install.starts_with("installed on nvme0n1");
    node.wait_until(&Patience::new("the installation", 60), |node| Ok(Some(node.status()?).filter(installed)))?;
    machine.qmp().wait_event("RESET", &Patience::new("the restart", 20))?;
    Ok(())
}

/// By the server's own log.
fn sent_the_archive(logs: &Logs) -> Result<()> {
    let log = fs::read_to_string(logs.path("dhcp.log")).context("the server keeps no log")?;
    let sent: Vec<&str> =
        log.lines().filter_map(|line| line.split_once(": sent ")?.1.split_once(" to ")).map(|(file, _)| file).collect();
    let names = |ends: &str| sent.iter().any(|file| file.ends_with(&format!("/{ends}")));
    ensure!(LOADED.into_iter().all(names) && names(LOADER), "the server sent {sent:?}");
    ensure!(sent.iter().all(|file| file.ends_with(LOADER) || LOADED.iter().any(|name| file.ends_with(name))), "{sent:?}");
    Ok(())
}

/// What was installed is what runs, and keeps its state there.
fn runs_from_its_disk(node: &Node) -> Result<()> {
    let status = node.wait_mode(NodeMode::Configured, &Patience::new("the configuration it was installed with", 5))?;
    ensure!(status.runs_from == "nvme0n1" && status.hostname == "bench-1", "{status:?}");
    ensure!(status.install == "machine.install has no effect: this system runs from nvme0n1", "{status:?}");
    node.wait_service("containerd", ServiceState::Ready, &Patience::new("containerd", 40))?;
    Ok(())
}
