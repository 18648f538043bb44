//! Images: listed, downloaded as they are, and stamped on the way, byte for byte what the imager's own stamp gives.

use axum::body::Body;
use http::{Method, StatusCode};
use hub::people::Role;
use imager::stamp::base::Opened;
use machine_config::seed;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::devices::fleet;
use crate::http::{Answer, Hub, Setup, URL, request};
use crate::image;

struct Place {
    hub: Hub,
    folder: tempfile::TempDir,
}

impl Place {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        image::write(&folder.path().join("nuc.img"));
        std::fs::write(folder.path().join("plain.img.zst"), "compressed").unwrap();
        let hub = Hub::with(Setup { images: Some(folder.path().to_owned()), ..Setup::default() }).await;
        hub.post("/api/v1/fleets", fleet()).await;
        let place = Self { hub, folder };
        place.write_hash();
        place
    }

    fn write_hash(&self) {
        let hash = hex::encode(Sha256::digest(self.base()));
        std::fs::write(self.folder.path().join("nuc.img.sha256"), format!("{hash}  nuc.img\n")).unwrap();
    }

    fn base(&self) -> Vec<u8> {
        std::fs::read(self.folder.path().join("nuc.img")).unwrap()
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let start = request(Method::GET, path).header("authorization", format!("Bearer {}", self.hub.admin));
        let request = headers.iter().fold(start, |request, (name, value)| request.header(*name, *value));
        self.hub.ask(request.body(Body::empty()).unwrap()).await
    }

    async fn download(&self) -> Value {
        let new = json!({ "deviceName": "till-1", "labels": { "shop": "0421" }, "binding": { "serial": "FZ1" } });
        self.hub.post("/api/v1/images/nuc.img/downloads", new).await.json()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stamped_image_is_what_the_imager_stamps() {
    let place = Place::new().await;
    let made = place.download().await;
    assert_eq!((&made["name"], &made["bytes"]), (&json!("till-1.img"), &json!(image::BYTES)));
    let got = place.get(made["path"].as_str().unwrap(), &[]).await;
    assert_eq!((got.status, got.header("content-length")), (StatusCode::OK, image::BYTES.to_string().as_str()));
    assert_eq!(got.header("content-disposition"), "attachment; filename=\"till-1.img\"");

    let opened = Opened::open(&place.folder.path().join("nuc.img")).unwrap();
    let at = opened.seed();
    let stamped = &got.body[at.start as usize..at.end as usize];
    let decoded = seed::decode(stamped).unwrap().seed;
    assert_eq!(seed::encode(&decoded).unwrap(), stamped, "SEED in its one form");
    let image = opened.image();
    let digests =
        imager::stamp::hash::digests(&image, &image.hash_before().unwrap(), &[stamped.to_vec()], |bytes| bytes.as_slice().into())
            .unwrap();
    assert_eq!(digests[0].hex(), hex::encode(Sha256::digest(&got.body)), "the imager's own digest of the stamped image");
    let mut expected = place.base();
    expected[at.start as usize..at.end as usize].copy_from_slice(stamped);
    assert!(expected == got.body, "and nothing else differs");

    assert_eq!(decoded.hub.as_ref().unwrap().url, URL);
    assert_eq!(decoded.hub.as_ref().unwrap().pin, place.hub.running.pin());
    assert_eq!(decoded.device_name.as_ref().unwrap().as_str(), "till-1");
    assert_eq!(serde_json::to_value(&decoded.fleet).unwrap(), fleet());
    let token = decoded.join_token.unwrap();
    let tokens = place.hub.get("/api/v1/tokens").await;
    assert_eq!(tokens["items"][0]["id"], hex::encode(&Sha256::digest(token.expose())[..6]), "the token counts at this hub");
    assert_eq!((&tokens["items"][0]["usesLeft"], &tokens["items"][0]["binding"]["serial"]), (&json!(1), &json!("FZ1")));
    assert!(!tokens.to_string().contains(token.expose()) && !made.to_string().contains(token.expose()));
    assert!(place.hub.audited().await.contains(&"image.download".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stamped_device_is_told_of_the_hubs_other_addresses_and_of_the_proxy() {
    let place = Place::new().await;
    let proxy = json!({ "url": "http://proxy.example:3128", "user": "kim", "password": "pa55word" });
    let set = json!({ "fallbacks": ["https://10.0.0.1:8443"], "proxy": proxy });
    let put = async |set: &Value| place.hub.call(&place.hub.admin, Method::PUT, "/api/v1/phone-home", set.clone()).await.status;
    assert_eq!(put(&set).await, StatusCode::NO_CONTENT);
    let shown = place.hub.get("/api/v1/phone-home").await;
    assert_eq!((&shown["fallbacks"], &shown["proxy"]["user"]), (&set["fallbacks"], &json!("kim")));
    // The page and its form know no password, and leave it as it is.
    assert_eq!(put(&shown).await, StatusCode::NO_CONTENT);
    let made = place.download().await;
    let got = place.get(made["path"].as_str().unwrap(), &[]).await;
    let at = Opened::open(&place.folder.path().join("nuc.img")).unwrap().seed();
    let hub = seed::decode(&got.body[at.start as usize..at.end as usize]).unwrap().seed.hub.unwrap();
    assert_eq!((hub.url.as_str(), hub.fallbacks), (URL, vec!["https://10.0.0.1:8443".to_owned()]));
    let proxy = hub.proxy.unwrap();
    assert_eq!((proxy.url.as_str(), proxy.user.as_deref()), ("http://proxy.example:3128", Some("kim")));
    assert_eq!(proxy.password.unwrap().expose(), "pa55word");
    let told = [shown.to_string(), place.hub.get("/api/v1/audit?limit=500").await.to_string(), made.to_string()];
    assert!(told.iter().all(|text| !text.contains("pa55word")), "it is told to devices alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_without_a_hash_beside_it_is_listed_with_one() {
    let place = Place::new().await;
    std::fs::remove_file(place.folder.path().join("nuc.img.sha256")).unwrap();
    let listed = place.hub.get("/api/v1/images").await;
    assert_eq!(listed["items"][0]["sha256"], hex::encode(Sha256::digest(place.base())).as_str());
    assert_eq!(listed["items"][0]["stampable"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_goes_on_where_it_broke_off() {
    let place = Place::new().await;
    let made = place.download().await;
    let path = made["path"].as_str().unwrap();
    let whole = place.get(path, &[]).await;
    let etag = whole.header("etag").to_owned();
    let seed = 2048 * 512;
    let cases = [
        0..1,
        0..700_000,
        seed - 1..seed + 1,
        seed..seed + (1 << 20),
        seed + (1 << 20) - 1..seed + (1 << 20) + 1,
        3_000_000..image::BYTES,
    ];
    for part in cases {
        let range = format!("bytes={}-{}", part.start, part.end - 1);
        let got = place.get(path, &[("range", &range), ("if-range", &etag)]).await;
        assert_eq!(got.status, StatusCode::PARTIAL_CONTENT, "{range}");
        assert_eq!(got.header("content-range"), format!("bytes {}-{}/{}", part.start, part.end - 1, image::BYTES));
        assert!(got.body == whole.body[part.start as usize..part.end as usize], "{range}");
    }
    let beyond = place.get(path, &[("range", "bytes=99999999-")]).await;
    assert_eq!(
        (beyond.status, beyond.header("content-range")),
        (StatusCode::RANGE_NOT_SATISFIABLE, format!("bytes */{}", image::BYTES).as_str())
    );
    let other = place.get(path, &[("range", "bytes=5-9"), ("if-range", "\"other\"")]).await;
    assert_eq!(other.status, StatusCode::OK, "bytes of another image are not put together with these");
    assert_eq!(place.get(path, &[("if-none-match", &etag)]).await.status, StatusCode::NOT_MODIFIED);
    let head =
        request(Method::HEAD, path).header("authorization", format!("Bearer {}", place.hub.admin)).body(Body::empty()).unwrap();
    let head = place.hub.ask(head).await;
    assert_eq!((head.header("content-length"), head.body.len()), (image::BYTES.to_string().as_str(), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn images_are_listed_and_downloaded_as_they_are() {
    let place = Place::new().await;
    let listed = place.hub.get("/api/v1/images").await;
    let hash = hex::encode(Sha256::digest(place.base()));
    assert_eq!(listed["items"][0]["sha256"], hash.as_str());
    assert_eq!(listed["items"].as_array().unwrap().len(), 1, "what cannot be stamped is not shown");
    let got = place.get("/api/v1/images/nuc.img", &[]).await;
    assert!(got.body == place.base() && got.header("etag") == format!("\"{hash}\""));
    assert!(place.get("/api/v1/images/nuc.img.sha256", &[]).await.body.starts_with(hash.as_bytes()));
    for path in ["..%2Fhub.key", "%2Fetc%2Fpasswd", ".", "none.img", "plain.img.zst"] {
        assert_eq!(place.get(&format!("/api/v1/images/{path}"), &[]).await.refusal(), (404, "not-found".into()), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_stamped_is_refused_before_a_token_is_made() {
    let place = Place::new().await;
    let ask = async |image: &str, new: Value| {
        place.hub.call(&place.hub.admin, Method::POST, &format!("/api/v1/images/{image}/downloads"), new).await.refusal()
    };
    assert_eq!(ask("plain.img.zst", json!({})).await, (422, "not-stampable".into()));
    assert_eq!(ask("none.img", json!({})).await, (404, "not-found".into()));
    assert_eq!(ask("nuc.img", json!({ "fleet": "rival" })).await, (422, "fleet-unknown".into()));
    assert_eq!(ask("nuc.img", json!({ "deviceName": "two words" })).await, (422, "invalid".into()));
    assert_eq!(ask("nuc.img", json!({ "tokenExpiresAt": "2020-01-01T00:00:00Z" })).await, (422, "invalid".into()));
    let reader = place.hub.token(Role::Reader, &[]).await;
    let refused = place.hub.call(&reader, Method::POST, "/api/v1/images/nuc.img/downloads", json!({})).await;
    assert_eq!(refused.refusal(), (403, "role".into()));
    let made = place.download().await;
    let path = made["path"].as_str().unwrap();
    assert_eq!(
        place.hub.call(&reader, Method::GET, path, Value::Null).await.refusal(),
        (403, "role".into()),
        "the token inside is an operator's"
    );
    let mut changed = place.base();
    changed[3 << 20] ^= 1;
    std::fs::write(place.folder.path().join("nuc.img"), changed).unwrap();
    assert_eq!(place.get(path, &[]).await.refusal(), (409, "image-damaged".into()));
    assert_eq!(ask("nuc.img", json!({})).await, (409, "image-damaged".into()));
    place.write_hash();
    assert_eq!(place.get(path, &[]).await.refusal(), (410, "image-changed".into()));
    assert_eq!(place.hub.get("/api/v1/tokens").await["items"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_is_its_makers_and_ends_with_its_token() {
    let place = Place::new().await;
    let made = place.download().await;
    let path = made["path"].as_str().unwrap();
    let other = place.hub.token(Role::Operator, &[]).await;
    assert_eq!(place.hub.call(&other, Method::GET, path, Value::Null).await.refusal(), (404, "not-found".into()));
    assert_eq!(place.get(path, &[]).await.status, StatusCode::OK);
    let token = format!("/api/v1/tokens/{}", made["token"]["id"].as_str().unwrap());
    let revoked = place.hub.call(&place.hub.admin, Method::DELETE, &token, Value::Null).await;
    assert_eq!(revoked.status, StatusCode::NO_CONTENT);
    assert_eq!(place.get(path, &[]).await.refusal(), (404, "not-found".into()), "nobody needs an image that joins nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_does_not_know_its_address_stamps_nothing() {
    let folder = tempfile::tempdir().unwrap();
    image::write(&folder.path().join("nuc.img"));
    let hub = Hub::with(Setup { images: Some(folder.path().to_owned()), without_url: true, ..Setup::default() }).await;
    let refused = hub.call(&hub.admin, Method::POST, "/api/v1/images/nuc.img/downloads", json!({})).await;
    assert_eq!(refused.refusal(), (409, "no-url".into()));
}
