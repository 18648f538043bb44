//! Join tokens in the database: as hashes.

use machine_config::types::Secret;
use serde_json::json;
use sqlx::AnyConnection;

use super::error::StoreError;
use super::query;
use super::row::{Fields, json as to_json};
use super::tx::Tx;
use super::{One, Store};
use crate::model::text::bounded;
use crate::model::{Binding, By, Expected, ExpectedKey, Labels, Time, Token, check_groups, check_labels};
use crate::tokens::{self, MAX_USES, PREFIX, TOKEN_BYTES};

/// A token to make.
#[derive(Debug, Clone, Default, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NewToken {
    /// What people call it.
    pub name: String,
    /// Devices that may join with it; 0: one.
    pub uses: u32,
    /// Which devices it is good for.
    pub binding: Binding,
    /// Labels that a device which joins gets.
    pub labels: Labels,
    /// Groups that a device which joins gets.
    pub groups: Vec<String>,
    /// When it ends; none: never.
    pub expires_at: Option<Time>,
    /// A token that is there already (chosen by somebody, or NAME.token of an older `imager stamp`): 16 to 256 visible characters. None: one is made.
    #[schema(value_type = Option<String>)]
    pub text: Option<Secret>,
}

impl NewToken {
    fn check(&self, now: Time) -> Result<(), StoreError> {
        let invalid = |why: &str| Err(StoreError::Invalid { what: "the join token", why: why.to_owned() });
        check_labels(&self.labels)?;
        check_groups(&self.groups)?;
        if self.uses > MAX_USES {
            return invalid("it can be good for at most 100000 devices");
        }
        if self.expires_at.is_some_and(|end| end <= now) {
            return invalid("it would have expired already");
        }
        if self.text.as_ref().is_some_and(|text| !tokens::is_token(text.expose())) {
            return invalid("a token has 16 to 256 visible ASCII characters");
        }
        Ok(())
    }
}

/// Random bytes for a token.
pub(super) fn random() -> Result<[u8; TOKEN_BYTES], StoreError> {
    let mut bytes = [0; TOKEN_BYTES];
    let filled = getrandom::fill(&mut bytes);
    filled
        .map_err(|error| StoreError::Database { doing: "make a token", source: sqlx::Error::Io(std::io::Error::other(error)) })?;
    Ok(bytes)
}

pub(super) fn read(row: &Fields<'_>) -> Result<Token, StoreError> {
    Ok(Token {
        id: row.text("id")?,
        name: row.text("name")?,
        uses_left: row.count("uses_left")?,
        uses: row.count("uses")?,
        binding: row.json("binding")?,
        labels: row.json("labels")?,
        groups: row.json("device_groups")?,
        created_by: row.text("created_by")?,
        created_at: row.time("created_at")?,
        expires_at: row.opt_time("expires_at")?,
        revoked_at: row.opt_time("revoked_at")?,
    })
}

pub(super) async fn by_hash(conn: &mut AnyConnection, hash: &[u8; 32]) -> Result<Option<Token>, StoreError> {
    let statement = sqlx::query("SELECT * FROM tokens WHERE hash = $1").bind(hash.to_vec());
    query::find(conn, statement, "look for a join token", read).await
}

/// Uses a token up by one; false: nothing was left.
pub(super) async fn use_one(tx: &mut Tx, id: &str) -> Result<bool, StoreError> {
    let statement = sqlx::query(
        "UPDATE tokens SET uses_left = uses_left - 1, uses = uses + 1 WHERE id = $1 AND uses_left > 0 AND revoked_at IS NULL",
    );
    Ok(tx.run(statement.bind(id.to_owned()), "use a join token").await? == 1)
}

impl Store {
    /// Makes a token, and gives its text: once, nobody can read it again.
    ///
    /// # Errors
    /// It cannot be, or there is one with the same text.
    pub async fn create_token(&self, new: NewToken, by: &By) -> Result<(Token, Secret), StoreError> {
        new.check(by.at)?;
        let text = match &new.text {
            Some(text) => text.clone(),
            None => tokens::text(PREFIX, &random()?),
        };
        let hash = tokens::hash(text.expose());
        let token = Token {
            id: tokens::id(&hash),
            name: bounded(&new.name, 128),
            uses_left: new.uses.max(1),
            uses: 0,
            binding: new.binding,
            labels: new.labels,
            groups: new.groups,
            created_by: by.actor.to_string(),
            created_at: by.at,
            expires_at: new.expires_at,
            revoked_at: None,
        };
        let (by, made) = (by.clone(), token.clone());
        if !self.write(move |tx| Box::pin(async move { insert(tx, &made, &hash, &by).await })).await? {
            return Err(StoreError::Invalid { what: "the join token", why: "there is one with this text already".into() });
        }
        Ok((token, text))
    }

    /// All tokens, the newest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn tokens(&self) -> Result<Vec<Token>, StoreError> {
        let statement = sqlx::query("SELECT * FROM tokens ORDER BY created_at DESC, id");
        query::list(&mut *self.reader().await?, statement, "list join tokens", read).await
    }

    /// The token with this id.
    ///
    /// # Errors
    /// The database failed.
    pub async fn token(&self, id: &str) -> Result<Option<Token>, StoreError> {
        let statement = sqlx::query("SELECT * FROM tokens WHERE id = $1").bind(id.to_owned());
        query::find(&mut *self.reader().await?, statement, "look for a join token", read).await
    }

    /// Revokes a token: nobody joins with it any more. Devices that did stay.
    ///
    /// # Errors
    /// There is none with this id.
    pub async fn revoke_token(&self, id: &str, by: &By) -> Result<(), StoreError> {
        let statement = sqlx::query("UPDATE tokens SET revoked_at = COALESCE(revoked_at, $2) WHERE id = $1");
        let statement = statement.bind(id.to_owned()).bind(by.at.millis());
        let one = One {
            doing: "revoke a join token",
            what: "the join token",
            name: id.to_owned(),
            action: "token.revoke",
            device: None,
            details: json!({ "token": id }),
        };
        self.change_one(statement, one, by).await
    }
}

/// Registers the token that a bench made for an expected device; its id, unless it was registered before: then it stays as it is, used or revoked.
pub(super) async fn register(tx: &mut Tx, hash: &[u8; 32], place: &Expected, by: &By) -> Result<Option<String>, StoreError> {
    let token = token_of(hash, place, by);
    Ok(insert(tx, &token, hash, by).await?.then_some(token.id))
}

/// For this device alone, as far as its serial number and MAC address are known. Its labels come from its place, and from the token only where nobody
/// recognises the place.
fn token_of(hash: &[u8; 32], place: &Expected, by: &By) -> Token {
    let labels = match place.key() {
        Some(ExpectedKey::Name(_)) => place.labels.clone(),
        Some(ExpectedKey::Id(_) | ExpectedKey::Serial(_) | ExpectedKey::Mac(_)) | None => Labels::new(),
    };
    Token {
        id: tokens::id(hash),
        name: bounded(place.name.as_deref().unwrap_or_default(), 128),
        uses_left: 1,
        uses: 0,
        binding: Binding { serial: place.serial.clone(), mac: place.mac.clone(), label: None },
        labels,
        groups: vec![],
        created_by: by.actor.to_string(),
        created_at: by.at,
        expires_at: None,
        revoked_at: None,
    }
}

/// Adds a token; false: there is one with this hash, and nothing was changed.
async fn insert(tx: &mut Tx, token: &Token, hash: &[u8; 32], by: &By) -> Result<bool, StoreError> {
    let statement = sqlx::query(
        "INSERT INTO tokens (id, hash, name, uses_left, uses, binding, labels, device_groups, created_by, created_at, expires_at) \
         VALUES ($1, $2, $3, $4, 0, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING",
    )
    .bind(token.id.clone())
    .bind(hash.to_vec())
    .bind(token.name.clone())
    .bind(i64::from(token.uses_left))
    .bind(to_json(&token.binding))
    .bind(to_json(&token.labels))
    .bind(to_json(&token.groups))
    .bind(token.created_by.clone())
    .bind(token.created_at.millis())
    .bind(token.expires_at.map(Time::millis));
    if tx.run(statement, "write a join token").await? == 0 {
        return Ok(false);
    }
    let details = json!({
        "token": token.id, "name": token.name, "uses": token.uses_left, "binding": token.binding, "labels": token.labels,
        "groups": token.groups, "expiresAt": token.expires_at,
    });
    tx.audit(by, "token.create", None, details).await?;
    Ok(true)
}
