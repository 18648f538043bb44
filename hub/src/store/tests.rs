//! The store on both databases.

mod attention;
mod audit;
mod configs;
mod enrolment;
mod figures;
mod hardware;
mod import;
mod killed;
mod people;
mod removal;
mod stamped;

use super::testing::{Db, NOW, kim, on_both};
use super::*;
use crate::enrol::Verdict;
use crate::enrol::testing::attempt;
use crate::model::{Device, DeviceState};

/// Makes device `number` call with a token of its own; it waits.
pub(super) async fn waiting(store: &Store, number: u32) -> Device {
    let (_, token) = store.create_token(NewToken::default(), &kim()).await.expect("a token");
    let enrolled = store.enrol(&attempt(number, Some(token.expose())), NOW).await.expect("enrols");
    assert_eq!(enrolled.verdict.word(), "pending");
    enrolled.device.expect("kept")
}

/// The same, and approves it.
pub(super) async fn admitted(store: &Store, number: u32) -> Device {
    let device = waiting(store, number).await;
    store.approve(&device.id, &kim()).await.expect("approved")
}

/// The word of a call's verdict.
pub(super) async fn call(store: &Store, number: u32, token: Option<&str>) -> &'static str {
    store.enrol(&attempt(number, token), NOW).await.expect("enrols").verdict.word()
}

on_both! {
    /// A later program's database is left alone.
    async fn a_newer_database_is_refused(db: Db) {
        db.store().await;
        let mut conn = db.connect().await;
        sqlx::query("INSERT INTO schema_versions (version, at) VALUES (99, 0)").execute(&mut conn).await.unwrap();
        assert!(matches!(db.open().await, Err(StoreError::Newer { found: 99, .. })));
    }
}

on_both! {
    /// A search that goes through everything, or one that a person forgot, is no device's concern.
    async fn devices_are_read_and_written_while_people_hold_every_connection_of_theirs(db: Db) {
        let store = db.store().await;
        let device = admitted(&store, 1).await;
        let mut held = vec![];
        for _ in 0..store.pool.options().get_max_connections() {
            held.push(store.reader().await.unwrap());
        }
        let served = async {
            let devices = store.for_devices();
            devices.greet(&device.id, &[]).await.unwrap();
            devices.enrol(&attempt(1, None), NOW).await.unwrap();
            devices.to_deliver(&device.id, NOW).await.unwrap()
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), served).await.expect("they wait for nobody");
    }
}

on_both! {
    async fn one_write_that_fails_takes_no_other_along(db: Db) {
        let store = db.store().await;
        let mut ids = vec![];
        for number in 0..5 {
            ids.push(waiting(&store, number).await.id);
        }
        ids.insert(2, crate::enrol::testing::device(99).id);
        let results = store.change_state(crate::enrol::Act::Approve, &ids, "", &kim()).await;
        let good: Vec<bool> = results.iter().map(Result::is_ok).collect();
        assert_eq!(good, [true, true, false, true, true, true]);
        assert!(matches!(results[2], Err(StoreError::Missing { .. })));
        assert_eq!(store.overview(NOW).await.unwrap().admitted, 5);
        store.verify_audit(None).await.unwrap();
    }
}

on_both! {
    async fn a_write_that_panics_is_its_own_failure(db: Db) {
        let store = db.store().await;
        let device = waiting(&store, 1).await;
        let id = device.id.clone();
        let panics = store.write(move |tx| {
            Box::pin(async move {
                crate::store::states::change(tx, crate::enrol::Act::Remove, &id, String::new(), &kim()).await?;
                assert!(id.as_str().is_empty(), "on purpose");
                Ok(())
            })
        });
        assert_eq!(panics.await.unwrap_err().code(), "database");
        assert_eq!(store.approve(&device.id, &kim()).await.unwrap().state, DeviceState::Admitted);
        store.verify_audit(None).await.unwrap();
    }
}

on_both! {
    async fn devices_are_found_by_what_people_know_of_them(db: Db) {
        let store = db.store().await;
        for number in 1..=3 {
            admitted(&store, number).await;
        }
        let edit = Edit {
            name: Some("store-0421".into()),
            site: Some("Nørre 100%_".into()),
            labels: Some([("shop".to_owned(), "0421".to_owned())].into()),
            groups: Some(vec!["north".into()]),
        };
        let id = attempt(2, None).key;
        let id = machine_config::DeviceId::of(&id);
        store.edit_device(&id, edit, &kim()).await.unwrap();
        let find = async |filter: crate::model::DeviceFilter| {
            let page = store.devices(&filter).await.unwrap();
            assert_eq!(page.items.len() as u64, page.total);
            page.items.iter().map(|device| device.serials[0].clone()).collect::<Vec<_>>()
        };
        let search = |text: &str| crate::model::DeviceFilter { search: text.into(), ..Default::default() };
        for text in ["STORE-04", "s2", "100%_", &crate::enrol::testing::mac(2), &id.as_str()[..12]] {
            assert_eq!(find(search(text)).await, ["S2"], "{text}");
        }
        assert_eq!(find(search("100%%")).await, Vec::<String>::new());
        assert_eq!(find(search("x' OR '1'='1")).await, Vec::<String>::new());
        assert_eq!(find(search("")).await.len(), 3);
        let by = crate::model::DeviceFilter { label: "shop=0421".parse().ok(), group: Some("north".into()), ..Default::default() };
        assert_eq!(find(by).await, ["S2"]);
        let none = crate::model::DeviceFilter { state: Some(DeviceState::Pending), ..Default::default() };
        assert!(find(none).await.is_empty());
        let wrong = Edit { name: Some("a b".into()), ..Edit::default() };
        assert_eq!(store.edit_device(&id, wrong, &kim()).await.unwrap_err().code(), "invalid");
    }
}

on_both! {
    async fn a_heartbeat_is_kept_and_a_bomb_is_cut(db: Db) {
        let store = db.store().await;
        let device = admitted(&store, 1).await;
        let status = api::v1::StatusResponse { healthy: true, phase: "x".repeat(1 << 20), errors: vec!["y".repeat(1 << 20); 50], ..Default::default() };
        let report = api::hub::v1::Report { status: Some(status), release: None };
        let resources = api::hub::v1::ResourceUse { load_percent: 7, memory_available_mib: 512, data_available_mib: 9000 };
        let beat = api::hub::v1::Heartbeat { number: 1, report: Some(report), r#use: Some(resources) };
        let later = NOW.after(std::time::Duration::from_secs(150));
        let beat = Beat::of(device.id.clone(), &beat, "2001:db8::1".parse().unwrap(), later);
        store.record_heartbeats(vec![beat]).await.unwrap();
        let now = store.device(&device.id).await.unwrap().unwrap();
        assert!(now.healthy && now.last_seen == later && now.phase.len() <= 253);
        assert_eq!(now.resources.map(|used| used.load_percent), Some(7));
        assert_eq!(now.last_address, "2001:db8::1".parse().ok());
        assert!(serde_json::to_string(&now).unwrap().len() < 64 << 10);
    }
}

on_both! {
    async fn only_the_last_events_of_a_device_are_kept(db: Db) {
        let store = db.store().await;
        let device = admitted(&store, 1).await;
        for round in 0..4u64 {
            let event = |number| api::v1::Event { sequence: round * 90 + number, kind: "phase".into(), ..Default::default() };
            let received = Time::from_millis(NOW.millis() + i64::try_from(round).unwrap());
            let events = (0..90).map(|number| crate::model::DeviceEvent::of(&event(number), received)).collect();
            store.record_events(&device.id, events).await.unwrap();
        }
        let kept = store.events(&device.id, 1000).await.unwrap();
        assert_eq!((kept[0].sequence, kept.len()), (359, 200));
    }
}

on_both! {
    async fn a_stream_belongs_to_the_process_that_opened_it_last(db: Db) {
        let store = db.store().await;
        let device = admitted(&store, 1).await;
        let replica = |id: &str, at| crate::model::Replica { id: id.into(), address: format!("{id}:7443"), heartbeat_at: at };
        let stream = |replica: &str, session: &str| crate::model::Stream {
            device: device.id.clone(),
            replica: replica.into(),
            session: session.into(),
            since: NOW,
        };
        store.replica_beat(replica("a", NOW)).await.unwrap();
        store.replica_beat(replica("b", NOW)).await.unwrap();
        assert_eq!(store.stream_open(stream("a", "1"), &kim()).await.unwrap(), StreamPlace::Here);
        assert_eq!(store.stream_open(stream("a", "1"), &kim()).await.unwrap(), StreamPlace::Here, "written again");
        assert_eq!(store.stream_open(stream("b", "2"), &kim()).await.unwrap(), StreamPlace::Here);
        let moved = &store.audit(&crate::model::AuditFilter::default()).await.unwrap()[0];
        assert_eq!((moved.action.as_str(), moved.details.clone()), ("device.moved", serde_json::json!({ "from": "1", "to": "2" })));
        let late = crate::model::Stream { since: NOW.before(std::time::Duration::from_secs(2)), ..stream("a", "1") };
        assert_eq!(store.stream_open(late.clone(), &kim()).await.unwrap(), StreamPlace::Elsewhere(stream("b", "2")));
        store.stream_close(&device.id, "1").await.unwrap();
        let held = store.stream_of(&device.id, NOW).await.unwrap().expect("held");
        assert_eq!((held.0.session.as_str(), held.1.address.as_str()), ("2", "b:7443"));
        assert_eq!(store.overview(NOW).await.unwrap().connected, 1);
        let dead = NOW.after(2 * REPLICA_LIFE);
        assert_eq!(store.stream_of(&device.id, dead).await.unwrap(), None);
        assert_eq!(store.overview(dead).await.unwrap().connected, 0);
        store.replica_end("b").await.unwrap();
        assert_eq!(store.replicas(NOW).await.unwrap(), [replica("a", NOW)]);
    }
}

on_both! {
    async fn a_value_is_taken_out_once_and_a_setting_is_made_once(db: Db) {
        let (one, other) = (db.store().await, db.store().await);
        assert_eq!(one.setting_or("secret", "first".into()).await.unwrap(), "first");
        assert_eq!(other.setting_or("secret", "second".into()).await.unwrap(), "first");
        let end = NOW.after(std::time::Duration::from_secs(60));
        one.put_once("state", "value", NOW, end).await.unwrap();
        let (a, b) = futures_util::future::join(one.take_once("state", NOW), other.take_once("state", NOW)).await;
        assert_eq!([a.unwrap(), b.unwrap()].iter().flatten().count(), 1);
        one.put_once("late", "value", NOW, end).await.unwrap();
        assert_eq!(one.take_once("late", end).await.unwrap(), None);
    }
}

/// A process that was stopped in the middle of a write, with its host, keeps the others waiting for seconds and not for hours.
#[test]
fn a_frozen_process_does_not_keep_the_others_from_writing() {
    super::testing::run(Db::postgres, async |db: &Db| {
        let (frozen, store) = (db.store().await, db.store().await);
        let held = frozen.write(|_| Box::pin(std::future::pending::<Result<(), StoreError>>()));
        let write = async {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            waiting(&store, 1).await
        };
        let outcome = futures_util::future::select(Box::pin(held), Box::pin(write)).await;
        assert!(matches!(outcome, futures_util::future::Either::Right(_)), "the frozen write came to nothing");
    });
}

/// A path with every sort of character opens where it says.
#[test]
fn a_folder_with_odd_characters_holds_the_database() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("a b?c#d%e'ü");
    std::fs::create_dir(&folder).unwrap();
    runtime.block_on(async {
        assert!(matches!(Store::reopen_folder(&folder, NOW).await, Err(StoreError::Missing { .. })));
        let store = Store::open_folder(&folder, NOW).await.unwrap();
        waiting(&store, 1).await;
        drop(store);
        let again = Store::reopen_folder(&folder, NOW).await.unwrap();
        assert_eq!(again.overview(NOW).await.unwrap().pending, 1);
        let mut conn = again.reader().await.unwrap();
        let synchronous = query::find(&mut conn, sqlx::query("PRAGMA synchronous"), "ask", |row| row.int("synchronous"));
        assert_eq!(synchronous.await.unwrap(), Some(2), "an answer is given after the disk has it");
        let journal = query::find(&mut conn, sqlx::query("PRAGMA journal_mode"), "ask", |row| row.text("journal_mode"));
        assert_eq!(journal.await.unwrap().as_deref(), Some("wal"));
    });
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(folder.join(FILE)).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}
