//! What an admin does at a hub before simulated devices can come.

use anyhow::Result;
use hub::model::{Actor, By, RuleKind, Time};
use hub::store::{NewRule, NewToken, Store};

/// The label that devices get with the token, and the rule looks at.
const LABEL: (&str, &str) = ("simulated", "yes");

/// Whoever works on the hub's own host.
pub fn host() -> By {
    By::new(Actor::Host, "", Time::now())
}

/// Makes a join token for this many devices, and a rule that admits all who show it. Gives the token's text.
///
/// # Errors
/// The database failed.
pub async fn admit_all(store: &Store, devices: u32) -> Result<String> {
    let labels = [(LABEL.0.to_owned(), LABEL.1.to_owned())].into();
    let token = NewToken { name: "simulated".into(), uses: devices, labels, ..NewToken::default() };
    let (_, text) = store.create_token(token, &host()).await?;
    let label = hub::model::Label { key: LABEL.0.to_owned(), value: LABEL.1.to_owned() };
    let kind = RuleKind::Label(label);
    let rule = NewRule {
        name: "simulated".into(),
        kind,
        outcome: Default::default(),
        without_token: false,
        labels: Default::default(),
        groups: Vec::new(),
    };
    store.put_rule(rule, &host()).await?;
    Ok(text.expose().to_owned())
}
