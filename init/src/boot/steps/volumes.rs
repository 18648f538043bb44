//! Phase `volumes`: the sealed runtime image at /usr and DATA at /var. A system in RAM has both there.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::Context;
use rustix::mount::MountFlags;

use super::super::machine::{Machine, Medium};
use super::{blocking, mount_device, mount_ram};
use crate::devices::BootDisk;
use crate::disk::{self, Volume};
use crate::early::{link, make_folder};
use crate::node::{EventKind, Node};
use crate::services::definitions::RuntimeFacts;
use crate::verity::{self, RuntimeSeal};
use crate::{clock, sys};

const DATA: &str = "/var";
const RUNTIME: &str = "/usr";

const DATA_FLAGS: MountFlags = MountFlags::NOATIME.union(MountFlags::NODEV).union(MountFlags::NOSUID);

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
    let modules: &[&str] = match Machine::product(&machine.medium) {
        Medium::Disk(_) => &["dm_mod", "dm_verity", "squashfs", "ext4"],
        Medium::Ram(_) => &["loop", "dm_mod", "dm_verity", "squashfs"],
    };
    let _ = Machine::product(&machine.hotplug).load(modules.iter().copied()).await;
    let (runtime, data) = tokio::join!(open_runtime(&machine), open_data(&machine));
    runtime.context("cannot open the runtime image")?;
    data.context("cannot open DATA")?;
    let facts = blocking(|| RuntimeFacts::read(Path::new(RUNTIME))).await?;
    machine.runtime.get_or_init(|| facts);
    Ok(())
}

async fn open_runtime(machine: &Machine) -> anyhow::Result<()> {
    let (medium, seal) = (Machine::product(&machine.medium), Machine::product(&machine.seal));
    let root_hash = seal.root_hex();
    let device = blocking(move || open_sealed(&medium, &seal)).await??;
    let flags = MountFlags::RDONLY | MountFlags::NODEV | MountFlags::NOSUID;
    blocking(move || mount_device(&device, RUNTIME, "squashfs", flags)).await??;
    machine.node.status.update(|status| status.runtime_root_hash = root_hash);
    Ok(())
}

fn open_sealed(medium: &Medium, seal: &RuntimeSeal) -> anyhow::Result<PathBuf> {
    let image = match medium {
        Medium::Disk(disk) => disk.partition_path(disk.runtime),
        Medium::Ram(form) => form.attach_runtime()?,
    };
    Ok(verity::open(seal, &image)?)
}

async fn open_data(machine: &Machine) -> anyhow::Result<()> {
    let medium = Machine::product(&machine.medium);
    let max_bytes =
        machine.in_force().and_then(|config| config.machine.volumes.data.max_size_mib).map(|mib| mib.saturating_mul(1 << 20));
    let node = machine.node.clone();
    blocking(move || {
        match medium {
            Medium::Disk(disk) => make_data(&node, &disk, max_bytes)?,
            Medium::Ram(form) => {
                let held = form.index.mapped_bytes();
                mount_ram(DATA, data_in_ram(&fs::read_to_string("/proc/meminfo")?, held, max_bytes)?, DATA_FLAGS)?;
            }
        }
        make_folders()
    })
    .await?
}

/// DATA of a system in RAM: half of what the image leaves, or less when the configuration says so.
fn data_in_ram(meminfo: &str, image_bytes: u64, max_bytes: Option<u64>) -> anyhow::Result<u64> {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    let total = total.context("the kernel does not say how much RAM there is")?.saturating_mul(1024);
    let half = total.saturating_sub(image_bytes) / 2;
    Ok(max_bytes.map_or(half, |max| max.min(half)))
}

/// Everything that waits for the disk.
fn make_data(node: &Node, disk: &BootDisk, max_bytes: Option<u64>) -> anyhow::Result<()> {
    let epoch = i64::try_from(clock::now()).unwrap_or_default();
    let volume = disk::data_volume(disk, max_bytes, epoch)?;
    mount_device(&volume.path, DATA, "ext4", DATA_FLAGS)?;
    grow(node, &volume);
    Ok(())
}

fn make_folders() -> anyhow::Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_in_ram_leaves_half_of_what_the_image_leaves_to_programs() {
        let meminfo = "MemTotal:        2048 kB\nMemFree:          100 kB\n";
        assert_eq!(data_in_ram(meminfo, 0, None).expect("a size"), 1 << 20);
        assert_eq!(data_in_ram(meminfo, 0, Some(4096)).expect("a size"), 4096);
        assert_eq!(data_in_ram(meminfo, 0, Some(u64::MAX)).expect("a size"), 1 << 20);
        assert_eq!(data_in_ram(meminfo, 1 << 20, None).expect("a size"), 512 << 10, "the image lies in RAM as well");
        assert!(data_in_ram("", 0, None).is_err());
    }
}
