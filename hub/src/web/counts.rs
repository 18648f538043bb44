//! The fleet's numbers for pages that are looked at for a while.

use axum::Json;
use axum::extract::State;

use super::Web;
use super::oops::Oops;
use super::visitor::Visitor;
use crate::auth::Area;
use crate::model::Overview;
use crate::people::Role;

/// The numbers.
pub(super) async fn json(State(web): State<Web>, visitor: Visitor) -> Result<Json<Overview>, Oops> {
    visitor.may_see(Role::Reader, Area::Own)?;
    Ok(Json(web.services.store.overview(visitor.now).await?))
}
