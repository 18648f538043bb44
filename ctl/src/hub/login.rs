//! From the context file to a hub that can be asked.

use std::time::Duration;

use crate::context::{ContextError, ContextFile};
use crate::failure::Failure;

use super::{Hub, HubError, HubTrust};

/// The hub of this context, with its token.
pub(crate) fn known(file: &ContextFile, timeout: Duration) -> Result<Hub, Failure> {
    let known = file.context().hub.clone().ok_or(HubError::NoHub)?;
    let token = file.hub_token().map_err(|error: ContextError| Failure::from(error))?;
    Ok(Hub { url: known.url, trust: HubTrust::of(known.pin), token, timeout })
}
