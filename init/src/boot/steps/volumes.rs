//! Phase `volumes`: the sealed runtime image at /usr and DATA at /var.

use std::fs::File;
use std::path::Path;
use std::rc::Rc;

use anyhow::Context;
use rustix::mount::MountFlags;

use super::super::machine::Machine;
use super::{blocking, mount_device};
use crate::devices::BootDisk;
use crate::disk::{self, Volume};
use crate::early::{link, make_folder};
use crate::node::{EventKind, Node};
use crate::services::definitions::RuntimeFacts;
use crate::{clock, sys, verity};

const DATA: &str = "/var";
const RUNTIME: &str = "/usr";

/// Folders of DATA that services expect, and their modes.
const FOLDERS: &[(&str, u32)] = &[
    ("/var/lib/containerd", 0o700),
    ("/var/lib/kubelet", 0o700),
    ("/var/lib/rancher", 0o755),
    ("/var/lib/cni", 0o755),
    ("/var/lib/skerry/images", 0o755),
    ("/var/log/pods", 0o755),
    ("/var/log/containers", 0o755),
    ("/var/cache", 0o755),
    ("/var/tmp", 0o1777),
];

pub(in crate::boot) async fn volumes(machine: Rc<Machine>) -> anyhow::Result<()> {
    // What is built into the kernel is no module, and what is missing shows itself in the mount: so no error counts here.
    let _ = Machine::product(&machine.hotplug).load(["dm_mod", "dm_verity", "squashfs", "ext4"]).await;
    let (runtime, data) = tokio::join!(open_runtime(&machine), open_data(&machine));
    runtime.context("cannot open the runtime image")?;
    data.context("cannot open DATA")?;
    let facts = blocking(|| RuntimeFacts::read(Path::new(RUNTIME))).await?;
    machine.runtime.get_or_init(|| facts);
    Ok(())
}

async fn open_runtime(machine: &Machine) -> anyhow::Result<()> {
    let (disk, seal) = (Machine::product(&machine.disk), Machine::product(&machine.seal));
    let partition = disk.partition_path(disk.runtime);
    let root_hash = seal.root_hex();
    let device = blocking(move || verity::open(&seal, &partition)).await??;
    let flags = MountFlags::RDONLY | MountFlags::NODEV | MountFlags::NOSUID;
    blocking(move || mount_device(&device, RUNTIME, "squashfs", flags)).await??;
    machine.node.status.update(|status| status.runtime_root_hash = root_hash);
    Ok(())
}

async fn open_data(machine: &Machine) -> anyhow::Result<()> {
    let disk = Machine::product(&machine.disk);
    let max_bytes =
        machine.in_force().and_then(|config| config.machine.volumes.data.max_size_mib).map(|mib| mib.saturating_mul(1 << 20));
    let epoch = i64::try_from(clock::now()).unwrap_or_default();
    let node = machine.node.clone();
    blocking(move || make_data(&node, &disk, max_bytes, epoch)).await?
}

/// Everything that waits for the disk.
fn make_data(node: &Node, disk: &BootDisk, max_bytes: Option<u64>, epoch: i64) -> anyhow::Result<()> {
    let volume = disk::data_volume(disk, max_bytes, epoch)?;
    mount_device(&volume.path, DATA, "ext4", MountFlags::NOATIME | MountFlags::NODEV | MountFlags::NOSUID)?;
    grow(node, &volume);
    for (path, mode) in FOLDERS {
        make_folder(Path::new(path), *mode)?;
    }
    link(Path::new("/var/run"), "/run")?;
    Ok(link(Path::new("/var/lock"), "/run/lock")?)
}

/// A file system that cannot grow still serves; the operator is told.
fn grow(node: &Node, volume: &Volume) {
    let Some(from) = volume.grow_from else { return };
    let grown = File::open(DATA).and_then(|root| sys::resize_ext4(root, volume.bytes / 4096));
    let message = match grown {
        Ok(()) => format!("grown from {} MiB to {} MiB", from >> 20, volume.bytes >> 20),
        Err(error) => format!("cannot grow from {} MiB to {} MiB: {error}", from >> 20, volume.bytes >> 20),
    };
    tracing::info!(message, "DATA");
    node.events.record(EventKind::Device, "DATA", &message);
}
