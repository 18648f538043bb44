//! Everything that answers HTTP, put together; and the few answers that belong to no other part: signs of life, counters, tunnels between processes.

use std::time::Duration;

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use machine_config::DeviceId;
use serde_json::json;

use super::services::Services;
use crate::auth::{self, Area};
use crate::listen::Peer;
use crate::metrics::CONTENT_TYPE;
use crate::model::Time;
use crate::people::Role;
use crate::replica::{ForwardError, PATH, SECRET_HEADER, WHO_HEADER, tell};
use crate::rest::{self, App, Failure};
use crate::tunnel::TunnelError;
use crate::web;

/// All routes of the hub. Whoever asks, `time` after a request's headers its answer begins.
pub fn routes(app: App, time: Duration) -> Router {
    let own = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route(&format!("{PATH}{{device}}"), get(replica_tunnel))
        .with_state(app.services.clone());
    let counters = Router::new().route("/metrics", get(metrics)).with_state(app.clone());
    let all = own.merge(counters).merge(auth::routes(app.auth.clone())).merge(web::routes(app.clone())).merge(rest::router(app));
    all.layer(from_fn_with_state(time, rest::in_time))
}

/// An answer that is an error: a stable code and a line for a person.
fn refusal(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(json!({ "code": code, "message": message }))).into_response()
}

/// The counters, for this very host, and for whoever may read them. Calls are counted before anything is looked up for them.
async fn metrics(State(app): State<App>, Extension(peer): Extension<Peer>, headers: HeaderMap) -> Result<Response, Failure> {
    app.auth.count_call(peer.address)?;
    if !peer.local {
        app.auth.caller(&headers, peer, Time::now()).await?.check(Role::Reader, Area::Metrics, false)?;
    }
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], app.services.metrics.text()).into_response())
}

fn tunnel_refusal(error: &TunnelError) -> Response {
    let status = match error {
        TunnelError::Open(_) | TunnelError::Forward(_) => StatusCode::BAD_GATEWAY,
        TunnelError::Enough(_) => StatusCode::TOO_MANY_REQUESTS,
        TunnelError::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut response = refusal(status, error.code(), &error.to_string());
    if let TunnelError::Open(error) | TunnelError::Forward(ForwardError::Device(error)) = error {
        tell(error, response.headers_mut());
    }
    response
}

/// A tunnel for another process of the hub.
async fn replica_tunnel(
    State(services): State<Services>,
    Path(device): Path<DeviceId>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let shown = headers.get(SECRET_HEADER).map(|value| value.as_bytes()).unwrap_or_default();
    let who = headers.get(WHO_HEADER).and_then(|value| hex::decode(value).ok()).and_then(|who| String::from_utf8(who).ok());
    match services.tunnels.serve_replica(shown, &who.unwrap_or_default(), device, upgrade).await {
        Ok(Some(response)) => response,
        Ok(None) => refusal(StatusCode::NOT_FOUND, "not-found", "there is nothing here"),
        Err(error) => tunnel_refusal(&error),
    }
}
