//! The audit in the database: append-only, and proved.

use sqlx::{AssertSqlSafe, Executor};

use super::*;
use crate::audit::ChainError;

/// Takes the triggers away, as somebody with the database's file can.
async fn unlock(db: &Db, conn: &mut sqlx::AnyConnection) {
    let drop = if db.is_sqlite() {
        "DROP TRIGGER audit_keeps_lines; DROP TRIGGER audit_loses_no_line"
    } else {
        "DROP TRIGGER audit_keeps_lines ON audit; DROP TRIGGER audit_is_not_emptied ON audit"
    };
    conn.execute(sqlx::raw_sql(drop)).await.unwrap();
}

on_both! {
    async fn the_database_itself_refuses_to_change_the_audit(db: Db) {
        let store = db.store().await;
        admitted(&store, 1).await;
        let mut conn = db.connect().await;
        for statement in ["UPDATE audit SET actor = 'x' WHERE seq = 1", "DELETE FROM audit WHERE seq = 1", "DELETE FROM audit"] {
            let error = conn.execute(sqlx::raw_sql(statement)).await.unwrap_err().to_string();
            assert!(error.contains("append-only"), "{error}");
        }
        if !db.is_sqlite() {
            assert!(conn.execute(sqlx::raw_sql("TRUNCATE audit")).await.is_err());
        }
        store.verify_audit(None).await.unwrap();
    }
}

on_both! {
    async fn what_was_tampered_with_is_named(db: Db) {
        let store = db.store().await;
        for number in 1..=3 {
            admitted(&store, number).await;
        }
        let proof = store.verify_audit(None).await.unwrap();
        assert_eq!(store.verify_audit(Some(&proof.last_hash)).await.unwrap(), proof);
        let mut conn = db.connect().await;
        unlock(db, &mut conn).await;
        let tampers = [
            ("UPDATE audit SET actor = actor || 'x' WHERE seq = 2", "UPDATE audit SET actor = SUBSTR(actor, 1, LENGTH(actor) - 1) WHERE seq = 2"),
            ("UPDATE audit SET at = at + 1 WHERE seq = 5", "UPDATE audit SET at = at - 1 WHERE seq = 5"),
        ];
        for (tamper, repair) in tampers {
            conn.execute(sqlx::raw_sql(AssertSqlSafe(tamper))).await.unwrap();
            let error = store.verify_audit(None).await.unwrap_err();
            assert!(matches!(error, AuditError::Chain(ChainError::Changed { .. })), "{error}");
            conn.execute(sqlx::raw_sql(AssertSqlSafe(repair))).await.unwrap();
        }
        store.verify_audit(None).await.unwrap();
        conn.execute(sqlx::raw_sql(AssertSqlSafe(format!("DELETE FROM audit WHERE seq = {}", proof.lines)))).await.unwrap();
        store.verify_audit(None).await.unwrap();
        let error = store.verify_audit(Some(&proof.last_hash)).await.unwrap_err();
        assert!(matches!(error, AuditError::Chain(ChainError::End { .. })), "{error}");
        conn.execute(sqlx::raw_sql("DELETE FROM audit WHERE seq = 3")).await.unwrap();
        let error = store.verify_audit(None).await.unwrap_err();
        assert!(matches!(error, AuditError::Chain(ChainError::Place { expected: 3, found: 4 })), "{error}");
    }
}

on_both! {
    /// Two processes write at once: one chain, and each sees what the other wrote.
    async fn two_processes_write_one_chain(db: Db) {
        let (one, other) = (db.store().await, db.store().await);
        let by = kim();
        let writes = (0..50).map(|number| {
            let (store, by) = (if number % 2 == 0 { &one } else { &other }, &by);
            store.note(by, "tunnel.open", None, serde_json::json!({ "number": number }))
        });
        for result in futures_util::future::join_all(writes).await {
            result.unwrap();
        }
        assert_eq!(one.verify_audit(None).await.unwrap().lines, 50);
        assert_eq!(other.changes_after(40).await.unwrap().len(), 10);
        assert!(*one.committed().borrow() > 0);
    }
}

on_both! {
    /// Each filter by itself and together; what matches nothing reads nothing.
    async fn the_audit_is_found_by_what_people_ask_for(db: Db) {
        let store = db.store().await;
        let first = admitted(&store, 1).await;
        admitted(&store, 2).await;
        let by = |actor: &str, action: &str, device: bool| crate::model::AuditFilter {
            actor: (!actor.is_empty()).then(|| actor.to_owned()),
            action: (!action.is_empty()).then(|| action.to_owned()),
            device: device.then(|| first.id.clone()),
            ..Default::default()
        };
        let all = store.audit(&by("", "", false)).await.unwrap();
        for (actor, action, device) in [
            ("", "device.", false),
            ("", "token.create", false),
            ("", "d", true),
            ("user:kim", "device.", false),
            ("user:kim", "", false),
            ("", "", true),
            ("user:kim", "device.", true),
            ("", "zzz", false),
            ("user:nobody", "", false),
            ("", "%", false),
        ] {
            let expected: Vec<_> = all
                .iter()
                .filter(|line| actor.is_empty() || line.actor == actor)
                .filter(|line| line.action.starts_with(action) && (!device || line.device.as_ref() == Some(&first.id)))
                .cloned()
                .collect();
            assert_eq!(store.audit(&by(actor, action, device)).await.unwrap(), expected, "{actor} {action} {device}");
        }
        let page = crate::model::AuditFilter { before: Some(all[1].seq), limit: 1, ..by("", "device.", false) };
        let next = all.iter().skip(2).find(|line| line.action.starts_with("device.")).cloned();
        assert_eq!(store.audit(&page).await.unwrap(), next.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn no_filter_of_the_audit_goes_through_all_of_it() {
    super::super::testing::run(Db::sqlite, async |db: &Db| {
        db.store().await;
        let mut conn = db.connect().await;
        for condition in ["actor = 'x'", "action = 'x'", "device = 'x'", "device = 'x' AND SUBSTR(action, 1, 1) = 'x'"] {
            let plan = format!("EXPLAIN QUERY PLAN SELECT * FROM audit WHERE {condition} ORDER BY seq DESC LIMIT 5");
            let rows = conn.fetch_all(sqlx::raw_sql(AssertSqlSafe(plan))).await.unwrap();
            let words: String = rows.iter().map(|row| sqlx::Row::get::<String, _>(row, "detail")).collect();
            assert!(words.contains("SEARCH audit USING INDEX") && !words.contains("SCAN"), "{condition}: {words}");
        }
    });
}
