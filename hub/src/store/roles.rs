//! What a person may do, when an admin says it and nothing else of them.

use serde_json::json;

use super::error::StoreError;
use super::{Store, logins};
use crate::model::people::Role;
use crate::model::text::bounded;
use crate::model::{Actor, By};

impl Store {
    /// Says what a person may do when no group of theirs has a role; they may never have signed in yet. Their logins end. Whether they are locked
    /// out stays.
    ///
    /// # Errors
    /// The name can be nobody's.
    pub async fn set_role(&self, name: &str, role: Option<Role>, by: &By) -> Result<(), StoreError> {
        if name.is_empty() || name.len() > 255 || name.chars().any(char::is_control) {
            return Err(StoreError::Invalid { what: "the name", why: "1 to 255 characters in one line".into() });
        }
        let (name, by) = (name.to_owned(), by.clone());
        self.write(move |tx| {
            Box::pin(async move {
                let put = sqlx::query(
                    "INSERT INTO users (name, display_name, role, user_groups, locked) VALUES ($1, $2, $3, '[]', 0) \
                     ON CONFLICT (name) DO UPDATE SET role = excluded.role",
                );
                let put = put.bind(name.clone()).bind(bounded(&name, 128)).bind(role.map(Role::as_str));
                tx.run(put, "write a person's role").await?;
                tx.audit(&by, "user.role", None, json!({ "user": name, "role": role })).await?;
                logins::end_all(tx, &Actor::User(name).to_string(), &by).await
            })
        })
        .await
    }
}
