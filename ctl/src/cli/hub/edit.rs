//! `hub edit` and `hub replace`: what people say of a device, and one device in another's place.

use std::collections::BTreeMap;

use http::Method;
use serde_json::{Value, json};

use crate::failure::{Failure, UsageError};
use crate::files::{self, Access};
use crate::hub::{Body, routes};

use super::super::args::Global;
use super::super::ask::confirm;
use super::super::node::done;
use super::args::{Edit, Replace};
use super::{hub_of, id_of};

/// Only what was said is changed.
pub(super) async fn edit(global: &Global, command: Edit) -> Result<(), Failure> {
    let Edit { target, name, site, label, group } = command;
    let mut changes = serde_json::Map::new();
    changes.extend(name.map(|name| ("name".to_owned(), Value::from(name))));
    changes.extend(site.map(|site| ("site".to_owned(), Value::from(site))));
    if !label.is_empty() {
        changes.insert("labels".to_owned(), json!(label.into_iter().collect::<BTreeMap<_, _>>()));
    }
    if !group.is_empty() {
        changes.insert("groups".to_owned(), json!(group));
    }
    if changes.is_empty() {
        return Err(UsageError {
            message: "nothing is to be changed".into(),
            hint: "add --name, --site, --label or --group".into(),
        }
        .into());
    }
    let hub = hub_of(global)?;
    let id = id_of(&hub, &target).await?;
    hub.ask(Method::PATCH, &routes::device(&id), Body::Json(changes.into())).await?;
    done(global.output, "changed", &target.to_string())
}

/// The draft comes first: afterwards the old device is gone.
pub(super) async fn replace(global: &Global, command: Replace) -> Result<(), Failure> {
    let Replace { old, new, draft, yes } = command;
    confirm(&format!("put {new} in the place of {old} and revoke the key of {old}, for good"), yes)?;
    let hub = hub_of(global)?;
    let (old_id, new_id) = (id_of(&hub, &old).await?, id_of(&hub, &new).await?);
    if let Some(file) = &draft {
        let text = hub.bytes(Method::GET, &routes::draft(&old_id, &new_id), Body::None).await?;
        files::write_new(file, &text, Access::Secret)?;
    }
    hub.ask(Method::POST, &routes::replace(&old_id), Body::Json(json!({ "by": new_id }))).await?;
    if let Some(file) = &draft {
        eprintln!("sign {} with `skerryctl config sign`, then push it; it holds secrets", file.display());
    }
    done(global.output, "replaced", &old.to_string())
}
