//! For which sites installers claim devices: an admin says it of a person or of an API token, as the audit writes them. Whoever has the role and was
//! given no site claims nothing.

use serde_json::json;

use super::Store;
use super::error::StoreError;
use super::query;
use super::row::{Fields, json as to_json};
use crate::model::text::bounded;
use crate::model::{Actor, By};

/// How their settings begin.
const PREFIX: &str = "installer:";
/// Stands for every site.
const ANY: &str = "*";
/// Sites of one installer at most.
const MAX_SITES: usize = 1000;
/// Bytes of a site's name at most.
pub(crate) const MAX_SITE: usize = 128;

/// Somebody who claims devices for some sites.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Installer {
    /// `user:NAME`, or `token:NAME` for the API tokens of that name.
    pub actor: String,
    /// The sites; `*` stands for every one.
    pub sites: Vec<String>,
}

impl Installer {
    /// Whether they may claim a device for this site.
    pub fn claims_for(&self, site: &str) -> bool {
        self.sites.iter().any(|one| one == site || one == ANY)
    }

    /// Whether they may for any.
    pub fn is_everywhere(&self) -> bool {
        self.sites.iter().any(|site| site == ANY)
    }
}

fn read(row: &Fields<'_>) -> Result<Installer, StoreError> {
    let name = row.text("name")?;
    Ok(Installer { actor: name.strip_prefix(PREFIX).unwrap_or(&name).to_owned(), sites: row.json("value")? })
}

/// Sites as they are kept: each once, cut, none empty.
fn tidied(sites: &[String]) -> Result<Vec<String>, StoreError> {
    let mut sites: Vec<String> =
        sites.iter().map(|site| bounded(site.trim(), MAX_SITE)).filter(|site| !site.is_empty()).collect();
    sites.sort();
    sites.dedup();
    if sites.len() > MAX_SITES {
        return Err(StoreError::Invalid { what: "the sites", why: format!("at most {MAX_SITES}, or `{ANY}` for all") });
    }
    Ok(sites)
}

impl Store {
    /// All who were given sites.
    ///
    /// # Errors
    /// The database failed.
    pub async fn installers(&self) -> Result<Vec<Installer>, StoreError> {
        let statement = sqlx::query("SELECT name, value FROM settings WHERE SUBSTR(name, 1, 10) = 'installer:' ORDER BY name");
        query::list(&mut *self.reader().await?, statement, "list installers", read).await
    }

    /// The sites of somebody; they may have been given none.
    ///
    /// # Errors
    /// The database failed.
    pub async fn installer(&self, actor: &Actor) -> Result<Installer, StoreError> {
        let actor = actor.to_string();
        let statement = sqlx::query("SELECT name, value FROM settings WHERE name = $1").bind(format!("{PREFIX}{actor}"));
        let found = query::find(&mut *self.reader().await?, statement, "look for an installer", read).await?;
        Ok(found.unwrap_or(Installer { actor, sites: vec![] }))
    }

    /// Gives somebody these sites, and no others. Whoever they are, they need the role besides.
    ///
    /// # Errors
    /// There are too many.
    pub async fn put_installer(&self, actor: &Actor, sites: &[String], by: &By) -> Result<(), StoreError> {
        let (name, actor, sites, by) = (format!("{PREFIX}{actor}"), actor.to_string(), tidied(sites)?, by.clone());
        self.write(move |tx| {
            Box::pin(async move {
                let put = if sites.is_empty() {
                    sqlx::query("DELETE FROM settings WHERE name = $1").bind(name)
                } else {
                    sqlx::query(
                        "INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                    )
                    .bind(name)
                    .bind(to_json(&sites))
                };
                tx.run(put, "write an installer's sites").await?;
                tx.audit(&by, "installer.put", None, json!({ "installer": actor, "sites": sites })).await
            })
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_installer_claims_for_his_sites_and_no_others() {
        let installer = |sites: &[&str]| {
            let sites: Vec<String> = sites.iter().map(|site| (*site).to_owned()).collect();
            Installer { actor: "user:kim".into(), sites: tidied(&sites).unwrap() }
        };
        assert!(!installer(&[]).claims_for("Store 1") && !installer(&[" ", "\0"]).claims_for(""));
        let kim = installer(&["Store 2", " Store 1 ", "Store 1"]);
        assert_eq!(kim.sites, ["Store 1", "Store 2"]);
        assert!(kim.claims_for("Store 1") && !kim.claims_for("Store 10") && !kim.claims_for("store 1"));
        assert!(installer(&["*"]).claims_for("anywhere") && installer(&["*"]).is_everywhere());
        assert!(tidied(&vec!["x".to_owned(); 5000]).is_ok());
        assert!(tidied(&(0..1001).map(|n| n.to_string()).collect::<Vec<_>>()).is_err());
    }
}
