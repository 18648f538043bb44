//! What an installation of Skerry says of itself, in SEED and in STATE: whose it is, and which configurations it has.
//!
//! It is another system's disk: what is read is bounded, STATE is mounted for reading without even its journal, and what cannot be read is said,
//! never taken for nothing.

use std::fmt::Display;
use std::fs;
use std::io;
use std::path::Path;

use machine_config::disk::{Partition, SEED_BYTES};
use machine_config::schema::MachineConfig;
use machine_config::seed::{self, Seed};
use machine_config::types::Generation;
use machine_config::{DeviceId, Digest, FleetTrust, MAX_CONFIG_BYTES, Unverified};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::devices::partition_path;
use crate::disk::ext4::formatted;
use crate::disk::gpt::{Entry, ReadAt, Table};
use crate::state::{Foreign, look_into};

/// Where an installed STATE is looked at.
const LOOKED_AT: &str = "/run/skerry/looked-at";

/// An installation of Skerry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Installed {
    /// Partitions of another system lie beside it.
    pub shared: bool,
    /// Whom it obeys; none: its SEED says nothing.
    pub fleet: Option<FleetTrust>,
    /// The configurations it has: that of its SEED and the one it last accepted.
    pub digests: Vec<Digest>,
    /// The highest generation among those.
    pub generation: Option<Generation>,
    /// What is known of its STATE.
    pub state: StateSeen,
    /// The device it would be, when it never started: nothing of worth is on it then for that device.
    pub unstarted: Option<DeviceId>,
}

/// How much of an installation's STATE was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum StateSeen {
    /// There is none: it never started.
    #[default]
    None,
    /// There is one, and nobody looked into it.
    Unopened {
        /// The partition's number.
        number: u32,
        /// It was put down in order; else its journal holds what its files do not say yet.
        clean: bool,
    },
    /// It was read.
    Read,
    /// It is there and cannot be read, or not be relied on; in words.
    Unreadable(String),
}

impl Installed {
    /// Whether it is known to obey others: another name, or no key in common.
    pub fn is_of_another_fleet(&self, fleet: &FleetTrust) -> bool {
        let same = |theirs: &FleetTrust| theirs.name == fleet.name && theirs.keys.iter().any(|key| fleet.keys.contains(key));
        self.fleet.as_ref().is_some_and(|theirs| !same(theirs))
    }

    /// What STATE pins counts more than SEED, as it does for the device.
    fn learn(&mut self, state: Foreign) {
        self.fleet = state.fleet.or(self.fleet.take());
        if let Some(accepted) = state.accepted {
            self.generation = self.generation.max(Some(accepted.generation));
            self.digests.push(accepted.digest);
        }
    }

    /// Adds what was found in STATE.
    fn opened(&mut self, clean: bool, found: Result<Foreign, impl Display>) {
        self.state = match found {
            Ok(_) if !clean => StateSeen::Unreadable("its power failed, and its journal is to be replayed".to_owned()),
            Ok(_) => StateSeen::Read,
            Err(ref error) => StateSeen::Unreadable(error.to_string()),
        };
        if let Ok(state) = found {
            self.learn(state);
        }
    }
}

/// What an installation says of itself without being mounted.
pub(super) fn told_by(device: &impl ReadAt, table: &Table, shared: bool) -> Installed {
    let seed = table.find(Partition::Seed).and_then(|(_, entry)| read_seed(device, entry));
    let state = table.find(Partition::State);
    let config = seed.as_ref().and_then(|seed| seed.config.as_deref());
    let generation = seed.as_ref().zip(config).and_then(|(seed, config)| generation_of(config, &seed.fleet));
    // STATE is made by the first start.
    let identity = if state.is_none() { seed.as_ref().and_then(|seed| seed.identity.as_ref()) } else { None };
    Installed {
        shared,
        digests: config.map(Digest::of).into_iter().collect(),
        generation,
        state: state.map_or(StateSeen::None, |(number, entry)| superblock(device, number, entry)),
        unstarted: identity.map(machine_config::IdentitySeed::device_id),
        fleet: seed.map(|seed| seed.fleet),
    }
}

fn read_seed(device: &impl ReadAt, entry: &Entry) -> Option<Seed> {
    let mut bytes = vec![0; usize::try_from(SEED_BYTES).expect("1 MiB")];
    device.read_at(&mut bytes, entry.offset()).ok()?;
    Some(seed::decode(&bytes).ok()?.seed)
}

/// Of a configuration that this fleet signed; another one no device of it would take.
fn generation_of(config: &[u8], fleet: &FleetTrust) -> Option<Generation> {
    let text = std::str::from_utf8(config).ok().filter(|text| text.len() <= MAX_CONFIG_BYTES)?;
    let document = Unverified::split(text).ok()?.verify(&fleet.trust().keyring).ok()?;
    let config: MachineConfig = machine_config::parse(document.content().as_str().as_bytes()).ok()?;
    Some(config.metadata.generation)
}

/// A part of a disk.
struct Part<'a, D> {
    device: &'a D,
    offset: u64,
}

impl<D: ReadAt> ReadAt for Part<'_, D> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.device.read_at(buffer, self.offset + offset)
    }
}

fn superblock(device: &impl ReadAt, number: u32, entry: &Entry) -> StateSeen {
    match formatted(&Part { device, offset: entry.offset() }, entry.guid) {
        // The first start was cut off before it was made.
        Ok(None) => StateSeen::None,
        Ok(Some(found)) => StateSeen::Unopened { number, clean: found.clean },
        Err(error) => StateSeen::Unreadable(error.to_string()),
    }
}

/// Looks into the STATE of the installation on the disk of this name, when there is one.
pub(super) fn look_into_state(installed: &mut Installed, name: &str) {
    if let StateSeen::Unopened { number, clean } = installed.state {
        installed.opened(clean, mounted(&partition_path(name, number)));
    }
}

/// Mounted for reading, without touching even its journal; no link on it leads anywhere.
fn mounted(partition: &Path) -> anyhow::Result<Foreign> {
    const FLAGS: MountFlags = MountFlags::RDONLY
        .union(MountFlags::NOSUID)
        .union(MountFlags::NODEV)
        .union(MountFlags::NOEXEC)
        .union(MountFlags::NOSYMFOLLOW);
    fs::create_dir_all(LOOKED_AT)?;
    mount(partition, LOOKED_AT, "ext4", FLAGS, Some(c"noload"))?;
    let found = look_into(Path::new(LOOKED_AT));
    // It stays mounted when that fails, and then the disk counts as used.
    let _ = unmount(LOOKED_AT, UnmountFlags::empty());
    Ok(found?)
}

#[cfg(test)]
pub(super) mod tests {
    use machine_config::{Accepted, IdentitySeed, SigningKey};
    use uuid::Uuid;

    use super::*;
    use crate::disk::gpt::tests::{MemoryDisk, flashed_disk, image_table};

    pub(in crate::install) fn fleet(name: &str, key: u8) -> FleetTrust {
        let key = SigningKey::from_bytes(&[key; 32]).verifying_key();
        FleetTrust { name: name.parse().expect("a name"), keys: vec![key.try_into().expect("strong")] }
    }

    pub(in crate::install) fn generation(number: u64) -> Generation {
        number.try_into().expect("not 0")
    }

    fn seed(config: &[u8]) -> Seed {
        let (config, identity) = (Some(config.to_vec()), Some(IdentitySeed::new([7; 32])));
        Seed { fleet: fleet("acme", 1), hub: None, join_token: None, device_name: None, config, identity }
    }

    /// An installation whose superblock of STATE is this.
    fn look(config: &[u8], superblock: Option<&[u8]>) -> Installed {
        let mut disk: MemoryDisk = flashed_disk(20_000, 20_000);
        disk.put(6144, &seed::encode(&seed(config)).expect("fits"));
        let mut table = image_table();
        if let Some(superblock) = superblock {
            let mut state = table.entries[2].clone().expect("RUNTIME-A");
            (state.type_guid, state.guid) = (Partition::State.type_guid(), GUID);
            disk.put(state.first, superblock);
            table.entries[3] = Some(state);
        }
        told_by(&disk, &table, false)
    }

    const GUID: Uuid = Uuid::from_u128(0x1234_5678_9abc_def0_1234_5678_9abc_def0);

    fn ext4(incompatible: u8) -> Vec<u8> {
        let mut bytes = vec![0; 2048];
        bytes[1024 + 0x38..][..2].copy_from_slice(&[0x53, 0xef]);
        bytes[1024 + 0x60] = incompatible;
        bytes[1024 + 0x68..][..16].copy_from_slice(GUID.as_bytes());
        bytes
    }

    #[test]
    fn an_installation_that_never_started_says_which_device_it_would_be() {
        let expected = Installed {
            fleet: Some(fleet("acme", 1)),
            digests: vec![Digest::of(b"x")],
            unstarted: Some(IdentitySeed::new([7; 32]).device_id()),
            ..Installed::default()
        };
        assert_eq!(look(b"x", None), expected);
        assert_eq!(look(b"x", Some(&[0; 2048])), Installed { unstarted: None, ..expected }, "its first start was cut off");
    }

    #[test]
    fn a_state_that_is_there_is_never_taken_for_none() {
        let mut lost = vec![0; 2048];
        lost[..8].copy_from_slice(b"SKRYEXT4");
        lost[8..24].copy_from_slice(GUID.as_bytes());
        assert!(matches!(look(b"x", Some(&lost)).state, StateSeen::Unreadable(_)));
        assert_eq!(look(b"x", Some(&ext4(0x42))).state, StateSeen::Unopened { number: 4, clean: true });
        assert_eq!(look(b"x", Some(&ext4(0x46))).state, StateSeen::Unopened { number: 4, clean: false });
    }

    #[test]
    fn the_generation_of_seed_counts_when_its_fleet_signed_it() {
        let document = "apiVersion: skerry.dev/v1alpha1\nkind: MachineConfig\nmetadata: {name: a, fleet: acme, generation: 3}\ntarget: {any: true}\n";
        for (key, expected) in [(1, Some(generation(3))), (2, None)] {
            let signed = machine_config::sign(document.as_bytes(), &SigningKey::from_bytes(&[key; 32])).expect("signs");
            assert_eq!(look(&signed, None).generation, expected, "key {key}");
        }
    }

    #[test]
    fn state_counts_more_than_seed_and_a_dirty_one_is_not_relied_on() {
        let accepted = |number| Some(Accepted { generation: generation(number), digest: Digest::of(b"later") });
        let before = Installed { generation: Some(generation(2)), fleet: Some(fleet("acme", 1)), ..Installed::default() };
        for (clean, number, highest) in [(true, 3, 3), (true, 1, 2), (false, 3, 3)] {
            let mut installed = before.clone();
            installed.opened(clean, Ok::<_, String>(Foreign { fleet: Some(fleet("other", 2)), accepted: accepted(number) }));
            assert_eq!(installed.generation, Some(generation(highest)));
            assert_eq!((installed.fleet.as_ref(), installed.digests.len()), (Some(&fleet("other", 2)), 1));
            assert_eq!(installed.state == StateSeen::Read, clean, "{:?}", installed.state);
        }
        let mut installed = before.clone();
        installed.opened(true, Err("bad magic"));
        assert_eq!(installed, Installed { state: StateSeen::Unreadable("bad magic".into()), ..before });
    }

    #[test]
    fn a_fleet_is_its_name_and_a_key() {
        let of = |fleet| Installed { fleet, ..Installed::default() };
        assert!(!of(Some(fleet("acme", 1))).is_of_another_fleet(&fleet("acme", 1)));
        assert!(of(Some(fleet("acme", 1))).is_of_another_fleet(&fleet("acme", 2)));
        assert!(of(Some(fleet("acme", 1))).is_of_another_fleet(&fleet("other", 1)));
        assert!(!of(None).is_of_another_fleet(&fleet("acme", 1)));
    }

    #[test]
    fn what_is_no_file_system_is_said_and_not_taken_for_an_empty_one() {
        let partition = tempfile::NamedTempFile::new().expect("a temporary file");
        let mut installed = Installed { state: StateSeen::Unopened { number: 4, clean: true }, ..Installed::default() };
        installed.opened(true, mounted(partition.path()));
        assert!(matches!(installed.state, StateSeen::Unreadable(_)), "{:?}", installed.state);
    }
}
