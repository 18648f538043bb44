//! Manifests and logs of a warehouse, and the rules that admit by them.

use std::time::Duration;

use imager::flash::outcome::{Drive, Transport};
use imager::flash::record::append::Recorder;
use imager::flash::record::{Device as FlashedDevice, Entry, Verdict as FlashVerdict};
use imager::image::digest::Digest;
use imager::stamp::manifest::{BaseEntry, DeviceEntry, DeviceFacts, IdentityEntry, ImageEntry, Manifest, SeedEntry, TokenOrigin};
use machine_config::{DeviceId, PublicKey, SigningKey};

use super::*;
use crate::model::{Label, RuleKind};

fn station(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

fn public(number: u8) -> PublicKey {
    PublicKey::try_from(station(number).verifying_key()).unwrap()
}

/// The manifest of device `number`, signed by station 1; with its identity if its key was made before it.
fn manifest(number: u32, has_identity: bool) -> String {
    let digest = |text: &str| Digest::of(text.as_bytes());
    let base = BaseEntry { version: "0.1.0".into(), board: "nuc".into(), sha256: digest("a"), blank_sha256: digest("b") };
    let seed = SeedEntry {
        sha256: digest("c"),
        fleet: "acme".parse().unwrap(),
        hub: None,
        join_token: TokenOrigin::None,
        join_token_sha256: None,
        config_sha256: None,
    };
    let device = DeviceEntry {
        name: format!("store-{number}").parse().unwrap(),
        serial: Some(format!("S{number}")),
        mac: crate::enrol::testing::mac(number).parse().ok(),
        labels: [("shop".to_owned(), number.to_string())].into(),
    };
    let identity = has_identity.then(|| IdentityEntry { device_id: DeviceId::of(&attempt(number, None).key) });
    let image = ImageEntry { bytes: 7, sha256: digest("d") };
    Manifest::new(base, DeviceFacts { seed, device, identity }, image, &station(1)).sign(&station(1))
}

fn rule(kind: RuleKind) -> NewRule {
    NewRule {
        name: "stamped".into(),
        kind,
        outcome: Default::default(),
        without_token: false,
        labels: Default::default(),
        groups: vec!["shops".into()],
    }
}

on_both! {
    async fn a_manifest_counts_only_from_a_registered_station(db: Db) {
        let store = db.store().await;
        let import = async |file: &[u8]| store.import_manifest(file, &kim()).await;
        assert_eq!(import(manifest(1, false).as_bytes()).await.unwrap_err().code(), "station-unknown");
        store.register_station("bench 2", public(2), &kim()).await.unwrap();
        assert_eq!(import(manifest(1, false).as_bytes()).await.unwrap_err().code(), "station-unknown");
        store.register_station("bench 1", public(1), &kim()).await.unwrap();
        assert_eq!(import(manifest(1, false).as_bytes()).await.unwrap(), Imported { added: 1, ..Imported::default() });
        assert_eq!(import(manifest(1, false).as_bytes()).await.unwrap(), Imported { updated: 1, ..Imported::default() });
        let forged = manifest(1, false).replace("store-1", "store-9");
        assert_eq!(import(forged.as_bytes()).await.unwrap_err().code(), "manifest");
        assert_eq!(import(&vec![b' '; 1 << 20]).await.unwrap_err().code(), "size");
        let page = store.expected(0, 0).await.unwrap();
        assert_eq!((page.total, page.items[0].name.as_deref()), (1, Some("store-1")));
        store.delete_station(&public(1).id(), &kim()).await.unwrap();
        assert_eq!(import(manifest(2, false).as_bytes()).await.unwrap_err().code(), "station-unknown");
        store.forget_expected("serial:S1", &kim()).await.unwrap();
        assert_eq!(store.expected(0, 0).await.unwrap().total, 0);
    }
}

on_both! {
    async fn a_flashed_box_is_recognised_when_it_calls(db: Db) {
        let store = db.store().await;
        store.register_station("bench", public(1), &kim()).await.unwrap();
        for (number, has_identity) in [(1, false), (2, true), (3, false)] {
            store.import_manifest(manifest(number, has_identity).as_bytes(), &kim()).await.unwrap();
        }
        store.put_rule(rule(RuleKind::Manifest), &kim()).await.unwrap();
        let (_, token) = store.create_token(NewToken { uses: 2, ..NewToken::default() }, &kim()).await.unwrap();
        // With a token, by serial number.
        let first = store.enrol(&attempt(1, Some(token.expose())), NOW).await.unwrap();
        let device = first.device.unwrap();
        assert_eq!((first.verdict.word(), device.name.as_deref()), ("admitted", Some("store-1")));
        assert_eq!(device.admitted_by.as_deref(), Some("rule:stamped"));
        assert_eq!((device.labels.get("shop").map(String::as_str), device.groups), (Some("1"), vec!["shops".to_owned()]));
        // Without one, by a key that was made beforehand.
        assert_eq!(call(&store, 2, None).await, "admitted");
        // Without one, by serial number alone: anybody can say it.
        let third = store.enrol(&attempt(3, None), NOW).await.unwrap();
        assert_eq!((third.verdict.word(), third.device.unwrap().reason.as_str()), ("pending", "it showed no join token"));
        // Another key with the serial number of a place that is taken.
        let mut twin = attempt(9, Some(token.expose()));
        twin.inventory = attempt(1, None).inventory;
        let twin = store.enrol(&twin, NOW).await.unwrap();
        assert!(twin.verdict.word() == "pending" && twin.device.unwrap().reason.contains("was taken by"));
        let lines = store.changes_after(0).await.unwrap();
        assert!(lines.iter().any(|line| line.actor == "rule:stamped" && line.action == "device.approve"));
    }
}

on_both! {
    async fn rules_by_serial_number_and_label_admit_who_waits_at_the_next_call(db: Db) {
        let store = db.store().await;
        waiting(&store, 1).await;
        waiting(&store, 2).await;
        store.put_rule(rule(RuleKind::Serials(vec!["S1".into()])), &kim()).await.unwrap();
        assert_eq!((call(&store, 1, None).await, call(&store, 2, None).await), ("admitted", "pending"));
        let label: Label = "shop=7".parse().unwrap();
        store.put_rule(NewRule { name: "label".into(), ..rule(RuleKind::Label(label)) }, &kim()).await.unwrap();
        let new = NewToken { labels: [("shop".to_owned(), "7".to_owned())].into(), ..NewToken::default() };
        let (_, token) = store.create_token(new, &kim()).await.unwrap();
        assert_eq!(call(&store, 3, Some(token.expose())).await, "admitted");
        store.delete_rule("label", &kim()).await.unwrap();
        assert_eq!(store.rules().await.unwrap().len(), 1);
        assert!(store.put_rule(rule(RuleKind::Serials(vec![])), &kim()).await.is_err());
    }
}

on_both! {
    async fn a_log_counts_for_the_drives_it_proves(db: Db) {
        let store = db.store().await;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("flash.log");
        let recorder = Recorder::open(&path, station(1)).unwrap();
        let entry = |name: &str, result| {
            let drive = Drive { serial: None, model: None, bytes: 1, transport: Transport::Usb, port: None };
            let device = FlashedDevice {
                name: name.parse().unwrap(),
                id: None,
                serial: Some(format!("FZ-{name}")),
                board: "nuc".into(),
                version: "0.1.0".into(),
                fleet: "acme".parse().unwrap(),
                hub: None,
            };
            let image = Some(Digest::of(b"image"));
            Entry {
                started: jiff::Timestamp::UNIX_EPOCH,
                ended: jiff::Timestamp::UNIX_EPOCH,
                milliseconds: 0,
                path: "/dev/sdb".into(),
                drive,
                device: Some(device),
                image_sha256: image,
                readback_sha256: image,
                bytes_written: 1,
                result,
            }
        };
        let failure = imager::flash::outcome::Failure::new(imager::flash::outcome::Reason::Pulled, "gone");
        recorder.append(entry("good", FlashVerdict::Ok)).unwrap();
        recorder.append(entry("bad", FlashVerdict::Failed(failure))).unwrap();
        let log = std::fs::read(&path).unwrap();
        assert_eq!(store.import_log(&log, &kim()).await.unwrap_err().code(), "station-unknown");
        store.register_station("bench", public(1), &kim()).await.unwrap();
        assert_eq!(store.import_log(&log, &kim()).await.unwrap().added, 1);
        assert_eq!(store.expected(0, 0).await.unwrap().items[0].serial.as_deref(), Some("FZ-good"));
        let cut = &log[log.iter().position(|byte| *byte == b'\n').unwrap() + 1..];
        assert_eq!(store.import_log(cut, &kim()).await.unwrap_err().code(), "log");
    }
}

on_both! {
    /// A token bound to a label is for the devices of a manifest that have it.
    async fn a_token_bound_to_a_label_needs_the_manifest(db: Db) {
        let store = db.store().await;
        store.register_station("bench", public(1), &kim()).await.unwrap();
        store.import_manifest(manifest(1, false).as_bytes(), &kim()).await.unwrap();
        let binding = crate::model::Binding { label: "shop=1".parse().ok(), ..Default::default() };
        let end = Some(NOW.after(Duration::from_secs(60)));
        let (_, token) = store.create_token(NewToken { binding, expires_at: end, ..NewToken::default() }, &kim()).await.unwrap();
        assert_eq!(call(&store, 2, Some(token.expose())).await, "token-bound");
        assert_eq!(call(&store, 1, Some(token.expose())).await, "pending");
    }
}
