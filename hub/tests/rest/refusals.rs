//! What every refusal says: its status and its code, which programs go by.

use axum::body::Body;
use http::Method;
use hub::people::Role;
use serde_json::{Value, json};

use crate::devices::{config, fleet, key, pending};
use crate::http::{Hub, kim, request};

async fn upload(hub: &Hub, file: Vec<u8>) -> (u16, String) {
    let request = request(Method::POST, "/api/v1/configs").header("authorization", format!("Bearer {}", hub.admin));
    hub.ask(request.body(Body::from(file)).unwrap()).await.refusal()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_devices_would_refuse_is_refused_with_their_code() {
    let hub = Hub::start().await;
    assert_eq!(upload(&hub, config(1, "FZ0001", 99)).await, (422, "no-fleet".into()));
    hub.post("/api/v1/fleets", fleet()).await;
    assert_eq!(upload(&hub, config(1, "FZ0001", 99)).await, (422, "target-unknown".into()));
    pending(&hub, 1, "FZ0001").await;
    assert_eq!(upload(&hub, config(1, "FZ0001", 98)).await, (422, "key-unknown".into()));
    let mut forged = config(1, "FZ0001", 99);
    let at = forged.windows(11).position(|word| word == b"hostname: a").unwrap();
    forged[at + 10] = b'b';
    assert_eq!(upload(&hub, forged).await, (422, "signature".into()));
    assert_eq!(upload(&hub, b"hello".to_vec()).await.0, 422);
    assert_eq!(upload(&hub, vec![b'x'; 300 << 10]).await, (422, "size".into()));
    assert_eq!(upload(&hub, vec![b'x'; 600 << 10]).await, (413, "too-large".into()));
    assert_eq!(upload(&hub, config(1, "FZ0001", 99)).await.0, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_wrong_request_has_its_code() {
    let hub = Hub::start().await;
    let device = pending(&hub, 1, "FZ0001").await;
    let twin = pending(&hub, 2, "FZ0001").await;
    let id = "ab".repeat(32);
    let (get, post, delete) = (Method::GET, Method::POST, Method::DELETE);
    let name = |path: &str| format!("/api/v1/{path}");
    let cases = [
        (&get, name("nothing"), Value::Null, 404, "not-found"),
        (&Method::PUT, name("me"), Value::Null, 405, "method"),
        (&get, name("devices?colour=red"), Value::Null, 400, "malformed"),
        (&get, name("devices?state=happy"), Value::Null, 400, "malformed"),
        (&get, name("devices?label=shop"), Value::Null, 400, "malformed"),
        (&get, name("devices/xyz"), Value::Null, 400, "malformed"),
        (&get, name(&format!("devices/{id}")), Value::Null, 404, "not-found"),
        (&post, name("devices/approve"), json!({ "ids": [] }), 422, "invalid"),
        (&post, name("devices/approve"), json!({ "ids": [id], "force": true }), 422, "malformed"),
        (&post, name("devices/approve"), json!("all"), 422, "malformed"),
        (&Method::PATCH, name(&format!("devices/{device}")), json!({ "labels": { "a b": "c" } }), 422, "invalid"),
        (&Method::PATCH, name(&format!("devices/{device}")), json!({ "name": "two words" }), 422, "invalid"),
        (&post, name(&format!("devices/{device}/replace")), json!({ "by": device }), 422, "invalid"),
        (&get, name(&format!("devices/{device}/replacement-draft?by={twin}")), Value::Null, 404, "not-found"),
        (&post, name("claims/serial/FZ0001"), json!({ "site": "Shop" }), 409, "ambiguous"),
        (&post, name(&format!("claims/id/{device}")), json!({ "site": "" }), 422, "invalid"),
        (&post, name("tokens"), json!({ "uses": 200_000 }), 422, "invalid"),
        (&post, name("tokens"), json!({ "expiresAt": "2020-01-01T00:00:00Z" }), 422, "invalid"),
        (&post, name("tokens"), json!({ "expiresAt": "tomorrow" }), 422, "malformed"),
        (&get, name("tokens/none"), Value::Null, 404, "not-found"),
        (&delete, name("tokens/none"), Value::Null, 404, "not-found"),
        (&post, name("fleets"), json!({ "name": "acme", "keys": [] }), 422, "invalid"),
        (&post, name("fleets"), json!({ "name": "acme" }), 422, "invalid"),
        (&delete, name("fleets/none"), Value::Null, 404, "not-found"),
        (&post, name("stations"), json!({ "name": "bench", "key": "xy" }), 422, "malformed"),
        (&delete, name(&format!("stations/{}", "ab".repeat(8))), Value::Null, 404, "not-found"),
        (&get, name(&format!("configs/{id}")), Value::Null, 404, "not-found"),
        (&get, name("configs/xyz"), Value::Null, 400, "malformed"),
        (&post, name(&format!("configs/{id}/assignments")), json!({ "to": "everybody" }), 422, "malformed"),
        (&post, name(&format!("configs/{id}/assignments")), json!({ "to": "group:shops" }), 404, "not-found"),
        (&delete, name(&format!("configs/{id}/assignments?to=group:shops")), Value::Null, 404, "not-found"),
        (&post, name("rules"), json!({ "name": "two words", "kind": "manifest" }), 422, "invalid"),
        (&post, name("rules"), json!({ "name": "a", "kind": { "serials": [] } }), 422, "invalid"),
        (&delete, name("rules/none"), Value::Null, 404, "not-found"),
        (&Method::PUT, name("policy"), json!({ "strangers": "kill" }), 422, "malformed"),
        (&post, name("manifests"), json!({}), 422, "manifest"),
        (&delete, name("expected/serial:none"), Value::Null, 404, "not-found"),
        (&post, name("api-tokens"), json!({ "name": "", "role": "reader" }), 422, "invalid"),
        (&post, name("api-tokens"), json!({ "name": "a", "role": "boss" }), 422, "malformed"),
        (&delete, name("api-tokens/none"), Value::Null, 404, "not-found"),
        (&get, name("images"), Value::Null, 404, "not-found"),
        (&get, name("devices?search=%00"), Value::Null, 400, "malformed"),
        (&get, name("devices?site=a%0Ab"), Value::Null, 400, "malformed"),
        (&get, name("tokens/%00"), Value::Null, 400, "malformed"),
        (&delete, name("rules/a%1Fb"), Value::Null, 400, "malformed"),
        (&get, name("claims/serial/FZ%00"), Value::Null, 400, "malformed"),
        (&post, name("claims/name/%7F"), json!({ "site": "Shop" }), 400, "malformed"),
        (&post, name("tokens"), json!({ "binding": { "serial": "FZ\0" } }), 400, "malformed"),
        (&post, name(&format!("claims/id/{device}")), json!({ "site": "\0" }), 400, "malformed"),
        (&Method::PUT, name("installers/kim"), json!({ "sites": [] }), 422, "invalid"),
        (&Method::PATCH, name("users/none"), json!({ "locked": true }), 404, "not-found"),
        (&Method::PATCH, name("users/none"), json!({ "role": "boss" }), 422, "malformed"),
        (&Method::PUT, name("phone-home"), json!({ "fallbacks": ["http://a"] }), 422, "invalid"),
        (&Method::PUT, name("phone-home"), json!({ "fallbacks": ["https://hub.example"] }), 422, "invalid"),
        (&Method::PUT, name("phone-home"), json!({ "proxy": { "url": "http://p:1", "user": "kim" } }), 422, "invalid"),
        (&get, name("downloads/skd_none"), Value::Null, 404, "not-found"),
    ];
    for (method, path, body, status, code) in cases {
        let answer = hub.call(&hub.admin, method.clone(), &path, body).await;
        assert_eq!(answer.refusal(), (status, code.to_owned()), "{method} {path}: {}", String::from_utf8_lossy(&answer.body));
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(!message.is_empty() && !message.contains('\n') && message.len() < 700, "{message}");
        for (name, value) in [("x-content-type-options", "nosniff"), ("cache-control", "no-store"), ("x-frame-options", "DENY")] {
            assert_eq!(answer.header(name), value, "{path}");
        }
        assert!(answer.header("content-security-policy").contains("default-src 'none'"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_do_not_count_are_refused() {
    let hub = Hub::start().await;
    for header in ["Bearer ska_wrong", "Basic a2ltOnB3", "Bearer", "x"] {
        let request = request(Method::GET, "/api/v1/me").header("authorization", header).body(Body::empty()).unwrap();
        assert_eq!(hub.ask(request).await.refusal(), (401, "credentials".into()), "{header}");
    }
    let cookie = request(Method::GET, "/api/v1/me").header("cookie", "__Host-skerry=skl_x").body(Body::empty()).unwrap();
    assert_eq!(hub.ask(cookie).await.refusal(), (401, "login-over".into()));
    let new = hub::store::NewApiToken {
        name: "brief".into(),
        role: Role::Reader,
        scopes: Default::default(),
        expires_at: Some(hub::model::Time::now().after(std::time::Duration::from_millis(300))),
    };
    let (_, text) = hub.store().create_api_token(new, &Default::default(), &kim()).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(400)).await;
    assert_eq!(hub.call(text.expose(), Method::GET, "/api/v1/me", Value::Null).await.refusal(), (401, "credentials".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_shown_once_and_written_nowhere() {
    let hub = Hub::start().await;
    let join = hub.post("/api/v1/tokens", json!({ "name": "shop", "binding": { "serial": "FZ1" } })).await.json();
    let api = hub.post("/api/v1/api-tokens", json!({ "name": "ci", "role": "reader" })).await.json();
    let texts = [join["text"].as_str().unwrap(), api["text"].as_str().unwrap(), hub.admin.as_str()];
    assert!(texts[0].starts_with("skj_") && texts[1].starts_with("ska_"));
    for path in ["tokens", "api-tokens", "audit?limit=500"] {
        let shown = hub.get(&format!("/api/v1/{path}")).await.to_string();
        assert!(!texts.iter().any(|text| shown.contains(text)), "{path}");
    }
    for entry in std::fs::read_dir(hub.folder.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!texts.iter().any(|text| bytes.windows(text.len()).any(|window| window == text.as_bytes())));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_of_an_unknown_station_is_not_believed_and_a_known_one_is() {
    use imager::stamp::manifest::{BaseEntry, DeviceEntry, DeviceFacts, ImageEntry, Manifest, SeedEntry, TokenOrigin};
    let hub = Hub::start().await;
    let digest = imager::image::digest::Digest::of(b"x");
    let facts = DeviceFacts {
        device: DeviceEntry {
            name: "till-1".parse().unwrap(),
            serial: Some("FZ0001".into()),
            mac: None,
            labels: Default::default(),
        },
        identity: None,
        seed: SeedEntry {
            sha256: digest,
            fleet: "acme".parse().unwrap(),
            hub: None,
            join_token: TokenOrigin::None,
            join_token_sha256: None,
            config_sha256: None,
        },
    };
    let base = BaseEntry { version: "0.1.0".into(), board: "nuc".into(), sha256: digest, blank_sha256: digest };
    let text = Manifest::new(base, facts, ImageEntry { bytes: 1, sha256: digest }, &key(5)).sign(&key(5));
    let import = async || {
        let request = request(Method::POST, "/api/v1/manifests").header("authorization", format!("Bearer {}", hub.admin));
        hub.ask(request.body(Body::from(text.clone())).unwrap()).await
    };
    assert_eq!(import().await.refusal(), (422, "station-unknown".into()));
    let log = request(Method::POST, "/api/v1/records").header("authorization", format!("Bearer {}", hub.admin));
    assert_eq!(hub.ask(log.body(Body::from("no log\n")).unwrap()).await.refusal(), (422, "log".into()));
    let station = machine_config::PublicKey::try_from(key(5).verifying_key()).unwrap();
    hub.post("/api/v1/stations", json!({ "name": "bench", "key": station })).await;
    assert_eq!(import().await.json(), json!({ "added": 1, "updated": 0, "tokens": 0, "unrecognisable": [] }));
    assert_eq!(hub.get("/api/v1/expected").await["items"][0]["serial"], "FZ0001");
}
