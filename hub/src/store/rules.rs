//! Rules in the database.

use serde_json::json;
use sqlx::AnyConnection;

use super::error::StoreError;
use super::query;
use super::row::{Fields, json as to_json};
use super::{One, Store};
use crate::model::{By, Labels, Rule, RuleKind, RuleOutcome, check_groups, check_labels};

/// Serial numbers of one rule at most.
const MAX_SERIALS: usize = 10_000;

/// A rule to make; one with the same name is replaced.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewRule {
    /// Names it in the audit: letters, digits, `.`, `_`, `/` and `-`.
    pub name: String,
    /// What it looks at.
    pub kind: RuleKind,
    /// What becomes of a device that it fits.
    #[serde(default)]
    pub outcome: RuleOutcome,
    /// Admit also devices that showed no join token.
    #[serde(default)]
    pub without_token: bool,
    /// Labels that an admitted device gets.
    #[serde(default)]
    pub labels: Labels,
    /// Groups that an admitted device gets.
    #[serde(default)]
    pub groups: Vec<String>,
}

fn read(row: &Fields<'_>) -> Result<Rule, StoreError> {
    Ok(Rule {
        name: row.text("name")?,
        kind: row.json("kind")?,
        outcome: row.word("outcome")?,
        without_token: row.truth("without_token")?,
        labels: row.json("labels")?,
        groups: row.json("device_groups")?,
        created_by: row.text("created_by")?,
        created_at: row.time("created_at")?,
    })
}

/// By name, byte for byte: in what order a database puts texts depends on its locale.
pub(super) async fn all(conn: &mut AnyConnection) -> Result<Vec<Rule>, StoreError> {
    let mut rules = query::list(conn, sqlx::query("SELECT * FROM rules"), "list rules", read).await?;
    rules.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(rules)
}

impl NewRule {
    fn check(&self) -> Result<(), StoreError> {
        check_groups(std::slice::from_ref(&self.name))?;
        check_labels(&self.labels)?;
        check_groups(&self.groups)?;
        let gives = self.without_token || !self.labels.is_empty() || !self.groups.is_empty();
        if self.outcome != RuleOutcome::Admit && gives {
            let why = "only a rule that admits gives labels and groups, or waives the join token".to_owned();
            return Err(StoreError::Invalid { what: "the rule", why });
        }
        match &self.kind {
            RuleKind::Serials(serials) if serials.is_empty() || serials.len() > MAX_SERIALS => {
                Err(StoreError::Invalid { what: "the rule", why: format!("it lists 1 to {MAX_SERIALS} serial numbers") })
            }
            RuleKind::Serials(_) | RuleKind::Manifest | RuleKind::Label(_) => Ok(()),
        }
    }
}

impl Store {
    /// Makes a rule. Devices that wait are looked at when they call next.
    ///
    /// # Errors
    /// It cannot be.
    pub async fn put_rule(&self, new: NewRule, by: &By) -> Result<(), StoreError> {
        new.check()?;
        let by = by.clone();
        self.write(move |tx| {
            Box::pin(async move {
                let statement = sqlx::query(
                    "INSERT INTO rules (name, kind, without_token, labels, device_groups, created_by, created_at, outcome) \
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (name) DO UPDATE SET kind = excluded.kind, \
                     without_token = excluded.without_token, labels = excluded.labels, device_groups = excluded.device_groups, \
                     created_by = excluded.created_by, created_at = excluded.created_at, outcome = excluded.outcome",
                )
                .bind(new.name.clone())
                .bind(to_json(&new.kind))
                .bind(i64::from(new.without_token))
                .bind(to_json(&new.labels))
                .bind(to_json(&new.groups))
                .bind(by.actor.to_string())
                .bind(by.at.millis())
                .bind(new.outcome.as_str());
                tx.run(statement, "write a rule").await?;
                let details = json!({
                    "rule": new.name, "kind": new.kind, "outcome": new.outcome, "withoutToken": new.without_token, "labels": new.labels,
                    "groups": new.groups,
                });
                tx.audit(&by, "rule.put", None, details).await
            })
        })
        .await
    }

    /// All rules, in the order in which they are asked.
    ///
    /// # Errors
    /// The database failed.
    pub async fn rules(&self) -> Result<Vec<Rule>, StoreError> {
        all(&mut *self.reader().await?).await
    }

    /// Deletes a rule. Devices that it admitted stay.
    ///
    /// # Errors
    /// There is none with this name.
    pub async fn delete_rule(&self, name: &str, by: &By) -> Result<(), StoreError> {
        let statement = sqlx::query("DELETE FROM rules WHERE name = $1").bind(name.to_owned());
        let one = One {
            doing: "delete a rule",
            what: "the rule",
            name: name.to_owned(),
            action: "rule.delete",
            device: None,
            details: json!({ "rule": name }),
        };
        self.change_one(statement, one, by).await
    }
}
