//! People and API tokens in the database.

use std::collections::BTreeSet;

use machine_config::types::Secret;
use serde_json::json;
use sqlx::AnyConnection;

use super::error::StoreError;
use super::query;
use super::row::{Fields, json as to_json};
use super::tokens::random;
use super::{One, Store, logins};
use crate::model::people::{ApiToken, Login, Role, User};
use crate::model::text::bounded;
use crate::model::{Actor, By, Time};
use crate::tokens::{self, API_PREFIX};

/// An API token to make.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewApiToken {
    /// What people call it, and the audit.
    pub name: String,
    /// The most it may do.
    pub role: Role,
    /// What of that it may do; empty: all of it.
    #[serde(default)]
    pub scopes: BTreeSet<String>,
    /// When it ends; none: never.
    #[serde(default)]
    pub expires_at: Option<Time>,
}

/// Somebody whom the identity provider vouches for.
#[derive(Debug)]
pub struct Came {
    /// Their name there.
    pub name: String,
    /// What people call them.
    pub display_name: String,
    /// Their groups there.
    pub groups: Vec<String>,
    /// The word of their login, if it begins.
    pub csrf: String,
    /// When it would end.
    pub ends: Time,
}

/// What became of somebody who came.
#[derive(Debug)]
pub enum Entry {
    /// Their login began; its cookie's text.
    Begun(Secret),
    /// An admin locked them out.
    Locked,
    /// Nobody gave them a role.
    NoRole,
}

/// What an admin changes of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PersonChange {
    /// All that is an admin's to say.
    Whole {
        /// What they may do when no group of theirs has a role.
        role: Option<Role>,
        /// They may not sign in.
        locked: bool,
    },
    /// Whether they may sign in.
    Locked(bool),
}

async fn by_name(conn: &mut AnyConnection, name: &str) -> Result<Option<User>, StoreError> {
    let statement = sqlx::query("SELECT * FROM users WHERE name = $1").bind(name.to_owned());
    query::find(conn, statement, "look for a person", read_user).await
}

pub(super) fn read_token(row: &Fields<'_>) -> Result<ApiToken, StoreError> {
    Ok(ApiToken {
        id: row.text("id")?,
        name: row.text("name")?,
        role: row.word("role")?,
        scopes: row.json("scopes")?,
        created_by: row.text("created_by")?,
        created_at: row.time("created_at")?,
        expires_at: row.opt_time("expires_at")?,
        last_used: row.opt_time("last_used")?,
        revoked_at: row.opt_time("revoked_at")?,
    })
}

pub(super) fn read_user(row: &Fields<'_>) -> Result<User, StoreError> {
    Ok(User {
        name: row.text("name")?,
        display_name: row.text("display_name")?,
        role: row.opt_word("role")?,
        groups: row.json("user_groups")?,
        last_login: row.opt_time("last_login")?,
        locked: row.truth("locked")?,
    })
}

impl Store {
    /// Makes an API token, and gives its text: once. `maker` are the scopes of who makes it, none: all; the new one gets no other.
    ///
    /// # Errors
    /// It has no name, would have expired already, or could do more than its maker.
    pub async fn create_api_token(
        &self,
        new: NewApiToken,
        maker: &BTreeSet<String>,
        by: &By,
    ) -> Result<(ApiToken, Secret), StoreError> {
        // Whoever has a limited token must not make themselves a whole one.
        if !maker.is_empty() && (new.scopes.is_empty() || !new.scopes.is_subset(maker)) {
            return Err(StoreError::Scopes);
        }
        let invalid = |why: &str| StoreError::Invalid { what: "the API token", why: why.to_owned() };
        let name = bounded(new.name.trim(), 64);
        if name.is_empty() || new.expires_at.is_some_and(|end| end <= by.at) || new.scopes.len() > 64 {
            return Err(invalid("it needs a name, an end that is not over, and at most 64 scopes"));
        }
        let text = tokens::text(API_PREFIX, &random()?);
        let hash = tokens::hash(text.expose());
        let token = ApiToken {
            id: tokens::id(&hash),
            name,
            role: new.role,
            scopes: new.scopes.iter().map(|scope| bounded(scope, 64)).collect(),
            created_by: by.actor.to_string(),
            created_at: by.at,
            expires_at: new.expires_at,
            last_used: None,
            revoked_at: None,
        };
        let (by, made) = (by.clone(), token.clone());
        self.write(move |tx| {
            Box::pin(async move {
                let insert = sqlx::query(
                    "INSERT INTO api_tokens (id, hash, name, role, scopes, created_by, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
                )
                .bind(made.id.clone())
                .bind(hash.to_vec())
                .bind(made.name.clone())
                .bind(made.role.as_str())
                .bind(to_json(&made.scopes))
                .bind(made.created_by)
                .bind(made.created_at.millis())
                .bind(made.expires_at.map(Time::millis));
                tx.run(insert, "write an API token").await?;
                let details = json!({ "token": made.id, "name": made.name, "role": made.role, "scopes": made.scopes, "expiresAt": made.expires_at });
                tx.audit(&by, "api-token.create", None, details).await
            })
        })
        .await?;
        Ok((token, text))
    }

    /// The API token with this text, if it counts now.
    ///
    /// # Errors
    /// The database failed.
    pub async fn api_token_of(&self, text: &str, now: Time) -> Result<Option<ApiToken>, StoreError> {
        let statement = sqlx::query(
            "SELECT * FROM api_tokens WHERE hash = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)",
        );
        let statement = statement.bind(tokens::hash(text).to_vec()).bind(now.millis());
        query::find(&mut *self.reader().await?, statement, "look for an API token", read_token).await
    }

    /// Whether the API token with this id counts now.
    ///
    /// # Errors
    /// The database failed.
    pub async fn api_token_counts(&self, id: &str, now: Time) -> Result<bool, StoreError> {
        let statement = sqlx::query(
            "SELECT id FROM api_tokens WHERE id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)",
        );
        let statement = statement.bind(id.to_owned()).bind(now.millis());
        Ok(query::find(&mut *self.reader().await?, statement, "look for an API token", |row| row.text("id")).await?.is_some())
    }

    /// Notes that a token was used; callers do so once an hour.
    ///
    /// # Errors
    /// The database failed.
    pub async fn touch_api_token(&self, id: &str, now: Time) -> Result<(), StoreError> {
        let statement = sqlx::query("UPDATE api_tokens SET last_used = $2 WHERE id = $1").bind(id.to_owned()).bind(now.millis());
        self.write(move |tx| Box::pin(async move { tx.run(statement, "note that an API token was used").await.map(|_| ()) }))
            .await
    }

    /// All API tokens, the newest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn api_tokens(&self) -> Result<Vec<ApiToken>, StoreError> {
        let statement = sqlx::query("SELECT * FROM api_tokens ORDER BY created_at DESC, id");
        query::list(&mut *self.reader().await?, statement, "list API tokens", read_token).await
    }

    /// Revokes an API token.
    ///
    /// # Errors
    /// There is none with this id.
    pub async fn revoke_api_token(&self, id: &str, by: &By) -> Result<(), StoreError> {
        let statement = sqlx::query("UPDATE api_tokens SET revoked_at = COALESCE(revoked_at, $2) WHERE id = $1");
        let statement = statement.bind(id.to_owned()).bind(by.at.millis());
        let one = One {
            doing: "revoke an API token",
            what: "the API token",
            name: id.to_owned(),
            action: "api-token.revoke",
            device: None,
            details: json!({ "token": id }),
        };
        self.change_one(statement, one, by).await
    }

    /// Somebody whom the identity provider vouches for signs in: what it says of them is written down, and unless they are locked out their
    /// login begins with the role that `role_of` gives the person as they stand in that same write.
    ///
    /// # Errors
    /// The database failed, or the system gives no random bytes.
    pub async fn sign_in_user<F>(&self, came: Came, role_of: F, by: &By) -> Result<(User, Entry), StoreError>
    where
        F: FnOnce(&User) -> Option<Role> + Send + 'static,
    {
        let (text, by) = (logins::new_text()?, by.clone());
        self.write(move |tx| {
            Box::pin(async move {
                let Came { name, display_name, groups, csrf, ends } = came;
                let groups: Vec<String> = groups.iter().take(256).map(|group| bounded(group, 128)).collect();
                let put = sqlx::query(
                    "INSERT INTO users (name, display_name, user_groups, last_login, locked) VALUES ($1, $2, $3, $4, 0) \
                     ON CONFLICT (name) DO UPDATE SET display_name = excluded.display_name, user_groups = excluded.user_groups, \
                     last_login = excluded.last_login",
                )
                .bind(name.clone())
                .bind(bounded(&display_name, 128))
                .bind(to_json(&groups))
                .bind(by.at.millis());
                tx.run(put, "write a person").await?;
                let user = by_name(tx.conn(), &name).await?;
                let user = user.ok_or_else(|| StoreError::Missing { what: "the person", name })?;
                tx.audit(&by, "user.sign-in", None, json!({ "user": user.name, "role": user.role, "locked": user.locked }))
                    .await?;
                let entry = match role_of(&user) {
                    _ if user.locked => Entry::Locked,
                    None => Entry::NoRole,
                    Some(role) => {
                        let login = Login { user: by.actor.to_string(), role, csrf, created_at: by.at, expires_at: ends };
                        logins::begin(tx, &text, login, &by).await?;
                        Entry::Begun(text)
                    }
                };
                Ok((user, entry))
            })
        })
        .await
    }

    /// Says what a person may do, or whether they may sign in; what is not said stays. Their logins end, unless they are let in again and
    /// nothing else.
    ///
    /// # Errors
    /// The database failed.
    pub async fn set_user(&self, name: &str, change: PersonChange, by: &By) -> Result<(), StoreError> {
        let (name, by) = (name.to_owned(), by.clone());
        self.write(move |tx| {
            Box::pin(async move {
                let fresh = sqlx::query(
                    "INSERT INTO users (name, display_name, user_groups, locked) VALUES ($1, $2, '[]', 0) ON CONFLICT (name) DO NOTHING",
                );
                tx.run(fresh.bind(name.clone()).bind(bounded(&name, 128)), "write a person").await?;
                let (action, put, details) = match change {
                    PersonChange::Whole { role, locked } => (
                        "user.put",
                        sqlx::query("UPDATE users SET role = $2, locked = $3 WHERE name = $1")
                            .bind(name.clone())
                            .bind(role.map(Role::as_str))
                            .bind(i64::from(locked)),
                        json!({ "user": name, "role": role, "locked": locked }),
                    ),
                    PersonChange::Locked(locked) => (
                        if locked { "user.lock" } else { "user.unlock" },
                        sqlx::query("UPDATE users SET locked = $2 WHERE name = $1").bind(name.clone()).bind(i64::from(locked)),
                        json!({ "user": name, "locked": locked }),
                    ),
                };
                tx.run(put, "write a person").await?;
                tx.audit(&by, action, None, details).await?;
                match change {
                    PersonChange::Whole { .. } | PersonChange::Locked(true) => {
                        logins::end_all(tx, &Actor::User(name).to_string(), &by).await
                    }
                    PersonChange::Locked(false) => Ok(()),
                }
            })
        })
        .await
    }

    /// The person with this name.
    ///
    /// # Errors
    /// The database failed.
    pub async fn user(&self, name: &str) -> Result<Option<User>, StoreError> {
        by_name(&mut *self.reader().await?, name).await
    }

    /// All people, by name.
    ///
    /// # Errors
    /// The database failed.
    pub async fn users(&self) -> Result<Vec<User>, StoreError> {
        query::list(&mut *self.reader().await?, sqlx::query("SELECT * FROM users ORDER BY name"), "list people", read_user).await
    }
}
