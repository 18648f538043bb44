//! Which page of a list.

use serde::Deserialize;
use utoipa::IntoParams;

/// Which page.
#[derive(Debug, Default, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Paged {
    /// Entries before the page.
    pub(super) offset: u64,
    /// Entries of the page; 0: a hundred.
    pub(super) limit: u32,
}
