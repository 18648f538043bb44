//! Forms of the pages, as others than their own pages send them: with too small a role, without the login's word, from another site.

use axum::body::Body;
use http::{Method, StatusCode};
use hub::people::Role;

use crate::http::{Answer, Hub, request};
use crate::sessions::{COOKIE, csrf, sign_in};

/// What changes something, and who may.
fn actions() -> Vec<(String, Role)> {
    let (device, key) = ("ab".repeat(32), "ab".repeat(8));
    let admin = [
        "/rules".to_owned(),
        "/rules/policy".into(),
        "/rules/none/delete".into(),
        "/trust/fleets".into(),
        "/trust/fleets/none/delete".into(),
        "/trust/stations".into(),
        format!("/trust/stations/{key}/delete"),
        "/people/role".into(),
        "/people/sites".into(),
        "/people/lock".into(),
        "/people/tokens".into(),
        "/people/tokens/none/revoke".into(),
        "/images/phone-home".into(),
    ];
    let operator = [
        "/expected".to_owned(),
        "/expected/forget".into(),
        format!("/devices/{device}/replace"),
        format!("/devices/{device}"),
        "/devices".into(),
        "/tokens".into(),
        "/tokens/none/revoke".into(),
        "/images".into(),
        "/configs".into(),
    ];
    let admin = admin.into_iter().map(|path| (path, Role::Admin));
    admin.chain(operator.into_iter().map(|path| (path, Role::Operator))).collect()
}

async fn send(hub: &Hub, cookie: &str, path: &str, csrf: &str, origin: &str) -> Answer {
    let is_upload = ["/trust/fleets", "/expected", "/configs"].contains(&path);
    let (kind, body) = match is_upload {
        true => (
            "multipart/form-data; boundary=x",
            format!("--x\r\nContent-Disposition: form-data; name=\"csrf\"\r\n\r\n{csrf}\r\n--x--\r\n"),
        ),
        false => ("application/x-www-form-urlencoded", format!("csrf={csrf}")),
    };
    let request = request(Method::POST, path).header("cookie", format!("{COOKIE}={cookie}")).header("origin", origin);
    let mut request = request.body(Body::from(body)).unwrap();
    request.headers_mut().insert("content-type", kind.parse().unwrap());
    hub.ask(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_counts_from_its_own_page_and_from_who_may_alone() {
    let hub = Hub::start().await;
    let own = "https://hub.example";
    for role in Role::ALL {
        let cookie = sign_in(&hub, &hub.token(*role, &[]).await, "/").await.cookie(COOKIE).unwrap();
        let word = csrf(&hub, &cookie).await;
        for (path, needed) in actions() {
            let status = send(&hub, &cookie, &path, &word, own).await.status;
            assert_eq!(status == StatusCode::FORBIDDEN, !role.includes(needed), "{role}: {path}: {status}");
            assert!(!status.is_server_error(), "{role}: {path}: {status}");
            for (word, origin) in [("wrong", own), ("", own), (word.as_str(), "https://evil.example")] {
                let status = send(&hub, &cookie, &path, word, origin).await.status;
                assert_eq!(status, StatusCode::FORBIDDEN, "{role}: {path} from {origin} with `{word}`");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_read_only_behind_the_word_of_the_login() {
    let hub = Hub::start().await;
    let cookie = sign_in(&hub, &hub.admin, "/").await.cookie(COOKIE).unwrap();
    let word = csrf(&hub, &cookie).await;
    let csrf = format!("--x\r\nContent-Disposition: form-data; name=\"csrf\"\r\n\r\n{word}\r\n");
    let file = "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nno manifest\r\n";
    for (body, is_refused) in [(format!("{csrf}{file}--x--\r\n"), false), (format!("{file}{csrf}--x--\r\n"), true)] {
        let asked = request(Method::POST, "/expected").header("cookie", format!("{COOKIE}={cookie}"));
        let asked = asked.header("origin", "https://hub.example");
        let mut asked = asked.body(Body::from(body)).unwrap();
        asked.headers_mut().insert("content-type", "multipart/form-data; boundary=x".parse().unwrap());
        let answer = hub.ask(asked).await;
        let status = answer.status;
        assert_eq!(status == StatusCode::FORBIDDEN, is_refused, "{status}: {}", String::from_utf8_lossy(&answer.body));
        assert!(status.is_client_error(), "no manifest was taken for one: {status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_take_no_control_characters() {
    let hub = Hub::start().await;
    let cookie = sign_in(&hub, &hub.admin, "/").await.cookie(COOKIE).unwrap();
    for path in ["/devices?search=%00", "/claim/serial/FZ%00", "/audit?actor=a%0Ab", "/devices/%00"] {
        let get = request(Method::GET, path).header("cookie", format!("{COOKIE}={cookie}")).body(Body::empty()).unwrap();
        assert_eq!(hub.ask(get).await.status, StatusCode::BAD_REQUEST, "{path}");
    }
    let word = csrf(&hub, &cookie).await;
    let named = format!("{word}&name=a%00b&role=reader");
    assert_eq!(send(&hub, &cookie, "/people/tokens", &named, "https://hub.example").await.status, StatusCode::BAD_REQUEST);
}
