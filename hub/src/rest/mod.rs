//! The REST interface at `/api/v1`: everything people and programs do with the hub. JSON in camelCase; what fails says a code and a line.
//!
//! Handlers translate and nothing else: who may is the table's ([`ROUTES`]) and the gate's, what happens is the store's, which also writes the
//! audit.

mod audit;
mod claims;
mod configs;
mod devices;
mod downloads;
mod expected;
mod failure;
mod fleets;
mod guard;
mod images;
mod input;
mod installers;
mod openapi;
mod own;
mod paged;
mod people;
mod phone_home;
mod plain;
mod routes;
mod rules;
mod site;
mod states;
mod tokens;

use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::any;
use axum::{Json, Router};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::Auth;
use crate::cli::Services;
use crate::images::Images;
use crate::reader::Reader;

pub use failure::{ErrorBody, Failure};
pub use openapi::document;
pub use routes::{ROUTES, Route, Who, route_of};

pub(crate) use failure::causes;
pub(crate) use guard::in_time;
pub(crate) use installers::actor_of;
pub(crate) use plain::has_control;
pub(crate) use site::{ClaimError, bound_to, claim};

/// Bytes of a body at most, where nothing else is said.
const MAX_BODY: usize = 512 << 10;
/// Bytes of a log of flashed drives at most; the store's own bound lies below.
const MAX_LOG: usize = 17 << 20;

/// What the interface works with.
#[derive(Debug, Clone)]
pub struct App {
    /// The hub's parts.
    pub services: Services,
    /// Who asks.
    pub auth: Auth,
    /// Images to download.
    pub images: Images,
    /// With what the hub reads devices' logs; none: it does not.
    pub reader: Option<Reader>,
}

/// An answer that is a list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct List<T> {
    /// All there are.
    items: Vec<T>,
}

type Answer<T> = Result<Json<T>, Failure>;
type Done = Result<StatusCode, Failure>;

fn list<T>(items: Vec<T>) -> Answer<List<T>> {
    Ok(Json(List { items }))
}

/// The routes with their descriptions.
fn described() -> OpenApiRouter<App> {
    let logs = OpenApiRouter::new().routes(routes!(expected::import_records)).layer(DefaultBodyLimit::max(MAX_LOG));
    OpenApiRouter::new()
        .routes(routes!(openapi::serve))
        .routes(routes!(own::me))
        .routes(routes!(own::overview))
        .routes(routes!(devices::list))
        .routes(routes!(states::approve))
        .routes(routes!(states::refuse))
        .routes(routes!(states::quarantine))
        .routes(routes!(states::remove))
        .routes(routes!(devices::get, devices::edit))
        .routes(routes!(devices::events))
        .routes(routes!(devices::deliveries))
        .routes(routes!(devices::replace))
        .routes(routes!(devices::replacement_draft))
        .routes(routes!(devices::tunnel))
        .routes(routes!(claims::find, claims::claim))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::get, tokens::revoke))
        .routes(routes!(fleets::list, fleets::put))
        .routes(routes!(fleets::delete))
        .routes(routes!(fleets::stations, fleets::put_station))
        .routes(routes!(fleets::delete_station))
        .routes(routes!(configs::list, configs::upload))
        .routes(routes!(configs::get, configs::delete))
        .routes(routes!(configs::masked))
        .routes(routes!(configs::deliveries))
        .routes(routes!(configs::assign, configs::unassign))
        .routes(routes!(rules::list, rules::put))
        .routes(routes!(rules::delete))
        .routes(routes!(rules::policy, rules::put_policy))
        .routes(routes!(expected::list))
        .routes(routes!(expected::forget))
        .routes(routes!(expected::import_manifest))
        .routes(routes!(people::list))
        .routes(routes!(people::put, people::change))
        .routes(routes!(installers::list))
        .routes(routes!(installers::put))
        .routes(routes!(people::api_tokens, people::create_api_token))
        .routes(routes!(people::revoke_api_token))
        .routes(routes!(audit::list))
        .routes(routes!(images::list))
        .routes(routes!(images::get))
        .routes(routes!(phone_home::get, phone_home::put))
        .routes(routes!(downloads::create))
        .routes(routes!(downloads::get))
        .merge(logs)
}

/// The router with its gate. The bound of time lies around this and all other routes: `cli::routes`.
pub fn router(app: App) -> Router {
    let (router, _) = described().split_for_parts();
    let nowhere = async || Failure::missing("this path: see /api/v1/openapi.json");
    router
        .route_layer(from_fn_with_state(app.clone(), guard::guard))
        .route("/api/v1/{*path}", any(nowhere))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(from_fn(plain::plain))
        .layer(from_fn(guard::dress))
        .with_state(app)
}
