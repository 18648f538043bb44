//! Approval, refusal, removal, replacement, claims.

use super::*;
use crate::model::{AssignTo, Labels};

on_both! {
    async fn removal_is_final_even_when_the_box_is_gone(db: Db) {
        let store = db.store().await;
        let device = admitted(&store, 1).await;
        assert_eq!(call(&store, 1, None).await, "admitted");
        store.remove(&device.id, "stolen from the van", &kim()).await.unwrap();
        let (_, token) = store.create_token(NewToken::default(), &kim()).await.unwrap();
        let back = store.enrol(&attempt(1, Some(token.expose())), NOW).await.unwrap();
        let Verdict::Refused { code, message, retry_seconds } = back.verdict else { panic!("{:?}", back.verdict) };
        assert_eq!((code, retry_seconds), ("removed", 3600));
        assert!(message.contains("stolen from the van"), "{message}");
        let error = store.approve(&device.id, &kim()).await.unwrap_err();
        assert!(error.to_string().contains("final"), "{error}");
        assert_eq!(store.remove(&device.id, "", &kim()).await.unwrap().state, DeviceState::Removed);
        let filter = crate::model::AuditFilter { device: Some(device.id), action: Some("device.".into()), ..Default::default() };
        let actions: Vec<String> = store.audit(&filter).await.unwrap().into_iter().rev().map(|line| line.action).collect();
        assert_eq!(actions, ["device.enrol", "device.approve", "device.remove", "device.refused"]);
    }
}

on_both! {
    async fn a_quarantined_device_is_told_so_until_it_is_approved_again(db: Db) {
        let store = db.store().await;
        let device = admitted(&store, 1).await;
        assert_eq!(store.refuse(&device.id, "", &kim()).await.unwrap_err().code(), "state");
        store.quarantine(&device.id, "odd traffic", &kim()).await.unwrap();
        assert_eq!(call(&store, 1, None).await, "quarantined");
        store.approve(&device.id, &kim()).await.unwrap();
        assert_eq!(call(&store, 1, None).await, "admitted");
        let other = waiting(&store, 2).await;
        store.refuse(&other.id, "not ours", &kim()).await.unwrap();
        assert_eq!(call(&store, 2, None).await, "refused");
    }
}

on_both! {
    async fn the_new_device_takes_all_of_the_old_ones_place(db: Db) {
        let store = db.store().await;
        let (old, new) = (admitted(&store, 1).await, waiting(&store, 2).await);
        let labels = Labels::from([("shop".to_owned(), "7".to_owned())]);
        let edit = Edit { name: Some("store-7".into()), site: Some("Aarhus".into()), labels: Some(labels.clone()), groups: Some(vec!["north".into()]) };
        store.edit_device(&old.id, edit, &kim()).await.unwrap();
        let config = super::configs::upload(&store, 3, "any: true").await.unwrap();
        store.assign(&config.digest, AssignTo::Device(old.id.clone()), &kim()).await.unwrap();
        let yaml = store.replacement_draft(&old.id, &new.id).await.unwrap();
        assert!(yaml.contains("generation: 4") && !yaml.contains("kind: Signature"), "{yaml}");
        let heir = store.replace(&old.id, &new.id, &kim()).await.unwrap();
        assert_eq!((heir.name.as_deref(), heir.site.as_str(), heir.state), (Some("store-7"), "Aarhus", DeviceState::Admitted));
        assert_eq!((heir.labels, heir.groups), (labels, vec!["north".to_owned()]));
        let to = store.assignments(None).await.unwrap();
        assert_eq!((to.len(), &to[0].to), (1, &AssignTo::Device(new.id.clone())));
        assert_eq!(call(&store, 1, None).await, "removed");
        assert_eq!(store.replace(&old.id, &new.id, &kim()).await.unwrap_err().code(), "state");
        assert_eq!(store.replace(&new.id, &new.id, &kim()).await.unwrap_err().code(), "invalid");
    }
}

on_both! {
    async fn an_installer_claims_what_stands_before_him_and_no_more(db: Db) {
        let store = db.store().await;
        let claim = async |by: ClaimBy, site: &str| store.claim(Claim { by, site: site.into() }, &kim()).await;
        let with_token = waiting(&store, 1).await;
        let Claimed::Device(device) = claim(ClaimBy::Serial("S1".into()), "Oslo").await.unwrap() else { panic!("it called") };
        assert_eq!((device.state, device.site.as_str()), (DeviceState::Admitted, "Oslo"));
        assert_eq!(claim(ClaimBy::Id(with_token.id), "Bergen").await.unwrap_err().code(), "invalid");
        // Known by serial number before it called, without token: it waits, at its site.
        claim(ClaimBy::Serial("S2".into()), "Bergen").await.unwrap();
        let enrolled = store.enrol(&attempt(2, None), NOW).await.unwrap();
        assert_eq!((enrolled.verdict.word(), enrolled.device.unwrap().site.as_str()), ("pending", "Bergen"));
        // By the hash of its key: it is admitted when it calls.
        let id = machine_config::DeviceId::of(&attempt(3, None).key);
        claim(ClaimBy::Id(id), "Narvik").await.unwrap();
        assert_eq!(call(&store, 3, None).await, "admitted");
        assert_eq!(claim(ClaimBy::Name("nobody".into()), "Bergen").await.unwrap_err().code(), "not-found");
        assert_eq!(claim(ClaimBy::Name("box-2".into()), "").await.unwrap_err().code(), "invalid");
        // Two boxes with one serial number.
        let mut twin = attempt(4, None);
        twin.inventory.as_mut().unwrap().0.serial = "S1".into();
        let (_, token) = store.create_token(NewToken::default(), &kim()).await.unwrap();
        twin.token = Some(token);
        store.enrol(&twin, NOW).await.unwrap();
        assert_eq!(claim(ClaimBy::Serial("S1".into()), "Oslo").await.unwrap_err().code(), "ambiguous");
    }
}
