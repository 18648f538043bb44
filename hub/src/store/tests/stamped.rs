//! Join tokens that `imager stamp` made count once the manifest is imported, and no longer than that allows.

use std::collections::BTreeMap;

use imager::image::digest::Digest;
use imager::stamp::inventory;
use imager::stamp::manifest::{BaseEntry, ImageEntry, Manifest};
use imager::stamp::plan::{Facts, Purpose, plan};
use machine_config::seed::FleetTrust;
use machine_config::{PublicKey, SigningKey};

use super::*;
use crate::model::{Label, RuleKind};

/// What a bench made for one device.
struct Stamped {
    manifest: String,
    token: String,
}

fn station() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

fn public() -> PublicKey {
    PublicKey::try_from(station().verifying_key()).unwrap()
}

/// A row of an inventory as `imager stamp` stamps it; the random bytes are all this one.
fn stamp(known: &str, byte: u8) -> Stamped {
    let hub = format!("https://hub.example,{}", "ab".repeat(32));
    let text = format!("name,serial,mac,labels,board,hub,hub_pin,join_token\n{known},nuc,{hub},auto\n");
    let rows = inventory::parse(text.as_bytes()).unwrap();
    let facts = Facts {
        board: "nuc",
        k3s_roles: &[],
        fleet: &FleetTrust { name: "acme".parse().unwrap(), keys: vec![public()] },
        configs: &BTreeMap::new(),
        common_config: None,
        identities: &BTreeMap::new(),
    };
    let random = |_: Purpose, bytes: &mut [u8]| {
        bytes.fill(byte);
        Ok(())
    };
    let stamp = plan(&rows, &facts, random).unwrap().remove(0);
    let digest = Digest::of(b"x");
    let base = BaseEntry { version: "0.1.0".into(), board: "nuc".into(), sha256: digest, blank_sha256: digest };
    let manifest = Manifest::new(base, stamp.facts.clone(), ImageEntry { bytes: 1, sha256: digest }, &station());
    let token = stamp.made_token().unwrap().expose().to_owned();
    Stamped { manifest: manifest.sign(&station()), token }
}

/// The row of device `number`.
fn row(number: u32) -> String {
    format!("store-{number},S{number},{},shop={number}", crate::enrol::testing::mac(number))
}

/// A store that believes the bench and has this rule.
async fn believing(db: &Db, kind: RuleKind) -> Store {
    let store = db.store().await;
    store.register_station("bench", public(), &kim()).await.unwrap();
    let new = NewRule {
        name: "stamped".into(),
        kind,
        outcome: Default::default(),
        without_token: false,
        labels: Default::default(),
        groups: vec![],
    };
    store.put_rule(new, &kim()).await.unwrap();
    store
}

async fn import(store: &Store, stamped: &Stamped) -> Imported {
    store.import_manifest(stamped.manifest.as_bytes(), &kim()).await.unwrap()
}

const FIRST: Imported = Imported { added: 1, updated: 0, tokens: 1, unrecognisable: vec![] };
const AGAIN: Imported = Imported { added: 0, updated: 1, tokens: 0, unrecognisable: vec![] };

on_both! {
    async fn a_stamped_device_joins_once_its_manifest_is_imported_and_nobody_after_it(db: Db) {
        let store = believing(db, RuleKind::Manifest).await;
        let one = stamp(&row(1), 7);
        let token = Some(one.token.as_str());
        assert_eq!(call(&store, 1, token).await, "token-unknown");
        assert_eq!(import(&store, &one).await, FIRST);
        assert_eq!(call(&store, 9, token).await, "token-bound");
        let device = store.enrol(&attempt(1, token), NOW).await.unwrap().device.unwrap();
        assert_eq!((device.admitted_by.as_deref(), device.name.as_deref()), (Some("rule:stamped"), Some("store-1")));
        assert_eq!(device.labels.get("shop").map(String::as_str), Some("1"));
        for _ in 0..2 {
            let mut twin = attempt(9, token);
            twin.inventory = attempt(1, None).inventory;
            assert_eq!(store.enrol(&twin, NOW).await.unwrap().verdict.word(), "token-used");
            assert_eq!(import(&store, &one).await, AGAIN);
        }
        let tokens = store.tokens().await.unwrap();
        assert_eq!((tokens.len(), tokens[0].name.as_str(), tokens[0].uses_left, tokens[0].uses), (1, "store-1", 0, 1));
        let lines = store.changes_after(0).await.unwrap();
        let made: Vec<_> = lines.iter().filter(|line| line.action == "token.create").collect();
        assert_eq!((made.len(), made[0].actor.as_str()), (1, "user:kim"));
        assert!(!lines.iter().any(|line| line.details.to_string().contains(&one.token)));
        store.verify_audit(None).await.unwrap();
    }
}

on_both! {
    /// Also when the place was forgotten meanwhile; forgetting by itself leaves the token as it is.
    async fn importing_again_makes_no_revoked_token_good(db: Db) {
        let store = believing(db, RuleKind::Manifest).await;
        let one = stamp(&row(1), 7);
        import(&store, &one).await;
        store.forget_expected("serial:S1", &kim()).await.unwrap();
        let id = store.tokens().await.unwrap().remove(0).id;
        assert_eq!(store.token(&id).await.unwrap().unwrap().revoked_at, None);
        store.revoke_token(&id, &kim()).await.unwrap();
        assert_eq!(import(&store, &one).await, Imported { tokens: 0, ..FIRST });
        assert_eq!(import(&store, &one).await, AGAIN);
        let enrolled = store.enrol(&attempt(1, Some(&one.token)), NOW).await.unwrap();
        assert_eq!(enrolled.verdict.word(), "pending");
        assert!(enrolled.device.unwrap().reason.contains("token-revoked"));
    }
}

on_both! {
    /// Somebody registered NAME.token by hand: his terms stay.
    async fn a_token_that_was_registered_by_its_text_stays_as_it_was(db: Db) {
        let store = believing(db, RuleKind::Manifest).await;
        let one = stamp(&row(1), 7);
        let new = NewToken { text: Some(one.token.clone().into()), uses: 3, name: "by hand".into(), ..NewToken::default() };
        store.create_token(new.clone(), &kim()).await.unwrap();
        assert_eq!(import(&store, &one).await, Imported { tokens: 0, ..FIRST });
        let tokens = store.tokens().await.unwrap();
        assert_eq!((tokens.len(), tokens[0].name.as_str(), tokens[0].uses_left), (1, "by hand", 3));
        assert_eq!(store.create_token(new, &kim()).await.unwrap_err().code(), "invalid");
    }
}

on_both! {
    /// Nothing but a name is known of the device: its token alone says whose it is, and has the row's labels.
    async fn a_device_known_by_name_alone_gets_the_labels_of_its_row_with_its_token(db: Db) {
        let label: Label = "shop=5".parse().unwrap();
        let store = believing(db, RuleKind::Label(label)).await;
        let one = stamp("store-5,,,shop=5", 7);
        assert_eq!(import(&store, &one).await, Imported { unrecognisable: vec!["store-5".into()], ..FIRST });
        assert_eq!(call(&store, 5, Some(&one.token)).await, "admitted");
        assert_eq!(call(&store, 6, Some(&one.token)).await, "token-used");
        // A place that is recognised gives its labels itself: a later manifest may change them, the token does not know.
        let two = stamp(&row(8), 9);
        import(&store, &two).await;
        assert!(store.tokens().await.unwrap().iter().any(|token| token.name == "store-8" && token.labels.is_empty()));
    }
}
