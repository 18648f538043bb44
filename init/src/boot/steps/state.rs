//! Phase `state`: the partition table in place, STATE mounted, the clock not before its floor, identity, SEED and trust.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::rc::Rc;
use std::time::SystemTime;

use anyhow::Context;
use machine_config::disk::{Partition, SEED_BYTES};
use machine_config::seed::{self, Seed};
use rustix::mount::MountFlags;

use super::super::machine::{FromSeed, Machine};
use super::{blocking, mount_device};
use crate::devices::BootDisk;
use crate::early::write_machine_id;
use crate::node::{Clock, EventKind};
use crate::state::{Identity, Store};
use crate::{clock, disk};

/// Where STATE is mounted; only init looks into it.
const STATE: &str = "/run/skerry/state";

pub(in crate::boot) async fn state(machine: Rc<Machine>) -> anyhow::Result<()> {
    let boot_disk = Machine::product(&machine.disk);
    let image_floor = machine.release().build_time_floor;
    let first = set_clock(image_floor, 0)?;
    let store = open_store(&boot_disk).await?;
    let second = set_clock(image_floor, store.clock_floor()?)?;
    machine.node.status.update(|status| status.clock = if first == Clock::Floor { first } else { second });
    let identity = store.identity()?;
    tell_identity(&machine, &identity)?;
    machine.seed.get_or_init(|| read_seed(&machine, &boot_disk, &store));
    machine.store.get_or_init(|| store);
    machine.identity.send_replace(Some(identity));
    Ok(())
}

async fn open_store(boot_disk: &BootDisk) -> anyhow::Result<Store> {
    let disk = boot_disk.clone();
    let epoch = i64::try_from(clock::now()).unwrap_or_default();
    let volume = blocking(move || disk::state_volume(&disk, epoch)).await??;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::NOATIME;
    mount_device(&volume.path, STATE, "ext4", flags)?;
    std::fs::set_permissions(STATE, std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .context("cannot close STATE to others")?;
    Ok(Store::open(Path::new(STATE))?)
}

fn set_clock(image_floor: u64, stored_floor: u64) -> anyhow::Result<Clock> {
    clock::act(clock::plan(SystemTime::now(), [image_floor, stored_floor])).context("cannot set the clock to its floor")
}

fn tell_identity(machine: &Machine, identity: &Identity) -> anyhow::Result<()> {
    let id = identity.device_id();
    write_machine_id(Path::new("/"), id.as_str())?;
    tracing::info!(device_id = id.as_str(), "identity");
    machine.node.status.update(|status| status.device_id = Some(id));
    Ok(())
}

fn read_seed(machine: &Machine, boot_disk: &BootDisk, store: &Store) -> FromSeed {
    let seed = decode_seed(machine, boot_disk);
    let trust = trust(machine, store, seed.as_ref());
    if let Ok(trust) = &trust {
        machine.node.status.update(|status| status.fleet = trust.fleet.to_string());
    }
    FromSeed { trust, config: seed.ok().and_then(|seed| seed.config) }
}

/// SEED, or why it cannot be read, for a person.
fn decode_seed(machine: &Machine, boot_disk: &BootDisk) -> Result<Seed, String> {
    let (number, _) = boot_disk.table.find(Partition::Seed).ok_or("there is no SEED partition; flash the image again")?;
    let path = boot_disk.partition_path(number);
    let mut bytes = vec![0; usize::try_from(SEED_BYTES).expect("1 MiB")];
    let read = File::open(&path).and_then(|device| device.read_exact_at(&mut bytes, 0));
    read.map_err(|error| format!("cannot read SEED from {}: {error}", path.display()))?;
    let decoded = seed::decode(&bytes).map_err(|error| error.to_string())?;
    if let Some((copy, damage)) = &decoded.damaged {
        machine.node.events.record(
            EventKind::Device,
            "SEED",
            &format!("the {copy:?} copy is damaged ({damage}); the other serves"),
        );
    }
    if decoded.differing {
        machine.node.events.record(EventKind::Device, "SEED", "its two copies differ; the first serves");
    }
    Ok(decoded.seed)
}

/// The fleet pinned on first boot; else SEED's, which is pinned now. A SEED of another fleet does not move a device.
fn trust(machine: &Machine, store: &Store, seed: Result<&Seed, &String>) -> Result<machine_config::Trust, String> {
    let pinned = store.trust().map_err(|error| error.to_string())?;
    match (pinned, seed) {
        (Some(pinned), seed) => {
            if seed.is_ok_and(|seed| seed.fleet != pinned) {
                let message = format!(
                    "SEED names other fleet keys than those pinned on first boot ({}); the pinned ones hold",
                    pinned.name
                );
                machine.node.events.record(EventKind::Config, "trust", &message);
            }
            Ok(pinned.trust())
        }
        (None, Ok(seed)) => {
            store.pin_trust(&seed.fleet).map_err(|error| error.to_string())?;
            Ok(seed.fleet.trust())
        }
        (None, Err(why)) => Err(why.clone()),
    }
}
