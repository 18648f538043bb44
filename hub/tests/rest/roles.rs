//! The table of routes, route by route and role by role.

use http::{Method, StatusCode};
use hub::auth::Allowance;
use hub::people::Role;
use hub::rest::{ROUTES, Route, Who};
use serde_json::Value;

use crate::http::{Hub, Setup, request};

/// A path with something in its parts' places.
fn filled(route: &Route) -> String {
    let id = "ab".repeat(32);
    let fills = [
        ("{device}", id.as_str()),
        ("{digest}", &id),
        ("{kind}", "serial"),
        ("{value}", "FZ1"),
        ("{id}", "none"),
        ("{name}", "none"),
        ("{key}", "name:none"),
        ("{actor}", "user:none"),
    ];
    fills.iter().fold(route.path.to_owned(), |path, (part, value)| path.replace(part, value))
}

fn is_allowed(route: &Route, role: Role) -> bool {
    match route.who {
        Who::Anybody | Who::Anyone => true,
        Who::Role(needed) => role.includes(needed),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_keeps_to_its_role() {
    let hub = Hub::start().await;
    for role in Role::ALL {
        let token = hub.token(*role, &[]).await;
        for route in ROUTES {
            let refusal = hub.call(&token, route.method.clone(), &filled(route), Value::Null).await.refusal();
            let is_refused = refusal == (403, "role".to_owned());
            assert_eq!(is_refused, !is_allowed(route, *role), "{role}: {} {}: {refusal:?}", route.method, route.path);
            assert_ne!(refusal.0, 500, "{} {}", route.method, route.path);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_anything_but_the_description() {
    let hub = Hub::start().await;
    for route in ROUTES {
        let answer = hub.ask(request(route.method.clone(), &filled(route)).body(axum::body::Body::empty()).unwrap()).await;
        match route.who {
            Who::Anybody => assert_eq!(answer.status, StatusCode::OK),
            Who::Anyone | Who::Role(_) => {
                assert_eq!(answer.refusal(), (401, "sign-in".into()), "{} {}", route.method, route.path);
                assert_eq!(answer.header("www-authenticate"), "Bearer");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limited_token_reaches_its_areas_and_no_others() {
    let hub = Hub::start().await;
    let token = hub.token(Role::Admin, &["devices:read"]).await;
    for route in ROUTES {
        let refusal = hub.call(&token, route.method.clone(), &filled(route), Value::Null).await.refusal();
        let is_own = matches!(route.who, Who::Anybody | Who::Anyone) || route.area.as_str() == "own";
        let reaches = is_own || (route.area.as_str() == "devices" && route.method == Method::GET);
        assert_eq!(refusal == (403, "scope".to_owned()), !reaches, "{} {}: {refusal:?}", route.method, route.path);
    }
    let maker = hub.token(Role::Admin, &["people", "devices:read"]).await;
    let make = async |scopes: Value| {
        let body = serde_json::json!({ "name": "child", "role": "admin", "scopes": scopes });
        hub.call(&maker, Method::POST, "/api/v1/api-tokens", body).await.refusal()
    };
    assert_eq!(make(serde_json::json!([])).await, (403, "scope".into()), "no token makes a greater one");
    assert_eq!(make(serde_json::json!(["devices"])).await, (403, "scope".into()));
    assert_eq!(make(serde_json::json!(["devices:read"])).await.0, 201);
    assert_eq!(make(serde_json::json!(["all"])).await, (422, "invalid".into()));
    for method in [Method::PUT, Method::PATCH] {
        let body = serde_json::json!({ "role": "admin", "locked": false });
        let given = hub.call(&maker, method.clone(), "/api/v1/users/kim", body).await.refusal();
        assert_eq!(given, (403, "scope".into()), "{method}: nor does it make somebody who may do more");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_may_only_look_opens_no_tunnel_and_one_for_images_makes_no_join_token() {
    let hub = Hub::start().await;
    let tunnel = format!("/api/v1/devices/{}/tunnel", "ab".repeat(32));
    let reading = hub.token(Role::Operator, &["tunnels:read"]).await;
    assert_eq!(hub.call(&reading, Method::GET, &tunnel, Value::Null).await.refusal(), (403, "scope".into()));
    let whole = hub.token(Role::Operator, &["tunnels"]).await;
    assert_ne!(hub.call(&whole, Method::GET, &tunnel, Value::Null).await.refusal(), (403, "scope".into()));
    let download = async |scopes: &[&str]| {
        let token = hub.token(Role::Operator, scopes).await;
        hub.call(&token, Method::POST, "/api/v1/images/none.img/downloads", serde_json::json!({ "deviceName": "box" }))
            .await
            .refusal()
    };
    assert_eq!(download(&["images"]).await, (403, "scope".into()));
    assert_ne!(download(&["images", "tokens"]).await, (403, "scope".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_counters_are_for_tokens_with_their_scope_and_every_call_is_counted() {
    let hub =
        Hub::with(Setup { allowance: Some(Allowance { address: 1, caller: 100, burst_seconds: 20 }), ..Setup::default() }).await;
    let ask = async |token: &str| hub.call(token, Method::GET, "/metrics", Value::Null).await;
    for (scopes, expected) in [(vec!["images"], 403), (vec!["metrics:read"], 200), (vec!["metrics"], 200), (vec![], 200)] {
        let token = hub.token(Role::Reader, &scopes).await;
        assert_eq!(ask(&token).await.status.as_u16(), expected, "{scopes:?}");
    }
    assert_eq!(ask("ska_nobody").await.status, StatusCode::UNAUTHORIZED);
    let mut last = StatusCode::OK;
    for _ in 0..40 {
        last = ask("ska_nobody").await.status;
    }
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS, "guesses are counted like any other call");
}
