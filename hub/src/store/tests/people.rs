//! API tokens, people, logins.

use std::time::Duration;

use super::*;
use crate::model::people::{Login, Role};

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
        let end = NOW.after(Duration::from_secs(60));
        let come = async |role: Option<Role>| store.sign_in_user(came(end), move |user| role.or(user.role), &kim()).await.unwrap();
        let (user, entry) = come(None).await;
        assert!(matches!(entry, Entry::NoRole), "{entry:?}");
        assert_eq!((user.display_name.as_str(), user.last_login, store.user("kim").await.unwrap()), ("Kim", Some(NOW), Some(user.clone())));
        let (_, Entry::Begun(text)) = come(Some(Role::Reader)).await else { panic!("a login") };
        let login = store.login(text.expose(), NOW).await.unwrap().expect("counts");
        assert_eq!((login.user.as_str(), login.role), ("user:kim", Role::Reader));
        assert_eq!(store.login(text.expose(), end).await.unwrap(), None);
        store.end_login(text.expose(), &kim()).await.unwrap();
        assert_eq!(store.login(text.expose(), NOW).await.unwrap(), None);
        let (_, Entry::Begun(text)) = come(Some(Role::Reader)).await else { panic!("a login") };
        store.set_user("kim", PersonChange::Locked(true), &kim()).await.unwrap();
        assert_eq!(store.login(text.expose(), NOW).await.unwrap(), None);
        let (user, entry) = come(Some(Role::Reader)).await;
        assert!(user.locked && matches!(entry, Entry::Locked), "signing in unlocks nobody: {entry:?}");
        assert_eq!(store.users().await.unwrap().len(), 1);
    }
}

on_both! {
    async fn a_login_that_slipped_in_beside_a_lock_does_not_count(db: Db) {
        let store = db.store().await;
        store.set_user("kim", PersonChange::Whole { role: Some(Role::Admin), locked: true }, &kim()).await.unwrap();
        let end = NOW.after(Duration::from_secs(60));
        let login = Login { user: "user:kim".into(), role: Role::Admin, csrf: "c".into(), created_at: NOW, expires_at: end };
        let text = store.create_login(login.clone(), &kim()).await.unwrap();
        assert_eq!(store.login(text.expose(), NOW).await.unwrap(), None);
        assert!(!store.login_counts(&crate::tokens::hash(text.expose()), NOW).await.unwrap());
        store.set_user("kim", PersonChange::Locked(false), &kim()).await.unwrap();
        assert_eq!(store.user("kim").await.unwrap().unwrap().role, Some(Role::Admin), "what is not said stays");
        let other = store.create_login(Login { user: "token:kim".into(), ..login }, &kim()).await.unwrap();
        assert!(store.login(other.expose(), NOW).await.unwrap().is_some());
    }
}

fn came(ends: Time) -> Came {
    Came { name: "kim".into(), display_name: "Kim".into(), groups: vec!["ops".into()], csrf: "c".into(), ends }
}
