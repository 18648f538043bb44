//! SEED of what this system runs from, and which fleet it therefore obeys. Nothing here is believed beyond what SEED may say: a pinned
//! fleet stays.

use std::fs::File;
use std::os::unix::fs::FileExt;

use machine_config::disk::{Partition, SEED_BYTES};
use machine_config::seed::{self, Seed};

use super::super::machine::{FromSeed, Medium};
use crate::node::{EventKind, Node};
use crate::state::{Store, StoreError};

/// Reads SEED of what this system runs from, and decides on the fleet.
pub(super) fn read(node: &Node, medium: &Medium, store: &Store) -> FromSeed {
    let seed = bytes(medium).and_then(|bytes| decode(node, &bytes));
    FromSeed { trust: trust(node, store, seed.as_ref()), seed: seed.ok() }
}

/// Its bytes, or why they cannot be read, for a person.
fn bytes(medium: &Medium) -> Result<Vec<u8>, String> {
    let path = match medium {
        Medium::Disk(disk) => {
            let (number, _) = disk.table.find(Partition::Seed).ok_or("there is no SEED partition; flash the image again")?;
            disk.partition_path(number)
        }
        Medium::Ram(form) => form.seed_path(),
    };
    let mut bytes = vec![0; usize::try_from(SEED_BYTES).expect("1 MiB")];
    let read = File::open(&path).and_then(|device| device.read_exact_at(&mut bytes, 0));
    read.map_err(|error| format!("cannot read SEED from {}: {error}", path.display()))?;
    Ok(bytes)
}

/// SEED, or why it is none, for a person.
fn decode(node: &Node, bytes: &[u8]) -> Result<Seed, String> {
    let decoded = seed::decode(bytes).map_err(|error| error.to_string())?;
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
