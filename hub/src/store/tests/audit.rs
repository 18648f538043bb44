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
