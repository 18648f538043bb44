//! Devices that say they are others: serial numbers after admission, and crowds of keys that nobody vouches for.

use std::time::Duration;

use super::*;
use crate::model::{AssignTo, AuditFilter, Policy, Strangers};

/// Device `number`, calling with the serial number of another one.
fn disguised(number: u32, serial: &str) -> crate::enrol::Attempt {
    let mut attempt = attempt(number, None);
    let inventory = attempt.inventory.as_mut().unwrap();
    (inventory.0.serial, inventory.1) = (serial.into(), [2; 32]);
    attempt
}

on_both! {
    async fn an_admitted_device_gets_no_configuration_of_another_ones_serial_number(db: Db) {
        let store = db.store().await;
        let (victim, thief) = (admitted(&store, 1).await, admitted(&store, 2).await);
        let group = Edit { groups: Some(vec!["shops".into()]), ..Edit::default() };
        for device in [&victim, &thief] {
            store.edit_device(&device.id, group.clone(), &kim()).await.unwrap();
        }
        let config = super::configs::upload(&store, 3, "serial: S1").await.unwrap();
        store.assign(&config.digest, AssignTo::Group("shops".into()), &kim()).await.unwrap();
        assert_eq!(store.enrol(&disguised(2, "S1"), NOW).await.unwrap().verdict.word(), "admitted");
        assert!(store.to_deliver(&thief.id, NOW).await.unwrap().is_none(), "it says the serial number only since it was let in");
        assert!(store.to_deliver(&victim.id, NOW).await.unwrap().is_some());
        let shown = store.device(&thief.id).await.unwrap().unwrap();
        assert!(shown.hardware_changed() && shown.reason.contains("hardware changed"), "{}", shown.reason);
        // Somebody who looked at the box confirms it.
        let confirmed = store.approve(&thief.id, &kim()).await.unwrap();
        assert!(!confirmed.hardware_changed() && confirmed.reason.is_empty());
        assert!(store.to_deliver(&thief.id, NOW).await.unwrap().is_some());
        let lines = store.audit(&AuditFilter { action: Some("device.approve".into()), ..AuditFilter::default() }).await.unwrap();
        assert_eq!(lines[0].details["hardware"]["serials"][0], "S1");
    }
}

on_both! {
    async fn strangers_with_one_serial_number_fill_no_queue_and_end(db: Db) {
        let store = db.store().await;
        store.claim(Claim { by: ClaimBy::Serial("S1".into()), site: "Oslo".into() }, &kim()).await.unwrap();
        let mut words = vec![];
        for number in 10..15 {
            words.push(store.enrol(&disguised(number, "S1"), NOW).await.unwrap().verdict.word());
        }
        assert_eq!(words, ["pending", "pending", "pending", "busy", "busy"]);
        let (_, token) = store.create_token(NewToken::default(), &kim()).await.unwrap();
        let genuine = store.enrol(&attempt(1, Some(token.expose())), NOW).await.unwrap();
        assert_eq!(genuine.verdict.word(), "admitted", "the claimed one comes with a token");
        store.put_policy(&Policy { strangers: Strangers::Wait, ..Policy::default() }, &kim()).await.unwrap();
        assert_eq!(store.enrol(&attempt(20, None), NOW).await.unwrap().verdict.word(), "pending");
        let edited = store.enrol(&attempt(21, None), NOW).await.unwrap().device.unwrap();
        store.edit_device(&edited.id, Edit { name: Some("mine".into()), ..Edit::default() }, &kim()).await.unwrap();
        let day = NOW.after(Duration::from_secs(24 * 3600 + 1));
        assert_eq!(store.forget_unproven(NOW).await.unwrap(), 0);
        assert_eq!(store.forget_unproven(day).await.unwrap(), 4);
        assert!(store.device(&crate::enrol::testing::device(20).id).await.unwrap().is_none());
        assert_eq!(store.audit(&AuditFilter::default()).await.unwrap()[0].action, "device.forget");
    }
}

on_both! {
    async fn a_stranger_keeps_no_configuration_from_its_device(db: Db) {
        let store = db.store().await;
        store.claim(Claim { by: ClaimBy::Serial("S1".into()), site: "Oslo".into() }, &kim()).await.unwrap();
        let mut pretender = disguised(9, "S1");
        (pretender.config_generation, pretender.config_digest) = (i64::MAX as u64, "ab".repeat(32));
        assert_eq!(store.enrol(&pretender, NOW).await.unwrap().verdict.word(), "pending");
        super::configs::upload(&store, 3, "serial: S1").await.expect("the pretender says it has a newer one");
        for number in 10..12 {
            store.enrol(&disguised(number, "S1"), NOW).await.unwrap();
        }
        let claim = store.claim(Claim { by: ClaimBy::Serial("S1".into()), site: "Oslo".into() }, &kim()).await.unwrap();
        assert!(matches!(claim, Claimed::Awaited(_)), "{claim:?}");
    }
}

on_both! {
    /// With two serial numbers that they know, whatever they say later, and wherever they call from.
    async fn a_few_keys_open_no_place_twice_and_take_no_room_of_others(db: Db) {
        let store = db.store().await;
        for serial in ["S1", "S2"] {
            store.claim(Claim { by: ClaimBy::Serial(serial.into()), site: "Oslo".into() }, &kim()).await.unwrap();
        }
        let say = async |number: u32, serial: &str| {
            let mut attempt = disguised(number, serial);
            attempt.address = std::net::Ipv4Addr::from(0x0a00_0000 + number).into();
            store.enrol(&attempt, NOW).await.unwrap().verdict.word()
        };
        for number in 10..13 {
            assert_eq!(say(number, "S1").await, "pending");
            assert_eq!(say(number, "nobody's").await, "pending", "it waits on, as it was");
        }
        assert_eq!(say(13, "S1").await, "busy", "three wait for that place, whatever they say now");
        assert_eq!(say(10, "S2").await, "pending", "to another place it may go");
        assert_eq!([say(13, "S1").await, say(14, "S1").await], ["pending", "busy"]);
        store.put_policy(&Policy { strangers: Strangers::Refuse, pending_limit: 18 }, &kim()).await.unwrap();
        assert_eq!([say(20, "S2").await, say(21, "S2").await], ["pending", "busy"], "a quarter of the places is theirs");
        for number in 100..118 {
            waiting(&store, number).await;
        }
        let (_, token) = store.create_token(NewToken::default(), &kim()).await.unwrap();
        assert_eq!(call(&store, 118, Some(token.expose())).await, "busy");
        assert_eq!(store.overview(NOW).await.unwrap().pending, 23);
    }
}

on_both! {
    /// Whatever a rule leaves of them is counted, and ends.
    async fn a_rule_that_turns_away_keeps_no_rows_for_ever(db: Db) {
        let store = db.store().await;
        store.put_policy(&Policy { strangers: Strangers::Wait, pending_limit: 3 }, &kim()).await.unwrap();
        for number in 1..=3 {
            assert_eq!(call(&store, number, None).await, "pending");
        }
        let kept = store.refuse(&crate::enrol::testing::device(3).id, "not ours", &kim()).await.unwrap();
        let rule = |serial: &str, outcome| NewRule {
            name: serial.into(),
            kind: crate::model::RuleKind::Serials(vec![serial.into()]),
            outcome,
            without_token: false,
            labels: Default::default(),
            groups: vec![],
        };
        store.put_rule(rule("S1", crate::model::RuleOutcome::Refuse), &kim()).await.unwrap();
        store.put_rule(rule("S2", crate::model::RuleOutcome::Quarantine), &kim()).await.unwrap();
        assert_eq!([call(&store, 1, None).await, call(&store, 2, None).await], ["refused", "quarantined"]);
        let quarantined = store.device(&crate::enrol::testing::device(2).id).await.unwrap().unwrap();
        assert!(!quarantined.is_vouched(), "a rule says nothing for it");
        assert_eq!([call(&store, 4, None).await, call(&store, 5, None).await], ["pending", "busy"], "those two are still counted");
        let day = NOW.after(Duration::from_secs(24 * 3600 + 1));
        assert_eq!(store.forget_unproven(day).await.unwrap(), 3);
        let left = store.devices(&Default::default()).await.unwrap().items;
        assert_eq!(left.iter().map(|device| &device.id).collect::<Vec<_>>(), [&kept.id], "a person refused it");
    }
}

on_both! {
    async fn a_crowd_does_not_hide_the_device_that_is_meant(db: Db) {
        let store = db.store().await;
        store.put_policy(&Policy { strangers: Strangers::Wait, ..Policy::default() }, &kim()).await.unwrap();
        let last = (1..40u32).max_by_key(|number| crate::enrol::testing::device(*number).id.to_string()).unwrap();
        let serial = format!("S{last}");
        for number in 100..170 {
            let attempt = crate::enrol::Attempt { name: "till".into(), ..disguised(number, &serial) };
            store.enrol(&attempt, NOW).await.unwrap();
        }
        let genuine = admitted(&store, last).await;
        let named = Edit { name: Some("till".into()), ..Edit::default() };
        store.edit_device(&genuine.id, named, &kim()).await.unwrap();
        for by in [ClaimBy::Serial(serial), ClaimBy::Name("till".into())] {
            let claimed = store.claim(Claim { by, site: "Oslo".into() }, &kim()).await.unwrap();
            assert!(matches!(&claimed, Claimed::Device(device) if device.id == genuine.id), "{claimed:?}");
        }
    }
}

on_both! {
    async fn one_pretender_takes_no_claim_of_an_expected_box(db: Db) {
        let store = db.store().await;
        let claim = async || store.claim(Claim { by: ClaimBy::Serial("S1".into()), site: "Oslo".into() }, &kim()).await.unwrap();
        assert!(matches!(claim().await, Claimed::Awaited(_)));
        assert_eq!(store.enrol(&disguised(9, "S1"), NOW).await.unwrap().verdict.word(), "pending");
        assert!(matches!(claim().await, Claimed::Awaited(_)), "the place is claimed, not who says that it is his");
        let (_, token) = store.create_token(NewToken::default(), &kim()).await.unwrap();
        assert_eq!(call(&store, 1, Some(token.expose())).await, "admitted");
        assert!(matches!(claim().await, Claimed::Device(device) if device.id == crate::enrol::testing::device(1).id));
    }
}

on_both! {
    async fn a_device_is_counted_where_it_calls_from_now(db: Db) {
        let store = db.store().await;
        store.put_policy(&Policy { strangers: Strangers::Wait, ..Policy::default() }, &kim()).await.unwrap();
        call(&store, 1, None).await;
        let mut moved = attempt(1, None);
        moved.address = "198.51.100.9".parse().unwrap();
        store.enrol(&moved, NOW).await.unwrap();
        let read = sqlx::query_scalar::<_, String>("SELECT neighbour FROM devices").fetch_one(&mut db.connect().await).await;
        assert_eq!(read.unwrap(), "198.51.100.9");
    }
}

on_both! {
    async fn what_is_approved_is_what_was_seen(db: Db) {
        let store = db.store().await;
        let device = waiting(&store, 1).await;
        let seen = Seen::from([(device.id.clone(), device.inventory_digest.clone())]);
        store.enrol(&disguised(1, "S9"), NOW).await.unwrap();
        let approve = async |seen: &Seen| {
            let act = crate::enrol::Act::Approve;
            store.change_seen(act, std::slice::from_ref(&device.id), seen, "", &kim()).await.remove(0)
        };
        assert_eq!(approve(&seen).await.unwrap_err().code(), "changed");
        assert_eq!(store.device(&device.id).await.unwrap().unwrap().state, DeviceState::Pending);
        let now = store.device(&device.id).await.unwrap().unwrap();
        let looked_again = Seen::from([(now.id.clone(), now.inventory_digest.clone())]);
        assert_eq!(approve(&looked_again).await.unwrap().pinned.unwrap().serials, ["S9"]);
        // Once more, when it is admitted: it says what it said at first.
        store.enrol(&attempt(1, None), NOW).await.unwrap();
        assert_eq!(approve(&looked_again).await.unwrap_err().code(), "changed");
        assert_eq!(approve(&seen).await.unwrap().pinned.unwrap().serials, ["S1"]);
    }
}

on_both! {
    async fn whoever_takes_a_place_is_not_confirmed_by_that(db: Db) {
        let store = db.store().await;
        let (old, new) = (admitted(&store, 1).await, admitted(&store, 2).await);
        store.enrol(&disguised(2, "S9"), NOW).await.unwrap();
        let heir = store.replace(&old.id, &new.id, &kim()).await.unwrap();
        assert!(heir.hardware_changed() && heir.known().serials == ["S2"], "{heir:?}");
        assert_eq!(store.device(&new.id).await.unwrap().unwrap(), heir);
        assert_eq!(store.device(&old.id).await.unwrap().unwrap().state, DeviceState::Removed);
    }
}

on_both! {
    /// As a machine sorts, not as people do in some country.
    async fn rules_are_asked_in_one_order_everywhere(db: Db) {
        let store = db.store().await;
        for name in ["b", "a_1", "B", "a-2", "Z"] {
            let kind = crate::model::RuleKind::Manifest;
            let (labels, groups) = (Default::default(), vec![]);
            store.put_rule(NewRule { name: name.into(), kind, outcome: Default::default(), without_token: false, labels, groups }, &kim()).await.unwrap();
        }
        let names: Vec<_> = store.rules().await.unwrap().into_iter().map(|rule| rule.name).collect();
        assert_eq!(names, ["B", "Z", "a-2", "a_1", "b"]);
    }
}

/// Brings a database of version 1 forward; devices that are admitted keep what they said last.
#[test]
fn an_earlier_programs_database_is_brought_forward() {
    for make in [Db::sqlite, Db::postgres] {
        super::super::testing::run(make, async |db: &Db| {
            let mut conn = db.connect().await;
            let backend = if db.is_sqlite() { Backend::Sqlite } else { Backend::Postgres };
            schema::steps(&mut conn, backend, NOW, 1).await.unwrap();
            let id = crate::enrol::testing::device(1).id;
            let insert = format!(
                "INSERT INTO devices (id, public_key, state, reason, site, fleet, version, board, architecture, kernel, runtime_root_hash, serials, \
                 macs, labels, device_groups, first_seen, config_generation, healthy, phase, inventory_digest) VALUES ('{id}', $1, 'admitted', '', \
                 '', '', '', '', '', '', '', '[\"S1\"]', '[]', '{{}}', '[]', 0, 0, 0, '', '')"
            );
            let key = crate::enrol::testing::key(1).verifying_key().to_bytes().to_vec();
            sqlx::query(sqlx::AssertSqlSafe(insert)).bind(key).execute(&mut conn).await.unwrap();
            let presence = format!("INSERT INTO presence (device, last_seen) VALUES ('{id}', 0)");
            sqlx::query(sqlx::AssertSqlSafe(presence)).execute(&mut conn).await.unwrap();
            let device = db.store().await.device(&id).await.unwrap().unwrap();
            assert_eq!(device.pinned.unwrap().serials, ["S1"]);
        });
    }
}
