//! Configurations: what is taken, what is offered, how far it came.

use std::time::Duration;

use machine_config::seed::FleetTrust;
use machine_config::types::Digest;
use machine_config::{PublicKey, SigningKey, sign};

use super::*;
use crate::model::{AssignTo, Config, DeliveryState, Rollout};

fn fleet_key() -> SigningKey {
    SigningKey::from_bytes(&[42; 32])
}

/// A signed configuration of the fleet `acme`.
pub(super) fn signed(generation: u64, target: &str) -> Vec<u8> {
    let ca = "api: {clientCa: \"-----BEGIN CERTIFICATE-----\\nMAA=\\n-----END CERTIFICATE-----\"}\n";
    let text = format!(
        "apiVersion: skerry.dev/v1alpha1\nkind: MachineConfig\nmetadata: {{name: a, fleet: acme, generation: {generation}}}\ntarget: {{{target}}}\n{ca}"
    );
    sign(text.as_bytes(), &fleet_key()).unwrap()
}

/// Registers the fleet and uploads a configuration.
pub(super) async fn upload(store: &Store, generation: u64, target: &str) -> Result<Config, StoreError> {
    let keys = vec![PublicKey::try_from(fleet_key().verifying_key()).unwrap()];
    store.put_fleet(FleetTrust { name: "acme".parse().unwrap(), keys }, &kim()).await?;
    store.put_config(&signed(generation, target), &kim()).await
}

/// Device `number` says that it runs this.
async fn reports(store: &Store, number: u32, generation: u64, digest: &Digest) {
    let mut attempt = attempt(number, None);
    (attempt.config_generation, attempt.config_digest) = (generation, digest.to_string());
    assert_eq!(store.enrol(&attempt, NOW).await.unwrap().verdict.word(), "admitted");
}

on_both! {
    async fn what_every_device_would_refuse_is_refused(db: Db) {
        let store = db.store().await;
        let code = async |file: &[u8]| store.put_config(file, &kim()).await.map_or_else(|error| error.code(), |_| "taken");
        assert_eq!(code(&signed(1, "any: true")).await, "no-fleet");
        assert_eq!(upload(&store, 1, "serial: S1").await.unwrap_err().code(), "target-unknown");
        let device = admitted(&store, 1).await;
        assert_eq!(code(b"nonsense").await, "envelope");
        assert_eq!(code(&vec![b'x'; 300 << 10]).await, "size");
        let foreign = sign(b"a: 1\n", &SigningKey::from_bytes(&[43; 32])).unwrap();
        assert_eq!(code(&foreign).await, "key-unknown");
        let mut changed = signed(2, "serial: S1");
        let at = changed.windows(3).position(|three| three == b"S1}").unwrap();
        changed[at + 1] = b'2';
        assert_eq!(code(&changed).await, "signature");
        let other = String::from_utf8(signed(2, "serial: S1")).unwrap();
        let other = other.split("\n---\n").next().unwrap().replace("fleet: acme", "fleet: evil") + "\n";
        assert_eq!(code(&sign(other.as_bytes(), &fleet_key()).unwrap()).await, "fleet");
        assert_eq!(code(&signed(5, "serial: S1")).await, "taken");
        assert_eq!(code(&signed(5, "serial: S1")).await, "taken", "the same bytes again");
        assert_eq!(store.configs().await.unwrap().len(), 1);
        reports(&store, 1, 5, &Digest::of(b"another")).await;
        assert_eq!(code(&signed(4, "serial: S1")).await, "generation-older");
        let id = format!("deviceId: {}", device.id);
        assert_eq!(code(&signed(5, &id)).await, "generation-conflict");
        assert_eq!(code(&signed(6, &id)).await, "taken");
        assert_eq!(code(&signed(6, &format!("mac: \"{}\"", crate::enrol::testing::mac(1)))).await, "taken");
        assert_eq!(code(&signed(6, "serial: S9")).await, "target-unknown");
    }
}

on_both! {
    async fn a_configuration_goes_to_whom_it_is_assigned_and_signed_for(db: Db) {
        let store = db.store().await;
        let (one, two) = (admitted(&store, 1).await, admitted(&store, 2).await);
        for device in [&one, &two] {
            store.edit_device(&device.id, Edit { groups: Some(vec!["north".into()]), ..Edit::default() }, &kim()).await.unwrap();
        }
        let config = upload(&store, 1, "serial: S1").await.unwrap();
        assert_eq!(store.to_deliver(&one.id, NOW).await.unwrap(), None, "nothing is assigned");
        store.assign(&config.digest, AssignTo::Group("north".into()), &kim()).await.unwrap();
        let offer = store.to_deliver(&one.id, NOW).await.unwrap().expect("assigned by group");
        assert_eq!((offer.config.digest, offer.bytes), (config.digest.clone(), signed(1, "serial: S1")));
        assert_eq!(store.to_deliver(&two.id, NOW).await.unwrap(), None, "signed for the other one");
        store.quarantine(&one.id, "", &kim()).await.unwrap();
        assert_eq!(store.to_deliver(&one.id, NOW).await.unwrap(), None, "not admitted");
        store.approve(&one.id, &kim()).await.unwrap();
        assert_eq!(store.delete_config(&config.digest, &kim()).await.unwrap_err().code(), "in-use");
        store.unassign(&config.digest, AssignTo::Group("north".into()), &kim()).await.unwrap();
        assert_eq!(store.to_deliver(&one.id, NOW).await.unwrap(), None);
        store.delete_config(&config.digest, &kim()).await.unwrap();
        let missing = store.assign(&config.digest, AssignTo::Group("north".into()), &kim()).await;
        assert_eq!(missing.unwrap_err().code(), "not-found");
    }
}

on_both! {
    /// Each box of a group has its own file; the newest of them is for somebody else, or was signed with a key that counts no more.
    async fn each_device_of_a_group_is_offered_its_own(db: Db) {
        let store = db.store().await;
        let group = || AssignTo::Group("shops".into());
        let mut devices = vec![];
        for number in 1..=2 {
            let id = admitted(&store, number).await.id;
            store.edit_device(&id, Edit { groups: Some(vec!["shops".into()]), ..Edit::default() }, &kim()).await.unwrap();
            devices.push(id);
        }
        let mut digests = vec![];
        for (generation, target) in [(3, "serial: S1"), (5, "serial: S2"), (2, "any: true")] {
            let config = upload(&store, generation, target).await.unwrap();
            store.assign(&config.digest, group(), &kim()).await.unwrap();
            digests.push(config.digest);
        }
        let offered = async |device: usize| store.to_deliver(&devices[device], NOW).await.unwrap().map(|offer| offer.config.digest);
        assert_eq!([offered(0).await.as_ref(), offered(1).await.as_ref()], [Some(&digests[0]), Some(&digests[1])]);
        let refused = DeliveryState::Refused { code: "semantics".into(), message: String::new() };
        store.record_delivery(&devices[0], &digests[0], refused, &kim()).await.unwrap();
        assert_eq!(offered(0).await.as_ref(), Some(&digests[2]), "the next best, while the best is refused");
    }
}

on_both! {
    async fn a_delivery_is_offered_then_taken_then_running(db: Db) {
        let store = db.store().await;
        let device = admitted(&store, 1).await;
        let config = upload(&store, 3, "any: true").await.unwrap();
        store.assign(&config.digest, AssignTo::Device(device.id.clone()), &kim()).await.unwrap();
        let rollout = async || store.rollout(&config.digest).await.unwrap();
        let record = async |state| store.record_delivery(&device.id, &config.digest, state, &kim()).await.unwrap();
        record(DeliveryState::Offered).await;
        assert_eq!(rollout().await, Rollout { offered: 1, ..Rollout::default() });
        let refused = DeliveryState::Refused { code: "semantics".into(), message: "m".repeat(9000) };
        record(refused).await;
        assert_eq!(rollout().await, Rollout { refused: 1, ..Rollout::default() });
        assert_eq!(store.to_deliver(&device.id, NOW).await.unwrap(), None, "refused a moment ago");
        assert!(store.to_deliver(&device.id, NOW.after(Duration::from_secs(3601))).await.unwrap().is_some());
        store.assign(&config.digest, AssignTo::Device(device.id.clone()), &kim()).await.unwrap();
        assert!(store.to_deliver(&device.id, NOW).await.unwrap().is_some(), "assigned anew");
        record(DeliveryState::Taken).await;
        assert_eq!(rollout().await, Rollout { taken: 1, ..Rollout::default() });
        reports(&store, 1, 3, &config.digest).await;
        assert_eq!(rollout().await, Rollout { running: 1, ..Rollout::default() });
        assert_eq!(store.deliveries_of(&device.id).await.unwrap()[0].state, DeliveryState::Running);
        assert_eq!(store.to_deliver(&device.id, NOW).await.unwrap(), None);
    }
}

on_both! {
    /// The hub knows generation 3, the device runs 5: yesterday's database offers it nothing.
    async fn a_database_of_yesterday_takes_no_device_back(db: Db) {
        let store = db.store().await;
        let device = admitted(&store, 1).await;
        let config = upload(&store, 3, "any: true").await.unwrap();
        store.assign(&config.digest, AssignTo::Device(device.id.clone()), &kim()).await.unwrap();
        assert!(store.to_deliver(&device.id, NOW).await.unwrap().is_some());
        reports(&store, 1, 5, &Digest::of(b"newer")).await;
        assert_eq!(store.to_deliver(&device.id, NOW).await.unwrap(), None);
    }
}
