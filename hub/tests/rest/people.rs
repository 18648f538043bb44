//! What admins say of people, one thing at a time; and lists that are longer than a page.

use http::{Method, StatusCode};
use hub::people::Role;
use hub::store::NewToken;
use serde_json::{Value, json};

use crate::http::{Hub, kim};

#[tokio::test(flavor = "multi_thread")]
async fn a_role_and_a_lock_are_said_without_one_another() {
    let hub = Hub::start().await;
    let patch = async |body: Value| hub.call(&hub.admin, Method::PATCH, "/api/v1/users/kim", body).await.status;
    let stands = async || {
        let people = hub.get("/api/v1/users").await;
        (people["items"][0]["role"].clone(), people["items"][0]["locked"].clone(), people["total"].clone())
    };
    assert_eq!(patch(json!({ "role": "reader" })).await, StatusCode::NO_CONTENT, "they may never have signed in yet");
    assert_eq!(stands().await, (json!("reader"), json!(false), json!(1)));
    assert_eq!(patch(json!({ "locked": true })).await, StatusCode::NO_CONTENT);
    assert_eq!(stands().await, (json!("reader"), json!(true), json!(1)));
    assert_eq!(patch(json!({ "role": "installer" })).await, StatusCode::NO_CONTENT);
    assert_eq!(stands().await, (json!("installer"), json!(true), json!(1)), "who gets a role is not let in by that");
    assert_eq!(patch(json!({ "role": null, "locked": false })).await, StatusCode::NO_CONTENT);
    assert_eq!(stands().await, (Value::Null, json!(false), json!(1)));
    let audited = hub.audited().await;
    for action in ["user.role", "user.lock", "user.unlock"] {
        assert!(audited.iter().any(|found| found == action), "{action}: {audited:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn long_lists_are_told_in_pages() {
    let hub = Hub::start().await;
    for number in 0..7 {
        let new = NewToken { name: format!("token {number}"), uses: 1, ..NewToken::default() };
        hub.store().create_token(new, &kim()).await.unwrap();
        hub.token(Role::Reader, &[]).await;
        hub.store().set_role(&format!("kim-{number}"), Some(Role::Reader), &kim()).await.unwrap();
    }
    for (path, total) in [("tokens", 7), ("users", 7), ("api-tokens", 8)] {
        let mut seen = vec![];
        for offset in [0, 3, 6, 9] {
            let page = hub.get(&format!("/api/v1/{path}?offset={offset}&limit=3")).await;
            assert_eq!(page["total"], total, "{path}");
            let items = page["items"].as_array().unwrap().clone();
            assert!(items.len() <= 3, "{path}");
            seen.extend(items.iter().map(|item| item.get("id").unwrap_or(&item["name"]).to_string()));
        }
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), total, "{path}: each stands on one page");
    }
    assert_eq!(hub.get("/api/v1/configs?limit=1").await, json!({ "items": [], "total": 0 }));
    let wrong = hub.call(&hub.admin, Method::GET, "/api/v1/tokens?page=2", Value::Null).await;
    assert_eq!(wrong.refusal(), (400, "malformed".into()));
}
