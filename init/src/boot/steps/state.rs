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
use crate::clock::Proof;
use crate::devices::BootDisk;
use crate::early::write_machine_id;
use crate::node::{Clock, EventKind, Node};
use crate::state::{Identity, Store, StoreError};
use crate::{clock, disk};

/// Where STATE is mounted; only init looks into it.
const STATE: &str = "/run/skerry/state";

/// What lies on the disk.
struct Opened {
    store: Store,
    clock_floor: u64,
    identity: Identity,
    seed: FromSeed,
}

pub(in crate::boot) async fn state(machine: Rc<Machine>) -> anyhow::Result<()> {
    let (boot_disk, node) = (Machine::product(&machine.disk), machine.node.clone());
    let image_floor = machine.release().build_time_floor;
    let first = set_clock(image_floor, 0)?;
    let Opened { mut store, clock_floor, identity, seed } = blocking(move || open(&boot_disk, &node)).await??;
    let second = set_clock(image_floor, clock_floor)?;
    store.trust_clock_from(Proof::new(image_floor.max(clock_floor), clock::uptime()));
    machine.node.status.update(|status| status.clock = if first == Clock::Floor { first } else { second });
    tell_identity(&machine, &identity)?;
    if let Ok(trust) = &seed.trust {
        machine.node.status.update(|status| status.fleet = trust.fleet.to_string());
    }
    machine.seed.get_or_init(|| seed);
    machine.store.get_or_init(|| store);
    machine.identity.send_replace(Some(identity));
    Ok(())
}

/// Everything that waits for the disk.
fn open(boot_disk: &BootDisk, node: &Node) -> anyhow::Result<Opened> {
    let store = open_store(boot_disk)?;
    let clock_floor = store.clock_floor()?;
    let identity = store.identity()?;
    let seed = read_seed(node, boot_disk, &store);
    Ok(Opened { store, clock_floor, identity, seed })
}

fn open_store(boot_disk: &BootDisk) -> anyhow::Result<Store> {
    let epoch = i64::try_from(clock::now()).unwrap_or_default();
    let volume = disk::state_volume(boot_disk, epoch)?;
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

fn read_seed(node: &Node, boot_disk: &BootDisk, store: &Store) -> FromSeed {
    let seed = decode_seed(node, boot_disk);
    FromSeed { trust: trust(node, store, seed.as_ref()), config: seed.ok().and_then(|seed| seed.config) }
}

/// SEED, or why it cannot be read, for a person.
fn decode_seed(node: &Node, boot_disk: &BootDisk) -> Result<Seed, String> {
    let (number, _) = boot_disk.table.find(Partition::Seed).ok_or("there is no SEED partition; flash the image again")?;
    let path = boot_disk.partition_path(number);
    let mut bytes = vec![0; usize::try_from(SEED_BYTES).expect("1 MiB")];
    let read = File::open(&path).and_then(|device| device.read_exact_at(&mut bytes, 0));
    read.map_err(|error| format!("cannot read SEED from {}: {error}", path.display()))?;
    let decoded = seed::decode(&bytes).map_err(|error| error.to_string())?;
    if let Some((copy, damage)) = &decoded.damaged {
        node.events.record(EventKind::Device, "SEED", &format!("the {copy:?} copy is damaged ({damage}); the other serves"));
    }
    if decoded.differing {
        node.events.record(EventKind::Device, "SEED", "its two copies differ; the first serves");
    }
    Ok(decoded.seed)
}

/// The fleet pinned on first boot; else SEED's, which is pinned now. A SEED of another fleet does not move a device.
fn trust(node: &Node, store: &Store, seed: Result<&Seed, &String>) -> Result<machine_config::Trust, String> {
    let text = |error: StoreError| error.to_string();
    let pinned = store.trust().map_err(text)?;
    match (pinned, seed) {
        (Some(pinned), seed) => {
            if seed.is_ok_and(|seed| seed.fleet != pinned) {
                let message = format!(
                    "SEED names other fleet keys than those pinned on first boot ({}); the pinned ones hold",
                    pinned.name
                );
                node.events.record(EventKind::Config, "trust", &message);
            }
            Ok(pinned.trust())
        }
        // Whoever has accepted a configuration had a fleet: it was lost, and whose SEED this is nobody knows.
        (None, _) if store.has_accepted().map_err(text)? => {
            Err("STATE has a configuration but not the keys it was accepted for; restore STATE, or flash the image again"
                .to_owned())
        }
        (None, Ok(seed)) => {
            store.pin_trust(&seed.fleet).map_err(text)?;
            Ok(seed.fleet.trust())
        }
        (None, Err(why)) => Err(why.clone()),
    }
}

#[cfg(test)]
mod tests {
    use machine_config::{Accepted, Digest, FleetTrust, PublicKey, SigningKey};

    use super::*;

    fn seed(fleet: &str) -> Seed {
        let key = PublicKey::try_from(SigningKey::from_bytes(&[7; 32]).verifying_key()).expect("a strong key");
        let fleet = FleetTrust { name: fleet.parse().expect("a name"), keys: vec![key] };
        Seed { fleet, hub: None, join_token: None, device_name: None, config: None, identity: None }
    }

    fn fleet(store: &Store, seed: Result<&Seed, &String>) -> Result<String, String> {
        trust(&Node::default(), store, seed).map(|trust| trust.fleet.to_string())
    }

    #[test]
    fn a_seed_of_another_fleet_moves_no_device() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(folder.path()).expect("writable");
        assert_eq!(fleet(&store, Ok(&seed("acme"))).as_deref(), Ok("acme"));
        assert_eq!(fleet(&store, Ok(&seed("rival"))).as_deref(), Ok("acme"));
        assert_eq!(fleet(&store, Err(&"it is damaged".to_owned())).as_deref(), Ok("acme"));
    }

    #[test]
    fn keys_that_were_lost_are_not_replaced_by_whatever_seed_says() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(folder.path()).expect("writable");
        assert_eq!(fleet(&store, Err(&"it is damaged".to_owned())), Err("it is damaged".to_owned()));
        let record = Accepted { generation: 1.try_into().expect("not 0"), digest: Digest::of(b"x") };
        store.accept(b"x", &record).expect("writable");
        assert!(fleet(&store, Ok(&seed("rival"))).expect_err("refused").contains("restore STATE"));
        assert_eq!(store.trust().expect("readable"), None, "nothing was pinned");
    }
}
