//! Phase `state`: the partition table in place, STATE mounted, the clock not before its floor, SEED and trust, identity. A system in RAM has no
//! partition table, and a STATE that goes with the power.

use std::path::Path;
use std::rc::Rc;
use std::time::SystemTime;

use anyhow::Context;
use rustix::mount::MountFlags;

use super::super::machine::{FromSeed, Machine, Medium};
use super::{blocking, mount_device, mount_ram, seed};
use crate::clock::Proof;
use crate::early::write_machine_id;
use crate::hub::HomeOfSeed;
use crate::node::{Clock, Node};
use crate::state::{Identity, Store};
use crate::{clock, disk};

/// Where STATE is mounted; only init looks into it.
const STATE: &str = "/run/skerry/state";

/// What STATE may take of RAM: a configuration and a few small files.
const STATE_IN_RAM: u64 = 16 << 20;

/// What lies on the disk.
struct Opened {
    store: Store,
    clock_floor: u64,
    identity: Identity,
    seed: FromSeed,
}

pub(in crate::boot) async fn state(machine: Rc<Machine>) -> anyhow::Result<()> {
    let (medium, node) = (Machine::product(&machine.medium), machine.node.clone());
    let image_floor = machine.release().build_time_floor;
    let first = set_clock(image_floor, 0)?;
    let Opened { mut store, clock_floor, identity, seed } = blocking(move || open(&medium, &node)).await??;
    let second = set_clock(image_floor, clock_floor)?;
    store.trust_clock_from(Proof::new(image_floor.max(clock_floor), clock::uptime()));
    machine.node.status.update(|status| status.clock = if first == Clock::Floor { first } else { second });
    tell_identity(&machine, &identity)?;
    if let Ok(trust) = &seed.trust {
        machine.node.status.update(|status| status.fleet = trust.fleet.to_string());
    }
    let (home, problem) = seed.seed.as_ref().map(HomeOfSeed::of).unwrap_or_default();
    machine.node.status.update(|status| status.set_error("hub", problem));
    machine.home.send_replace(home);
    machine.seed.get_or_init(|| seed);
    machine.store.get_or_init(|| store);
    machine.identity.send_replace(Some(identity));
    Ok(())
}

/// Everything that waits for the disk.
fn open(medium: &Medium, node: &Node) -> anyhow::Result<Opened> {
    let store = open_store(medium)?;
    let clock_floor = store.clock_floor()?;
    let seed = seed::read(node, medium, &store);
    let identity = store.identity(seed.seed.as_ref().and_then(|seed| seed.identity.as_ref()))?;
    Ok(Opened { store, clock_floor, identity, seed })
}

fn open_store(medium: &Medium) -> anyhow::Result<Store> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::NOATIME;
    match medium {
        Medium::Disk(boot_disk) => {
            let epoch = i64::try_from(clock::now()).unwrap_or_default();
            let volume = disk::state_volume(boot_disk, epoch)?;
            mount_device(&volume.path, STATE, "ext4", flags)?;
        }
        Medium::Ram(_) => mount_ram(STATE, STATE_IN_RAM, flags)?,
    }
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
