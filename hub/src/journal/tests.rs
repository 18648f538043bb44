//! Journal and database together.

use std::path::Path;
use std::time::Duration;

use tokio::sync::watch;

use super::file::FILE;
use super::*;
use crate::people::Role;
use crate::store::testing::{Db, NOW, kim, on_both};
use crate::store::{AuditPlace, CarriedOver, FollowError, NewApiToken, NewToken, Store};

/// Makes join tokens, and revokes them.
async fn revoke(store: &Store, tokens: usize) {
    for _ in 0..tokens {
        let (token, _) = store.create_token(NewToken::default(), &kim()).await.expect("a token");
        store.revoke_token(&token.id, &kim()).await.expect("revoked");
    }
}

/// A start of the hub, and its stop as soon as the journal has all.
async fn once(folder: &Path, store: &Store) -> Result<i64, BeginError> {
    let mut journal = Journal::open(folder)?;
    let seq = begin(store, &mut journal, NOW).await?;
    let (_stop, stopped) = watch::channel(true);
    keep(store.clone(), journal, seq, stopped).await;
    Ok(seq)
}

fn content(folder: &Path) -> String {
    std::fs::read_to_string(folder.join(FILE)).expect("the journal")
}

fn write(folder: &Path, text: &str) {
    std::fs::write(folder.join(FILE), text).expect("written");
}

on_both! {
    /// A disk that was full once, and is not any more.
    async fn a_torn_line_and_those_behind_it_are_taken_from_the_audit_again(db: Db) {
        let (folder, store) = (tempfile::tempdir().unwrap(), db.store().await);
        revoke(&store, 3).await;
        assert_eq!(once(folder.path(), &store).await.unwrap(), 0);
        let whole = content(folder.path());
        let lines: Vec<&str> = whole.split_inclusive('\n').collect();
        assert_eq!(lines.len(), 3);
        for torn in [
            format!("{}{}{}{}", lines[0], &lines[1][..9], lines[1], lines[2]),
            format!("{}{}{}", lines[0], &lines[1][..9], lines[2]),
            format!("{}\0\0\0\0\n{}", lines[0], lines[2]),
            format!("{}{}{}", lines[0], lines[1], &lines[2][..9]),
        ] {
            write(folder.path(), &torn);
            once(folder.path(), &store).await.unwrap();
            assert_eq!(content(folder.path()), whole, "{torn}");
        }
    }
}

on_both! {
    /// What stood in the torn line is known to nobody: that is for people to decide.
    async fn a_torn_line_that_the_audit_does_not_know_is_not_passed_over(db: Db) {
        let (folder, store) = (tempfile::tempdir().unwrap(), db.store().await);
        revoke(&store, 1).await;
        let torn = "2 revoked a\n4 revo4 revoked b\n6 revoked c\n";
        write(folder.path(), torn);
        let refused = once(folder.path(), &store).await.unwrap_err();
        assert!(matches!(refused, BeginError::Journal(JournalError::Lost { number: 2, .. })), "{refused}");
        assert_eq!(content(folder.path()), torn);
        // Where the numbers began anew behind it, all of the audit is looked through.
        write(folder.path(), "9 revoked a\n11 revo11 revoked b\n1 restored\n");
        assert_eq!(once(folder.path(), &store).await.unwrap(), 0);
        let content = content(folder.path());
        assert!(content.starts_with("9 revoked a\n0 restored\n2 revoked "), "{content}");
    }
}

on_both! {
    /// PostgreSQL restored from a copy while processes run: they must not wait for numbers that do not come.
    async fn who_keeps_the_journal_ends_when_another_database_is_put_in_place(db: Db) {
        let (other, store) = (Db::sqlite(), db.store().await);
        revoke(&store, 2).await;
        let place = store.changes_behind(&AuditPlace::default()).await.unwrap().until;
        assert!(store.changes_behind(&place).await.unwrap().lines.is_empty());
        let other = other.store().await;
        let replaced = |result| matches!(result, Err(FollowError::Replaced { seq: 4 }));
        assert!(replaced(other.changes_behind(&place).await.map(|_| ())), "it is shorter");
        let folder = tempfile::tempdir().unwrap();
        let (_stop, stopped) = watch::channel(false);
        let kept = keep(other.clone(), Journal::open(folder.path()).unwrap(), 4, stopped);
        tokio::time::timeout(Duration::from_secs(60), kept).await.expect("it ends");
        revoke(&other, 3).await;
        assert!(replaced(other.changes_behind(&place).await.map(|_| ())), "it has line 4, and that is another one");
    }
}

on_both! {
    /// At each start, however much stands in the journal.
    async fn what_the_database_knows_already_is_not_written_again(db: Db) {
        let store = db.store().await;
        let new = NewApiToken { name: "ci".into(), role: Role::Admin, scopes: Default::default(), expires_at: None };
        let (api_token, text) = store.create_api_token(new, &Default::default(), &kim()).await.unwrap();
        let (token, _) = store.create_token(NewToken { uses: 3, ..NewToken::default() }, &kim()).await.unwrap();
        let device = |number: u16| format!("{number:064x}").parse().unwrap();
        let mut facts: Vec<Fact> = (0..600).map(|number| Fact::Removed { device: device(number), key: [7; 32] }).collect();
        facts.extend((0..2).map(|number| Fact::Used { token: token.id.clone(), device: device(number) }));
        facts.extend([Fact::ApiRevoked { token: api_token.id.clone() }, Fact::ApiRevoked { token: "nobody's".into() }]);
        let carried = store.carry_over(facts.clone(), NOW).await.unwrap();
        assert_eq!(carried, CarriedOver { devices: 600, tokens: 1, api_tokens: 1 });
        assert!(store.api_token_of(text.expose(), NOW).await.unwrap().is_none(), "who has it may do nothing more");
        let head = *store.committed().borrow();
        facts.push(Fact::Revoked { token: token.id.clone() });
        let carried = store.carry_over(facts.clone(), NOW).await.unwrap();
        assert_eq!(carried, CarriedOver { tokens: 1, ..CarriedOver::default() });
        assert_eq!(*store.committed().borrow(), head + 1);
        assert_eq!(store.carry_over(facts, NOW).await.unwrap(), CarriedOver::default());
        // What is revoked here reaches the journal.
        let folder = tempfile::tempdir().unwrap();
        once(folder.path(), &store).await.unwrap();
        assert!(content(folder.path()).contains(&format!(" api-revoked {}\n", api_token.id)));
    }
}
