//! The small commands: the pin, another admin token, proving the audit.

use std::path::Path;

use anyhow::Context as _;

use super::args::Place;
use crate::model::{Actor, By, Time};
use crate::people::Role;
use crate::store::{NewApiToken, Store};
use crate::tls::HubKey;

/// What admin tokens that were made on the host are called.
const ADMIN_TOKEN: &str = "admin-token";

/// The database of the hub in this folder.
pub(super) async fn open_store(data: &Path, database: Option<&str>) -> anyhow::Result<Store> {
    let store = match database {
        Some(url) => Store::open(url, Time::now()).await,
        None => Store::open_folder(data, Time::now()).await,
    };
    store.context("cannot use the hub's database")
}

/// The same, when it is there already.
async fn reopen_store(place: &Place) -> anyhow::Result<Store> {
    let store = match place.database.as_deref() {
        Some(url) => Store::open(url, Time::now()).await,
        None => Store::reopen_folder(&place.data, Time::now()).await,
    };
    store.context("cannot use the hub's database; `skerry-hub serve` makes one")
}

/// Makes the first admin token, unless there are tokens already.
pub(super) async fn first_admin_token(store: &Store) -> anyhow::Result<Option<String>> {
    if !store.api_tokens().await.context("cannot look for admin tokens")?.is_empty() {
        return Ok(None);
    }
    make_admin_token(store).await.map(Some)
}

async fn make_admin_token(store: &Store) -> anyhow::Result<String> {
    let new = NewApiToken { name: ADMIN_TOKEN.to_owned(), role: Role::Admin, scopes: Default::default(), expires_at: None };
    let by = By::new(Actor::Host, "", Time::now());
    let (_, text) = store.create_api_token(new, &Default::default(), &by).await.context("cannot make an admin token")?;
    Ok(text.expose().to_owned())
}

/// `skerry-hub pin`
pub(super) fn pin(place: &Place) -> anyhow::Result<()> {
    println!("{}", HubKey::load(&place.data).context("there is no hub here yet; `skerry-hub serve` makes one")?.pin_text());
    Ok(())
}

/// `skerry-hub admin-token`
pub(super) async fn admin_token(place: &Place) -> anyhow::Result<()> {
    let store = reopen_store(place).await?;
    println!("{}", make_admin_token(&store).await?);
    Ok(())
}

/// `skerry-hub audit verify`
pub(super) async fn verify_audit(place: &Place, holds: Option<&str>) -> anyhow::Result<()> {
    let store = reopen_store(place).await?;
    let proof = store.verify_audit(holds).await.context("the audit is not as the hub wrote it")?;
    println!("{} lines, each as it was written; the last one has the hash {}", proof.lines, proof.last_hash);
    Ok(())
}
