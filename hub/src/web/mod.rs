//! The hub's pages: made on the server, usable on a phone, by keyboard and without a script. Everything they load is in this program.
//!
//! A page shows what the database says and asks the store for changes, as the REST interface does; it decides nothing itself. Handlers are the
//! edges (request, clock, database), views are pure: from what the database says to what the template shows. No text from a device, a token or a
//! file reaches a page unescaped: the templates escape all of it, and the content security policy forbids what is not this program's own.

mod assets;
mod at;
mod audit;
mod claim;
mod config;
mod configs;
mod counts;
mod device;
mod devices;
mod expected;
mod fields;
mod headers;
mod images;
mod logs;
mod oops;
mod overview;
mod pager;
mod pending;
mod people;
mod replace;
mod rules;
mod shell;
mod sign_in;
mod tokens;
mod trust;
mod upload;
mod view;
mod visitor;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn;
use axum::routing::{get, post};

// What the pages are made from.
use crate::rest::App as Web;

/// Bytes of a form at most: a few hundred chosen devices.
const MAX_FORM: usize = 128 << 10;

/// All pages.
pub fn routes(web: Web) -> Router {
    let pages = Router::new()
        .route("/", get(overview::page))
        .route("/counts", get(counts::json))
        .route("/sign-in", get(sign_in::page))
        .route("/devices", get(devices::page).post(device::act))
        .route("/devices/{id}", get(device::page).post(device::edit))
        .route("/devices/{id}/replace", get(replace::page).post(replace::replace))
        .route("/devices/{id}/logs", get(logs::page))
        .route("/devices/{id}/logs/stream", get(logs::stream))
        .route("/pending", get(pending::page))
        .route("/tokens", get(tokens::page).post(tokens::create))
        .route("/tokens/{id}/revoke", post(tokens::revoke))
        .route("/configs/{digest}", get(config::page))
        .route("/configs/{digest}/assign", post(config::assign))
        .route("/configs/{digest}/unassign", post(config::unassign))
        .route("/configs/{digest}/delete", post(config::delete))
        .route("/rules", get(rules::page).post(rules::make))
        .route("/rules/policy", post(rules::policy))
        .route("/rules/{name}/delete", post(rules::delete))
        .route("/trust", get(trust::page))
        .route("/trust/fleets/{name}/delete", post(trust::delete_fleet))
        .route("/trust/stations", post(trust::put_station))
        .route("/trust/stations/{id}/delete", post(trust::delete_station))
        .route("/expected/forget", post(expected::forget))
        .route("/images", get(images::page).post(images::stamp))
        .route("/images/phone-home", post(images::phone_home))
        .route("/audit", get(audit::page))
        .route("/people", get(people::page))
        .route("/people/lock", post(people::lock))
        .route("/people/role", post(people::role))
        .route("/people/sites", post(people::sites))
        .route("/people/tokens", post(people::create_token))
        .route("/people/tokens/{id}/revoke", post(people::revoke_token))
        .route("/claim", get(claim::find))
        .route("/claim/{kind}/{value}", get(claim::page).post(claim::claim))
        .layer(DefaultBodyLimit::max(MAX_FORM));
    let uploads = Router::new()
        .route("/configs", get(configs::page).post(configs::upload))
        .route("/trust/fleets", post(trust::put_fleet))
        .layer(DefaultBodyLimit::max(configs::MAX_UPLOAD));
    let logs = Router::new()
        .route("/expected", get(expected::page).post(expected::import))
        .layer(DefaultBodyLimit::max(expected::MAX_UPLOAD));
    let all = pages
        .merge(uploads)
        .merge(logs)
        .fallback(at::nowhere)
        .with_state(web)
        .layer(from_fn(at::plain))
        .layer(from_fn(headers::secure));
    all.merge(Router::new().route("/assets/{version}/{name}", get(assets::serve)))
}
