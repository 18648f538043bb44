//! The one gate before every route: counts the caller, proves him, looks into the table, and only then lets the request through. A route that
//! stands in no row of the table is not served. The bound of time here is for everything that answers HTTP.

use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use tokio::time::timeout;

use super::App;
use super::failure::Failure;
use super::routes::{Route, Who, route_of};
use crate::auth::{Area, AuthError, CSRF_HEADER, Caller, Proof, is_same_origin};
use crate::listen::Peer;
use crate::model::Time;

/// What no browser may do with an answer: run it, guess its type, show it in a frame, keep it.
static HEADERS: [(HeaderName, &str); 5] = [
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
];

/// Lets a request through, or says why not.
pub(super) async fn guard(State(app): State<App>, mut request: Request, next: Next) -> Result<Response, Failure> {
    let path = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned()).unwrap_or_default();
    let Some(route) = route_of(request.method(), &path) else {
        return Err(Failure::new(StatusCode::METHOD_NOT_ALLOWED, "method", "cannot do this here: no such method"));
    };
    // The listener puts it there; without it nobody's calls could be counted.
    let peer = *request.extensions().get::<Peer>().ok_or(AuthError::Nobody)?;
    app.auth.count_call(peer.address)?;
    if let Some(caller) = admit(&app, route, peer, request.method(), request.headers(), request.uri()).await? {
        request.extensions_mut().insert(caller);
    }
    Ok(next.run(request).await)
}

async fn admit(
    app: &App,
    route: &Route,
    peer: Peer,
    method: &Method,
    headers: &HeaderMap,
    uri: &Uri,
) -> Result<Option<Caller>, AuthError> {
    let needed = match route.who {
        Who::Anybody => return Ok(None),
        Who::Anyone => None,
        Who::Role(role) => Some(role),
    };
    let caller = app.auth.caller(headers, peer, Time::now()).await?;
    let writes = !matches!(*method, Method::GET | Method::HEAD);
    if let Some(needed) = needed {
        // What goes through a tunnel may change the device: a token that may only look opens none.
        caller.check(needed, route.area, writes || route.area == Area::Tunnels)?;
    }
    if writes {
        let shown = headers.get(CSRF_HEADER).and_then(|value| value.to_str().ok());
        caller.check_csrf(shown)?;
    }
    // A page of another site may open a WebSocket with the cookie; only the origin tells.
    let is_upgrade = headers.contains_key(header::UPGRADE) || method == Method::CONNECT;
    match caller.proof {
        Proof::Cookie { .. } if is_upgrade && !is_same_origin(headers, uri) => Err(AuthError::Origin),
        Proof::Cookie { .. } | Proof::Token => Ok(Some(caller)),
    }
}

/// Ends what takes too long from a request's headers to its answer's: also a body that is sent a byte a minute, by whoever proved nothing. What
/// streams after that has the connection's own time.
pub(crate) async fn in_time(State(time): State<Duration>, request: Request, next: Next) -> Response {
    let late = || Failure::new(StatusCode::REQUEST_TIMEOUT, "slow", "the request took too long").into_response();
    timeout(time, next.run(request)).await.unwrap_or_else(|_| dressed(late()))
}

/// Puts the headers on every answer.
pub(super) async fn dress(request: Request, next: Next) -> Response {
    dressed(next.run(request).await)
}

fn dressed(mut response: Response) -> Response {
    for (name, value) in &HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}
