//! Devices that called, configurations for them, and what people do with both.

use api::hub::v1::Release;
use ed25519_dalek::SigningKey;
use http::{Method, StatusCode};
use hub::enrol::Attempt;
use hub::model::{Policy, Strangers, Time};
use machine_config::{DeviceId, PublicKey, sign};
use serde_json::{Value, json};

use crate::http::{Hub, kim};

pub fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

/// The fleet `acme`, as its `fleet.pub` says.
pub fn fleet() -> Value {
    json!({ "name": "acme", "keys": [PublicKey::try_from(key(99).verifying_key()).expect("strong").to_string()] })
}

/// A signed configuration for a device with this serial number.
pub fn config(generation: u64, serial: &str, signer: u8) -> Vec<u8> {
    let text = format!(
        "apiVersion: skerry.dev/v1alpha1\nkind: MachineConfig\nmetadata: {{name: a, fleet: acme, generation: {generation}}}\n\
         target: {{serial: \"{serial}\"}}\nmachine: {{hostname: a}}\n\
         api: {{clientCa: \"-----BEGIN CERTIFICATE-----\\nMAA=\\n-----END CERTIFICATE-----\"}}\n\
         k3s: {{role: agent, server: \"https://10.0.0.1:6443\", token: 0123456789abcdef-secret}}\n"
    );
    sign(text.as_bytes(), &key(signer)).expect("signed")
}

/// A device that called and waits.
pub async fn pending(hub: &Hub, number: u8, serial: &str) -> DeviceId {
    hub.store().put_policy(&Policy { strangers: Strangers::Wait, pending_limit: 100 }, &kim()).await.expect("written");
    let key = key(number).verifying_key();
    let hardware = api::v1::HardwareResponse { serial: serial.into(), ..Default::default() };
    let attempt = Attempt {
        key,
        name: format!("box-{number}"),
        fleet: "acme".into(),
        release: Release { version: "0.1.0".into(), board: "nuc".into(), ..Default::default() },
        config_generation: 0,
        config_digest: String::new(),
        token: None,
        inventory: Some((hardware, [number; 32])),
        address: "198.51.100.1".parse().expect("an address"),
    };
    hub.store().enrol(&attempt, Time::now()).await.expect("it may wait");
    DeviceId::of(&key)
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_are_found_approved_edited_and_removed() {
    let hub = Hub::start().await;
    let (one, two) = (pending(&hub, 1, "FZ0001").await, pending(&hub, 2, "FZ0002").await);
    let found = hub.get("/api/v1/devices?state=pending&search=fz0001").await;
    assert_eq!((&found["total"], &found["items"][0]["id"]), (&json!(1), &json!(one)));
    assert_eq!(found["items"][0]["inventory"], Value::Null, "lists are short");
    assert_eq!(hub.get(&format!("/api/v1/devices/{one}")).await["inventory"]["serial"], "FZ0001");
    let unknown = "0".repeat(64);
    let seen = |digest: &str| json!({ "ids": [one], "seen": { (one.as_str()): digest } });
    let changed = hub.post("/api/v1/devices/approve", seen("another")).await.json();
    assert_eq!(changed["results"][0]["code"], "changed", "it is not what somebody looked at");
    assert_eq!(hub.post("/api/v1/devices/approve", seen(&"01".repeat(32))).await.json()["results"][0]["state"], "admitted");
    let foreign = json!({ "ids": [two], "seen": { (one.as_str()): "" } });
    let foreign = hub.call(&hub.admin, Method::POST, "/api/v1/devices/approve", foreign).await;
    assert_eq!(foreign.refusal(), (422, "invalid".into()));
    let approved = hub.post("/api/v1/devices/approve", json!({ "ids": [one, unknown, two] })).await.json();
    let states: Vec<_> =
        approved["results"].as_array().unwrap().iter().map(|one| (one["state"].as_str(), one["code"].as_str())).collect();
    assert_eq!(
        states,
        [(Some("admitted"), None), (None, Some("not-found")), (Some("admitted"), None)],
        "one that fails takes no other along"
    );
    let edit = json!({ "name": "till-1", "labels": { "shop": "0421" }, "groups": ["shops"], "site": "Berlin" });
    let edited = hub.call(&hub.admin, Method::PATCH, &format!("/api/v1/devices/{one}"), edit).await.json();
    assert_eq!((&edited["name"], &edited["labels"]["shop"]), (&json!("till-1"), &json!("0421")));
    for query in ["label=shop%3D0421", "group=shops", "site=Berlin", "board=nuc&search=till", "healthy=false&group=shops"] {
        assert_eq!(hub.get(&format!("/api/v1/devices?{query}")).await["total"], 1, "{query}");
    }
    assert_eq!(hub.get("/api/v1/overview").await["admitted"], 2);
    hub.post("/api/v1/devices/quarantine", json!({ "ids": [two], "reason": "odd" })).await;
    hub.post("/api/v1/devices/remove", json!({ "ids": [two] })).await;
    let refused = hub.post("/api/v1/devices/approve", json!({ "ids": [two] })).await.json();
    assert_eq!(refused["results"][0]["code"], "state", "removal is final");
    let audited = hub.audited().await;
    for action in ["device.approve", "device.edit", "device.quarantine", "device.remove"] {
        assert!(audited.iter().any(|found| found == action), "{action}: {audited:?}");
    }
    assert!(hub.get(&format!("/api/v1/devices/{one}/events?limit=5")).await["items"].as_array().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_is_taken_shown_masked_assigned_and_followed() {
    let hub = Hub::start().await;
    let device = pending(&hub, 1, "FZ0001").await;
    hub.post("/api/v1/fleets", fleet()).await;
    hub.post("/api/v1/devices/approve", json!({ "ids": [device] })).await;
    let file = String::from_utf8(config(3, "FZ0001", 99)).unwrap();
    let upload = crate::http::request(Method::POST, "/api/v1/configs").header("authorization", format!("Bearer {}", hub.admin));
    let taken = hub.ask(upload.body(axum::body::Body::from(file)).unwrap()).await;
    assert_eq!(taken.status, StatusCode::CREATED);
    let digest = taken.json()["digest"].as_str().unwrap().to_owned();
    assert_eq!(taken.json()["target"], "serial FZ0001");
    let path = format!("/api/v1/configs/{digest}");
    hub.post(&format!("{path}/assignments"), json!({ "to": format!("device:{device}") })).await;
    let shown = hub.get(&path).await;
    assert_eq!((&shown["generation"], shown["assignments"].as_array().unwrap().len()), (&json!(3), 1));
    let masked = hub.call(&hub.admin, Method::GET, &format!("{path}/masked"), Value::Null).await;
    let masked = String::from_utf8(masked.body).unwrap();
    assert!(masked.contains("hostname: a") && !masked.contains("0123456789abcdef-secret"), "{masked}");
    let held = hub.call(&hub.admin, Method::DELETE, &path, Value::Null).await;
    assert_eq!(held.refusal(), (409, "in-use".into()));
    let back = format!("{path}/assignments?to=device:{device}");
    assert_eq!(hub.call(&hub.admin, Method::DELETE, &back, Value::Null).await.status, StatusCode::NO_CONTENT);
    assert_eq!(hub.call(&hub.admin, Method::DELETE, &path, Value::Null).await.status, StatusCode::NO_CONTENT);
    assert!(hub.get("/api/v1/configs").await["items"].as_array().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installer_sees_and_claims_one_device_and_nothing_else() {
    use hub::people::Role;
    let hub = Hub::start().await;
    let device = pending(&hub, 1, "FZ0001").await;
    let installer = hub.token(Role::Installer, &[]).await;
    let path = format!("/api/v1/claims/id/{device}");
    let refused = hub.call(&installer, Method::POST, &path, json!({ "site": "Shop 0421" })).await;
    assert_eq!(refused.refusal(), (403, "site".into()), "no site was given to them yet");
    let sites = json!({ "sites": ["Shop 0421", "Shop 0422"] });
    let given = hub.call(&hub.admin, Method::PUT, "/api/v1/installers/token:test-installer", sites.clone()).await;
    assert_eq!(given.status, StatusCode::NO_CONTENT);
    assert_eq!(hub.get("/api/v1/installers").await["items"][0]["sites"], sites["sites"]);
    for site in ["Elsewhere", "Shop 042", "shop 0421", "*"] {
        let refused = hub.call(&installer, Method::POST, &path, json!({ "site": site })).await;
        assert_eq!(refused.refusal(), (403, "site".into()), "{site}");
    }
    assert_eq!(hub.get(&format!("/api/v1/devices/{device}")).await["state"], "pending");
    let seen = hub.call(&installer, Method::GET, &path, Value::Null).await.json();
    assert_eq!((&seen["state"], &seen["inventory"]), (&json!("pending"), &Value::Null));
    let claimed = hub.call(&installer, Method::POST, &path, json!({ "site": "Shop 0421" })).await.json();
    assert_eq!((&claimed["state"], &claimed["site"]), (&json!("admitted"), &json!("Shop 0421")));
    let other = hub.call(&installer, Method::POST, &path, json!({ "site": "Shop 0422" })).await;
    assert_eq!(other.refusal(), (422, "invalid".into()), "it is claimed for another site of theirs");
    let none = hub.call(&hub.admin, Method::PUT, "/api/v1/installers/token:test-installer", json!({ "sites": [] })).await;
    assert_eq!(none.status, StatusCode::NO_CONTENT);
    let again = hub.call(&installer, Method::POST, &path, json!({ "site": "Shop 0421" })).await;
    assert_eq!(again.refusal(), (403, "site".into()), "what was taken away counts no more, at once");
    let everywhere = json!({ "sites": ["*"] });
    hub.call(&hub.admin, Method::PUT, "/api/v1/installers/token:test-installer", everywhere).await;
    let another = pending(&hub, 2, "FZ0002").await;
    let claimed =
        hub.call(&installer, Method::POST, &format!("/api/v1/claims/id/{another}"), json!({ "site": "Anywhere" })).await;
    assert_eq!(claimed.json()["state"], "admitted");
    let audited = hub.get("/api/v1/audit?action=installer.").await;
    assert_eq!(audited["items"][0]["details"], json!({ "installer": "token:test-installer", "sites": ["*"] }));
    assert_eq!(hub.call(&installer, Method::GET, "/api/v1/claims/serial/FZ0009", Value::Null).await.refusal().0, 404);
    assert_eq!(hub.call(&installer, Method::GET, "/api/v1/claims/size/9", Value::Null).await.refusal().0, 404);
    assert_eq!(
        hub.call(&installer, Method::GET, &format!("/api/v1/devices/{device}"), Value::Null).await.refusal(),
        (403, "role".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_for_a_replacement_is_for_admins_and_audited() {
    use hub::people::Role;
    let hub = Hub::start().await;
    let (old, new) = (pending(&hub, 1, "FZ0001").await, pending(&hub, 2, "FZ0002").await);
    hub.post("/api/v1/fleets", fleet()).await;
    hub.post("/api/v1/devices/approve", json!({ "ids": [old] })).await;
    let config = hub.store().put_config(&config(3, "FZ0001", 99), &kim()).await.unwrap();
    hub.post(&format!("/api/v1/configs/{}/assignments", config.digest), json!({ "to": format!("device:{old}") })).await;
    let path = format!("/api/v1/devices/{old}/replacement-draft?by={new}");
    let operator = hub.token(Role::Operator, &[]).await;
    assert_eq!(hub.call(&operator, Method::GET, &path, Value::Null).await.refusal(), (403, "role".into()));
    let draft = hub.call(&hub.admin, Method::GET, &path, Value::Null).await;
    let text = String::from_utf8(draft.body).unwrap();
    assert!(text.contains("FZ0002") && text.contains("generation: 4"), "{text}");
    let heir = hub.call(&operator, Method::POST, &format!("/api/v1/devices/{old}/replace"), json!({ "by": new })).await.json();
    assert_eq!(heir["state"], "admitted");
    assert_eq!(hub.get(&format!("/api/v1/devices/{old}")).await["state"], "removed");
    assert!(hub.audited().await.contains(&"config.draft".to_owned()));
}
