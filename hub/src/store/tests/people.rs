//! API tokens, people, logins.

use std::time::Duration;

use super::*;
use crate::model::people::{Login, Role, User};

on_both! {
    async fn an_api_token_counts_until_it_is_revoked_or_over(db: Db) {
        let store = db.store().await;
        let new = NewApiToken { name: "ci".into(), role: Role::Operator, scopes: ["devices".to_owned()].into(), expires_at: None };
        let (token, text) = store.create_api_token(new.clone(), &Default::default(), &kim()).await.unwrap();
        assert!(text.expose().starts_with("ska_"));
        let found = store.api_token_of(text.expose(), NOW).await.unwrap().expect("counts");
        assert_eq!(found, token);
        assert_eq!(store.api_token_of("ska_other", NOW).await.unwrap(), None);
        store.touch_api_token(&token.id, NOW).await.unwrap();
        store.revoke_api_token(&token.id, &kim()).await.unwrap();
        assert_eq!(store.api_token_of(text.expose(), NOW).await.unwrap(), None);
        let end = NOW.after(Duration::from_secs(5));
        let (_, text) = store.create_api_token(NewApiToken { expires_at: Some(end), ..new.clone() }, &Default::default(), &kim()).await.unwrap();
        assert!(store.api_token_of(text.expose(), NOW).await.unwrap().is_some());
        assert!(store.api_token_of(text.expose(), end).await.unwrap().is_none());
        assert!(store.create_api_token(NewApiToken { name: " ".into(), ..new }, &Default::default(), &kim()).await.is_err());
        assert_eq!(store.api_tokens().await.unwrap().len(), 2);
    }
}

on_both! {
    async fn a_limited_token_makes_no_token_that_may_do_more(db: Db) {
        let store = db.store().await;
        let scopes = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<std::collections::BTreeSet<_>>();
        let make = async |wanted: &[&str], maker: &[&str]| {
            let new = NewApiToken { name: "ci".into(), role: Role::Admin, scopes: scopes(wanted), expires_at: None };
            store.create_api_token(new, &scopes(maker), &kim()).await.map(|_| ()).map_err(|error| error.code())
        };
        for beyond in [&[][..], &["devices"], &["people", "devices"]] {
            assert_eq!(make(beyond, &["people", "audit"]).await, Err("scope"), "{beyond:?}");
        }
        assert_eq!(make(&["audit"], &["people", "audit"]).await, Ok(()));
        assert_eq!(make(&[], &[]).await, Ok(()));
        assert_eq!(store.api_tokens().await.unwrap().len(), 2);
    }
}

on_both! {
    async fn a_login_ends_by_time_by_itself_and_with_its_person(db: Db) {
        let store = db.store().await;
        let user = User { name: "kim".into(), display_name: "Kim".into(), role: Some(Role::Reader), groups: vec!["ops".into()], last_login: Some(NOW), locked: false };
        store.put_user(user.clone(), "user.login", &kim()).await.unwrap();
        assert_eq!(store.user("kim").await.unwrap(), Some(user.clone()));
        let end = NOW.after(Duration::from_secs(60));
        let login = Login { user: "kim".into(), role: Role::Reader, csrf: "c".into(), created_at: NOW, expires_at: end };
        let text = store.create_login(login.clone(), &kim()).await.unwrap();
        assert_eq!(store.login(text.expose(), NOW).await.unwrap(), Some(login.clone()));
        assert_eq!(store.login(text.expose(), end).await.unwrap(), None);
        store.end_login(text.expose(), &kim()).await.unwrap();
        assert_eq!(store.login(text.expose(), NOW).await.unwrap(), None);
        let text = store.create_login(login, &kim()).await.unwrap();
        store.put_user(User { locked: true, ..user }, "user.lock", &kim()).await.unwrap();
        store.end_logins_of("kim", &kim()).await.unwrap();
        assert_eq!(store.login(text.expose(), NOW).await.unwrap(), None);
        assert_eq!(store.users().await.unwrap().len(), 1);
    }
}
