//! One request: decide, then pass it on as it came, or refuse it.

use std::convert::Infallible;
use std::time::SystemTime;

use api::internal::Settings;
use http::header::HeaderValue;
use http::{HeaderMap, Request, Response};
use tokio::sync::watch;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::transport::Channel;
use tower::ServiceExt;
use tracing::warn;

use crate::peer::Peer;
use crate::policy::{Route, decide};

/// Headers that only apid may set; a caller's own are dropped.
const RESERVED_PREFIX: &str = "x-skerry-";

/// What every connection shares.
#[derive(Clone)]
pub struct Forwarder {
    /// To init.
    pub init: Channel,
    /// Health and reflection.
    pub local: Routes,
    /// The settings in force.
    pub settings: watch::Receiver<Option<Settings>>,
}

impl Forwarder {
    /// Answers one request of `peer`.
    pub async fn call(self, peer: Peer, mut request: Request<Body>) -> Result<Response<Body>, Infallible> {
        let Some(maintenance) = self.settings.borrow().as_ref().map(|settings| settings.maintenance) else {
            return Ok(tonic::Status::unavailable("the device is starting; try again").into_http());
        };
        match decide(request.uri().path(), &peer, maintenance, SystemTime::now()) {
            Err(refused) => {
                warn!(peer = peer.name(), code = refused.code(), path = request.uri().path(), "call refused");
                Ok(refused.status().into_http())
            }
            Ok(Route::Local) => self.local.oneshot(request).await,
            Ok(Route::Init) => {
                mark(request.headers_mut(), &peer);
                Ok(self.init.oneshot(request).await.unwrap_or_else(|error| {
                    warn!(%error, "cannot reach init");
                    tonic::Status::unavailable("init does not answer; try again, then look at the device's console").into_http()
                }))
            }
        }
    }
}

/// Replaces whatever the caller claimed about itself by what its certificate says.
fn mark(headers: &mut HeaderMap, peer: &Peer) {
    let claimed: Vec<_> = headers.keys().filter(|name| name.as_str().starts_with(RESERVED_PREFIX)).cloned().collect();
    for name in claimed {
        headers.remove(name);
    }
    let name = HeaderValue::from_str(peer.name()).expect("peer names hold printable ASCII only");
    headers.insert(api::PEER_METADATA, name);
    headers.insert(api::ROLE_METADATA, HeaderValue::from_static(peer.role_word()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_cannot_claim_a_role_in_a_header() {
        let mut headers = HeaderMap::new();
        headers.append(api::ROLE_METADATA, HeaderValue::from_static("admin"));
        headers.append(api::ROLE_METADATA, HeaderValue::from_static("operator"));
        headers.append("x-skerry-other", HeaderValue::from_static("1"));
        headers.append("te", HeaderValue::from_static("trailers"));
        mark(&mut headers, &Peer::Anonymous);
        assert_eq!(headers.get_all(api::ROLE_METADATA).iter().collect::<Vec<_>>(), ["anonymous"]);
        assert_eq!(headers.get(api::PEER_METADATA).map(HeaderValue::as_bytes), Some(b"anonymous".as_slice()));
        assert!(!headers.contains_key("x-skerry-other"));
        assert!(headers.contains_key("te"));
    }
}
