//! Enrolment: one token, one device, whatever happens at once.

use std::time::Duration;

use futures_util::future::join_all;
use machine_config::DeviceId;

use super::*;
use crate::model::{Binding, Policy, Strangers};

on_both! {
    /// A hundred devices show the same token at once, half of them at another process of the hub.
    async fn a_token_for_one_device_admits_one_of_a_hundred(db: Db) {
        let stores = [db.store().await, db.store().await];
        let (token, text) = stores[0].create_token(NewToken::default(), &kim()).await.unwrap();
        let text = text.expose();
        let calls = (0..100u32).map(|number| call(&stores[number as usize % 2], number, Some(text)));
        let words = join_all(calls).await;
        assert_eq!(words.iter().filter(|word| **word == "pending").count(), 1);
        assert_eq!(words.iter().filter(|word| **word == "token-used").count(), 99);
        let token = stores[1].token(&token.id).await.unwrap().unwrap();
        assert_eq!((token.uses, token.uses_left), (1, 0));
        assert_eq!(stores[0].overview(NOW).await.unwrap().pending, 1);
        stores[0].verify_audit(None).await.unwrap();
    }
}

on_both! {
    async fn tokens_count_only_for_whom_and_when_they_were_made(db: Db) {
        let store = db.store().await;
        let make = async |new: NewToken| store.create_token(new, &kim()).await.unwrap();
        let bound = |serial: &str| Binding { serial: Some(serial.into()), ..Binding::default() };
        let (_, other) = make(NewToken { binding: bound("S2"), ..NewToken::default() }).await;
        assert_eq!(call(&store, 1, Some(other.expose())).await, "token-bound");
        assert_eq!(call(&store, 2, Some(other.expose())).await, "pending");
        let mac = Binding { mac: crate::enrol::testing::mac(3).parse().ok(), ..Binding::default() };
        let (_, by_mac) = make(NewToken { binding: mac, ..NewToken::default() }).await;
        assert_eq!(call(&store, 4, Some(by_mac.expose())).await, "token-bound");
        assert_eq!(call(&store, 3, Some(by_mac.expose())).await, "pending");
        let (_, short) = make(NewToken { expires_at: Some(NOW.after(Duration::from_secs(1))), ..NewToken::default() }).await;
        let late = store.enrol(&attempt(5, Some(short.expose())), NOW.after(Duration::from_secs(1))).await.unwrap();
        assert_eq!(late.verdict.word(), "token-expired");
        let (revoked, text) = make(NewToken::default()).await;
        store.revoke_token(&revoked.id, &kim()).await.unwrap();
        assert_eq!(call(&store, 6, Some(text.expose())).await, "token-revoked");
        assert_eq!(call(&store, 7, Some("skj_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")).await, "token-unknown");
        assert_eq!(call(&store, 8, None).await, "token-unknown");
        assert_eq!(store.revoke_token("none", &kim()).await.unwrap_err().code(), "not-found");
    }
}

on_both! {
    /// What the token gives, the device has; and no list, audit or debug print shows the token.
    async fn a_token_is_shown_once_and_gives_its_labels(db: Db) {
        let store = db.store().await;
        let new = NewToken {
            name: "shop".into(),
            labels: [("shop".to_owned(), "1".to_owned())].into(),
            groups: vec!["north".into()],
            ..NewToken::default()
        };
        let (token, text) = store.create_token(new, &kim()).await.unwrap();
        let device = store.enrol(&attempt(1, Some(text.expose())), NOW).await.unwrap().device.unwrap();
        assert_eq!((device.labels.get("shop").map(String::as_str), device.groups), (Some("1"), vec!["north".to_owned()]));
        let shown = format!("{:?} {:?} {:?} {text:?}", store.tokens().await.unwrap(), token, store.audit(&Default::default()).await.unwrap());
        assert!(!shown.contains(text.expose()));
        let chosen = NewToken { text: Some("warehouse-token-0001".to_owned().into()), ..NewToken::default() };
        store.create_token(chosen.clone(), &kim()).await.unwrap();
        assert_eq!(store.create_token(chosen, &kim()).await.unwrap_err().code(), "invalid");
        assert_eq!(call(&store, 2, Some("warehouse-token-0001")).await, "pending");
    }
}

on_both! {
    async fn a_replayed_enrolment_uses_nothing_up_and_changes_nothing(db: Db) {
        let store = db.store().await;
        let (token, text) = store.create_token(NewToken { uses: 2, ..NewToken::default() }, &kim()).await.unwrap();
        for _ in 0..5 {
            assert_eq!(call(&store, 1, Some(text.expose())).await, "pending");
        }
        let uses = store.token(&token.id).await.unwrap().unwrap();
        assert_eq!((uses.uses, uses.uses_left), (1, 1));
        let lines = store.audit(&Default::default()).await.unwrap();
        assert_eq!(lines.iter().filter(|line| line.action == "device.enrol").count(), 1);
    }
}

on_both! {
    /// An id is the hash of a key: another key is another device. A database that says otherwise is not believed.
    async fn no_device_has_the_id_of_another_key(db: Db) {
        let store = db.store().await;
        let device = waiting(&store, 1).await;
        assert_ne!(DeviceId::of(&attempt(2, None).key), device.id);
        let mut conn = db.connect().await;
        let forge = sqlx::query("UPDATE devices SET public_key = $1 WHERE id = $2");
        let key = attempt(2, None).key.to_bytes().to_vec();
        forge.bind(key).bind(device.id.to_string()).execute(&mut conn).await.unwrap();
        let error = store.enrol(&attempt(1, None), NOW).await.unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { what: "public_key", .. }), "{error}");
    }
}

on_both! {
    async fn an_inventory_bomb_leaves_a_short_row(db: Db) {
        let store = db.store().await;
        let (_, token) = store.create_token(NewToken::default(), &kim()).await.unwrap();
        let bomb = "z".repeat(1 << 20);
        let mut attempt = attempt(1, Some(token.expose()));
        attempt.name = bomb.clone();
        attempt.fleet = bomb.clone();
        attempt.config_digest = bomb.clone();
        attempt.release.version = bomb.clone();
        let nic = api::v1::Nic { name: "n".repeat(4096), ..Default::default() };
        let hardware = api::v1::HardwareResponse { vendor: bomb.clone(), serial: bomb, nics: vec![nic; 5000], ..Default::default() };
        attempt.inventory = Some((hardware, [9; 32]));
        let device = store.enrol(&attempt, NOW).await.unwrap().device.unwrap();
        let stored = store.device(&device.id).await.unwrap().unwrap();
        let size = serde_json::to_string(&stored).unwrap().len();
        assert!(size < 32 << 10, "{size} bytes");
        assert_eq!((stored.name, stored.fleet.as_str()), (None, ""));
    }
}

on_both! {
    /// Two thousand calls of strangers from one address: an audit of sixty lines, and a number.
    async fn strangers_cannot_fill_the_audit(db: Db) {
        let store = db.store().await;
        let calls = 2_000;
        for begin in (0..calls).step_by(500) {
            let words = join_all((begin..begin + 500u32).map(|number| call(&store, number, Some("skj_no-such-token-at-all")))).await;
            assert!(words.iter().all(|word| *word == "token-unknown"));
        }
        let lines = store.changes_after(0).await.unwrap();
        assert_eq!(lines.len(), 60);
        assert_eq!(call(&store, 0, Some("skj_no-such-token-at-all")).await, "token-unknown");
        assert_eq!(store.changes_after(0).await.unwrap().len(), 60, "a device's reason is written once a day");
        let later = NOW.after(Duration::from_secs(61));
        store.record_refusal(None, "proof", "192.0.2.9", later).await.unwrap();
        let last = store.changes_after(60).await.unwrap();
        assert_eq!(last[0].details["unrecordedBefore"], calls - 60);
        assert_eq!((last[0].actor.as_str(), last[0].action.as_str()), ("stranger", "device.refused"));
        assert!(store.devices(&Default::default()).await.unwrap().items.is_empty());
    }
}

on_both! {
    /// Each from an address of his own, for some minutes.
    async fn a_crowd_of_strangers_cannot_fill_the_audit_either(db: Db) {
        let store = db.store().await;
        for minute in 0..4u64 {
            let now = NOW.after(Duration::from_secs(240 * minute));
            let calls = (0..150u32).map(|number| {
                let number = number + 1000 * u32::try_from(minute).unwrap();
                let mut attempt = attempt(number, Some("skj_no-such-token-at-all"));
                attempt.address = std::net::Ipv4Addr::from(0x0a00_0000 + number).into();
                let store = store.clone();
                async move { store.enrol(&attempt, now).await.unwrap().verdict.word() }
            });
            assert!(join_all(calls).await.iter().all(|word| *word == "token-unknown"));
        }
        assert_eq!(store.changes_after(0).await.unwrap().len(), 300);
    }
}

on_both! {
    /// A device that says another serial number at each call, and each time that it has no configuration.
    async fn a_device_that_repeats_itself_cannot_fill_the_audit(db: Db) {
        let store = db.store().await;
        let device = admitted(&store, 1).await;
        let digest = machine_config::types::Digest::of(b"a file");
        let count = async |action: &str| {
            let lines = store.changes_after(0).await.unwrap();
            lines.iter().filter(|line| line.action == action).count()
        };
        let by = |at| crate::model::By { at, ..kim() };
        for number in 0..20u64 {
            let now = NOW.after(Duration::from_secs(number));
            let mut attempt = attempt(1, None);
            if let Some((hardware, _)) = &mut attempt.inventory {
                hardware.serial = format!("S{}", 100 + number);
            }
            store.enrol(&attempt, now).await.unwrap();
            for state in [crate::model::DeliveryState::Offered, crate::model::DeliveryState::Taken] {
                store.record_delivery(&device.id, &digest, state, &by(now)).await.unwrap();
            }
        }
        assert_eq!([count("device.hardware").await, count("config.offer").await, count("config.taken").await], [6, 1, 1]);
        let later = NOW.after(Duration::from_secs(3700));
        store.enrol(&attempt(1, None), later).await.unwrap();
        store.record_delivery(&device.id, &digest, crate::model::DeliveryState::Offered, &by(later)).await.unwrap();
        assert_eq!([count("device.hardware").await, count("config.offer").await], [7, 2], "an hour later it is worth a line");
    }
}

on_both! {
    async fn a_full_queue_says_busy_and_keeps_nobody_else(db: Db) {
        let store = db.store().await;
        store.put_policy(&Policy { strangers: Strangers::Wait, pending_limit: 2 }, &kim()).await.unwrap();
        let words = [call(&store, 1, None).await, call(&store, 2, None).await, call(&store, 3, None).await, call(&store, 1, None).await];
        assert_eq!(words, ["pending", "pending", "busy", "pending"]);
        assert_eq!(store.overview(NOW).await.unwrap().pending, 2);
    }
}

on_both! {
    async fn a_device_is_asked_only_for_what_the_hub_needs(db: Db) {
        let store = db.store().await;
        let id = DeviceId::of(&attempt(1, None).key);
        let greet = async || {
            let greeting = store.greet(&id, &[1; 32]).await.unwrap();
            (greeting.state, greeting.ask_token, greeting.ask_inventory)
        };
        assert_eq!(greet().await, (None, true, true));
        let device = waiting(&store, 1).await;
        assert_eq!(greet().await, (Some(DeviceState::Pending), false, false));
        assert!(store.greet(&id, &[2; 32]).await.unwrap().ask_inventory);
        store.remove(&device.id, "stolen", &kim()).await.unwrap();
        assert_eq!(greet().await, (Some(DeviceState::Removed), false, false));
    }
}
