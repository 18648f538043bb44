//! The audit, to be read.

use axum::extract::State;

use super::input::Asked;
use super::{Answer, App, ErrorBody, List};
use crate::model::{AuditEntry, AuditFilter};

/// Lines of the audit, the newest first; `before` the last one's number goes on.
#[utoipa::path(get, operation_id = "listAudit", path = "/api/v1/audit", tag = "audit", params(AuditFilter),
    responses((status = 200, body = List<AuditEntry>), (status = "default", body = ErrorBody)))]
pub(super) async fn list(State(app): State<App>, Asked(filter): Asked<AuditFilter>) -> Answer<List<AuditEntry>> {
    super::list(app.services.store.audit(&filter).await?)
}
