//! A database of yesterday in place of today's: what was taken away since then stays away.

use std::path::Path;

use hub::cli::serve::{Options, Running, start};
use hub::enrol::Attempt;
use hub::model::{Actor, By, DeviceState, Time};
use hub::store::{Claim, ClaimBy, NewToken, Store};
use machine_config::types::Secret;
use machine_config::{DeviceId, SigningKey};

async fn serve(folder: &Path) -> (Running, Store) {
    let hub = start(Options::new(folder, "127.0.0.1:0".parse().expect("an address"))).await.expect("a hub");
    let store = hub.services.store.clone();
    (hub, store)
}

async fn stop(hub: Running, store: Store) {
    hub.stop().await;
    store.close().await;
}

fn by() -> By {
    By::new(Actor::Host, "", Time::now())
}

/// Device `number` calls for the first time; what it is told.
async fn call(store: &Store, number: u8, token: Option<&Secret>) -> &'static str {
    let attempt = Attempt {
        key: SigningKey::from_bytes(&[number; 32]).verifying_key(),
        name: String::new(),
        fleet: String::new(),
        release: Default::default(),
        config_generation: 0,
        config_digest: String::new(),
        token: token.cloned(),
        inventory: Some((Default::default(), [number; 32])),
        address: "192.0.2.7".parse().expect("an address"),
    };
    store.enrol(&attempt, Time::now()).await.expect("enrols").verdict.word()
}

fn id(number: u8) -> DeviceId {
    DeviceId::of(&SigningKey::from_bytes(&[number; 32]).verifying_key())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_removed_or_used_up_stays_so_with_a_database_of_yesterday() {
    let folder = tempfile::tempdir().expect("a folder");
    let (database, copy) = (folder.path().join("hub.db"), folder.path().join("yesterday"));
    let (hub, store) = serve(folder.path()).await;
    let mut tokens = Vec::new();
    for uses in [1, 1, 3, 1] {
        tokens.push(store.create_token(NewToken { uses, ..NewToken::default() }, &by()).await.expect("a token"));
    }
    assert_eq!(call(&store, 1, Some(&tokens[0].1)).await, "pending");
    store.approve(&id(1), &by()).await.expect("approved");
    stop(hub, store).await;
    std::fs::copy(&database, &copy).expect("a copy");

    let (hub, store) = serve(folder.path()).await;
    store.remove(&id(1), "stolen", &by()).await.expect("removed");
    assert_eq!(call(&store, 2, Some(&tokens[1].1)).await, "pending");
    assert_eq!(call(&store, 3, Some(&tokens[2].1)).await, "pending");
    store.remove(&id(3), "broken", &by()).await.expect("removed");
    store.revoke_token(&tokens[3].0.id, &by()).await.expect("revoked");
    stop(hub, store).await;
    std::fs::copy(&copy, &database).expect("yesterday's is put in place");

    for again in ["the first start with it", "and the next one"] {
        let (hub, store) = serve(folder.path()).await;
        for number in [1, 3] {
            let device = store.device(&id(number)).await.expect("reads").expect("is known");
            assert_eq!(device.state, DeviceState::Removed, "device {number}, {again}");
            assert_eq!(call(&store, number, Some(&tokens[2].1)).await, "removed");
        }
        assert_eq!(call(&store, 9, Some(&tokens[1].1)).await, "token-used", "{again}");
        assert_eq!(call(&store, 9, Some(&tokens[3].1)).await, "token-revoked", "{again}");
        let several = store.token(&tokens[2].0.id).await.expect("reads").expect("is known");
        assert_eq!((several.uses, several.uses_left), (1, 2), "{again}");
        store.verify_audit(None).await.expect("whole");
        stop(hub, store).await;
    }
    // What joined since the copy was made comes back by the code on its box, though its token is used up.
    let (hub, store) = serve(folder.path()).await;
    assert_eq!(call(&store, 2, Some(&tokens[1].1)).await, "token-used");
    store.claim(Claim { by: ClaimBy::Id(id(2)), site: "harbour".into() }, &by()).await.expect("claimed");
    assert_eq!(call(&store, 2, Some(&tokens[1].1)).await, "admitted");
    stop(hub, store).await;
}
