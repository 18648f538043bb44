//! Logins in a browser: by token, their cookie, the login's word, pages of other sites, and how they end.

use std::time::Duration;

use axum::body::Body;
use axum::response::IntoResponse as _;
use http::{Method, StatusCode};
use hub::auth::Allowance;
use hub::people::Role;
use serde_json::{Value, json};

use crate::http::{Answer, Hub, Setup, request};

pub const COOKIE: &str = "__Host-skerry";

pub async fn sign_in(hub: &Hub, token: &str, next: &str) -> Answer {
    let form = request(Method::POST, "/sign-in/token").header("content-type", "application/x-www-form-urlencoded");
    let form = form.header("origin", "https://hub.example");
    let mut form = form.body(Body::from(format!("token={token}&next={next}"))).unwrap();
    form.headers_mut().insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
    hub.ask(form).await
}

/// The login's word.
pub async fn csrf(hub: &Hub, cookie: &str) -> String {
    let me = with_cookie(hub, cookie, Method::GET, "/api/v1/me", None).await.json();
    me["csrf"].as_str().expect("a word").to_owned()
}

async fn with_cookie(hub: &Hub, cookie: &str, method: Method, path: &str, csrf: Option<&str>) -> Answer {
    let mut request = request(method, path).header("cookie", format!("{COOKIE}={cookie}"));
    if let Some(csrf) = csrf {
        request = request.header("x-csrf-token", csrf);
    }
    hub.ask(request.body(Body::from(json!({ "ids": ["ab".repeat(32)] }).to_string())).unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_signs_in_with_a_token_and_changes_need_the_logins_word() {
    let hub = Hub::start().await;
    let token = hub.token(Role::Operator, &[]).await;
    let signed_in = sign_in(&hub, &token, "/devices?state=pending").await;
    assert_eq!((signed_in.status, signed_in.header("location")), (StatusCode::SEE_OTHER, "/devices?state=pending"));
    let line = signed_in.header("set-cookie");
    for part in ["Path=/", "HttpOnly", "Secure", "SameSite=Lax", "Max-Age=43200"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    let cookie = signed_in.cookie(COOKIE).unwrap();
    assert_ne!(cookie, token, "the token stays out of the browser");
    let me = with_cookie(&hub, &cookie, Method::GET, "/api/v1/me", None).await.json();
    assert_eq!((&me["actor"], &me["role"]), (&json!("token:test-operator"), &json!("operator")));
    let csrf = me["csrf"].as_str().unwrap();
    for wrong in [None, Some(""), Some("wrong")] {
        let answer = with_cookie(&hub, &cookie, Method::POST, "/api/v1/devices/approve", wrong).await;
        assert_eq!(answer.refusal(), (403, "csrf".into()));
    }
    let answer = with_cookie(&hub, &cookie, Method::POST, "/api/v1/devices/approve", Some(csrf)).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(with_cookie(&hub, &cookie, Method::GET, "/api/v1/users", None).await.refusal(), (403, "role".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_opens_no_page_and_makes_itself_no_wider_token_there() {
    let hub = Hub::start().await;
    let limited = hub.token(Role::Admin, &["people"]).await;
    let before = hub.get("/api/v1/api-tokens").await;
    for token in [&limited, &hub.admin] {
        let mut form = request(Method::POST, "/people/tokens")
            .header("authorization", format!("Bearer {token}"))
            .body(Body::from("name=x&role=admin&scopes="))
            .unwrap();
        form.headers_mut().insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
        let answer = hub.ask(form).await;
        assert_eq!((answer.status, answer.header("location")), (StatusCode::SEE_OTHER, "/sign-in?next=%2F"));
        let page = hub.call(token, Method::GET, "/devices", Value::Null).await;
        assert_eq!(page.header("location"), "/sign-in?next=%2Fdevices");
    }
    let after = hub.get("/api/v1/api-tokens").await;
    assert_eq!(before["items"].as_array().unwrap().len(), after["items"].as_array().unwrap().len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_site_can_neither_sign_in_nor_open_a_connection() {
    let hub = Hub::start().await;
    let foreign = request(Method::POST, "/sign-in/token")
        .header("origin", "https://evil.example")
        .body(Body::from(format!("token={}", hub.admin)));
    let mut foreign = foreign.unwrap();
    foreign.headers_mut().insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
    let answer = hub.ask(foreign).await;
    assert!(answer.header("location").starts_with("/sign-in?error=origin") && answer.cookie(COOKIE).is_none());
    let cookie = sign_in(&hub, &hub.admin, "/").await.cookie(COOKIE).unwrap();
    let socket = |origin: &str| {
        let path = format!("/api/v1/devices/{}/tunnel", "ab".repeat(32));
        let request = request(Method::GET, &path).header("cookie", format!("{COOKIE}={cookie}")).header("origin", origin);
        let request =
            request.header("connection", "upgrade").header("upgrade", "websocket").header("sec-websocket-version", "13");
        hub.ask(request.header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==").body(Body::empty()).unwrap())
    };
    assert_eq!(socket("https://evil.example").await.refusal(), (403, "origin".into()));
    assert_ne!(socket("https://hub.example").await.refusal().1, "origin");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_never_ends_is_answered_in_time_without_anybody_having_signed_in() {
    let hub = Hub::with(Setup { request_time: Some(Duration::from_millis(200)), ..Setup::default() }).await;
    let endless = Body::from_stream(futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    let mut form = request(Method::POST, "/sign-in/token").body(endless).unwrap();
    form.headers_mut().insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
    let answer = tokio::time::timeout(Duration::from_secs(10), hub.ask(form)).await.expect("an answer");
    assert_eq!((answer.refusal(), answer.header("x-frame-options")), ((408, "slow".into()), "DENY"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_sign_in_is_told_by_a_code_and_nobody_is_sent_elsewhere() {
    let hub = Hub::start().await;
    let wrong = sign_in(&hub, "ska_wrong", "/devices%26x").await;
    assert_eq!(wrong.header("location"), "/sign-in?error=credentials&next=/devices%26x");
    let limited = hub.token(Role::Admin, &["devices"]).await;
    assert!(sign_in(&hub, &limited, "/").await.header("location").starts_with("/sign-in?error=limited"));
    assert_eq!(sign_in(&hub, &hub.admin, "//evil.example").await.header("location"), "/");
    let oidc = hub.ask(request(Method::GET, "/sign-in/oidc").body(Body::empty()).unwrap()).await;
    assert!(oidc.header("location").starts_with("/sign-in?error=no-provider"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_ends_with_signing_out_and_with_its_token() {
    let hub = Hub::start().await;
    let cookie = sign_in(&hub, &hub.admin, "/").await.cookie(COOKIE).unwrap();
    let me = with_cookie(&hub, &cookie, Method::GET, "/api/v1/me", None).await.json();
    assert_eq!(me["actor"], "admin-token");
    let out = |csrf: String| {
        let mut form = request(Method::POST, "/sign-out")
            .header("cookie", format!("{COOKIE}={cookie}"))
            .body(Body::from(format!("csrf={csrf}")))
            .unwrap();
        form.headers_mut().insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
        hub.ask(form)
    };
    assert!(out("wrong".into()).await.header("location").contains("error=csrf"));
    assert_eq!(out(me["csrf"].as_str().unwrap().into()).await.header("location"), "/sign-in");
    assert_eq!(with_cookie(&hub, &cookie, Method::GET, "/api/v1/me", None).await.refusal(), (401, "login-over".into()));
    let made = hub.post("/api/v1/api-tokens", json!({ "name": "ci", "role": "reader" })).await.json();
    let cookie = sign_in(&hub, made["text"].as_str().unwrap(), "/").await.cookie(COOKIE).unwrap();
    assert_eq!(with_cookie(&hub, &cookie, Method::GET, "/api/v1/overview", None).await.status, StatusCode::OK);
    let path = format!("/api/v1/api-tokens/{}", made["token"]["id"].as_str().unwrap());
    assert_eq!(hub.call(&hub.admin, Method::DELETE, &path, Value::Null).await.status, StatusCode::NO_CONTENT);
    assert_eq!(with_cookie(&hub, &cookie, Method::GET, "/api/v1/overview", None).await.refusal(), (401, "login-over".into()));
    let token = made["text"].as_str().unwrap();
    assert_eq!(hub.call(token, Method::GET, "/api/v1/overview", Value::Null).await.refusal(), (401, "credentials".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_too_often_is_told_to_wait_and_others_are_served() {
    let allowance = Allowance { address: 20, caller: 2, burst_seconds: 2 };
    let hub = Hub::with(Setup { allowance: Some(allowance), ..Setup::default() }).await;
    let mut counts = [0; 2];
    for _ in 0..30 {
        let answer = hub.call(&hub.admin, Method::GET, "/api/v1/me", Value::Null).await;
        counts[usize::from(answer.status == StatusCode::OK)] += 1;
        if answer.status != StatusCode::OK {
            assert_eq!(answer.refusal(), (429, "often".into()));
            assert!(answer.header("retry-after").parse::<u32>().unwrap() >= 1);
        }
    }
    assert!(counts[1] >= 4 && counts[0] >= 15, "{counts:?}");
    let stranger = || request(Method::GET, "/api/v1/openapi.json").body(Body::empty()).unwrap();
    let from = async |address: &str| hub.ask_from(address, stranger()).await.into_response().status();
    let mut refused = 0;
    for _ in 0..100 {
        refused += u32::from(from("203.0.113.5").await == StatusCode::TOO_MANY_REQUESTS);
    }
    assert!(refused > 30, "{refused}");
    assert_eq!(from("203.0.113.6").await, StatusCode::OK);
}
