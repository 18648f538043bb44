//! Phase `early`: kernel file systems, log and console, drivers begun, fixed files, cgroups, signals, the supervisor. Waits for nothing.

use std::fs;
use std::path::Path;
use std::rc::Rc;

use anyhow::Context;

use super::super::machine::Machine;
use crate::console::{Console, show_status};
use crate::early::{delegate_cgroups, mount_kernel_file_systems, write_fixed_files};
use crate::modules::{BOOT_FOLDER, Hotplug};
use crate::node::Release;
use crate::services::{Supervisor, Surroundings};
use crate::sysctl::{self, SysctlError};
use crate::{logging, power};

/// Whether the kernel drops records of user space that come in bursts, as a boot's do.
const KMSG_LIMIT: &str = "/proc/sys/kernel/printk_devkmsg";

/// Where the kernel looks for firmware files.
const FIRMWARE_PATH: &str = "/sys/module/firmware_class/parameters/path";

/// Where the kernel unpacks the microcode that came before the RAM disk. It has used it by now; these megabytes are the workloads'.
const MICROCODE: &str = "/kernel";

pub(in crate::boot) async fn early(machine: Rc<Machine>) -> anyhow::Result<()> {
    let mounted = mount_kernel_file_systems();
    collect_entropy();
    // Drivers need the longest, so they come first; the devices phase waits for what they bring.
    let hotplug = Hotplug::start(Path::new(BOOT_FOLDER));
    machine.serve_config();
    // A kernel whose command line decided this keeps to it.
    let _ = fs::write(KMSG_LIMIT, "on");
    let release = Release::load(Path::new(Release::PATH));
    show(&machine, release.as_ref().ok());
    mounted.context("cannot mount the kernel's file systems")?;
    harden();
    let hotplug = hotplug.context("cannot listen for devices")?;
    machine.hotplug.get_or_init(|| hotplug);
    machine.node.status.update(|status| status.api_port = api::DEFAULT_PORT);
    let release = release.unwrap_or_else(|error| {
        tracing::error!(error = &error as &dyn std::error::Error, "the image does not say what it is");
        Release::unknown()
    });
    write_fixed_files(Path::new("/"), &release)?;
    delegate_cgroups().context("cannot set up cgroups")?;
    // Without a firmware loader in the kernel nothing asks for firmware.
    let _ = fs::write(FIRMWARE_PATH, "/skerry/firmware");
    // On most boards there is none.
    let _ = fs::remove_dir_all(MICROCODE);
    start_keepers(&machine)
}

/// Log and status block, as early as there is something to write to.
fn show(machine: &Machine, release: Option<&Release>) {
    let release = machine.release.get_or_init(|| release.cloned().unwrap_or_else(Release::unknown)).clone();
    let console = machine.console.get_or_init(Console::open).clone();
    machine.level.get_or_init(|| logging::install(console.clone()));
    tracing::info!(version = release.version, board = release.board, "skerry init");
    tokio::spawn(show_status(console, machine.node.clone(), release));
}

/// What this kernel does not have needs no hardening.
fn harden() {
    for error in sysctl::apply(Path::new("/proc/sys"), &sysctl::hardening()).errors {
        match error {
            SysctlError::Absent { .. } => {}
            SysctlError::Refused { .. } => tracing::warn!(error = &error as &dyn std::error::Error, "hardening"),
        }
    }
}

/// Asks for a random byte, which begins the kernel's collecting of entropy where neither the processor nor the firmware brought any.
/// Otherwise it would begin, and the boot wait, when the first key is made.
fn collect_entropy() {
    let ask = || getrandom::fill(&mut [0]).unwrap_or_else(|error| tracing::warn!(%error, "no entropy"));
    drop(tokio::task::spawn_blocking(ask));
}

/// Tasks that live as long as the device.
fn start_keepers(machine: &Machine) -> anyhow::Result<()> {
    let power = machine.power.clone();
    tokio::spawn(async move {
        if let Err(error) = power::watch_signals(power).await {
            tracing::warn!(%error, "Ctrl-Alt-Del does nothing");
        }
    });
    let surroundings =
        Surroundings { node: machine.node.clone(), cgroup_mount: "/sys/fs/cgroup".into(), run_folder: "/run/skerry".into() };
    let supervisor = Supervisor::start(surroundings).context("cannot start the supervisor")?;
    machine.supervisor.get_or_init(|| supervisor);
    Ok(())
}
