//! Fetching a large file from the hub: piece by piece, going on where a connection broke, for as long as each try brings something.

use http::header::{ETAG, HeaderValue, IF_RANGE, RANGE};
use http::{Method, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::{Bytes, Incoming};

use super::{Body, Hub, HubError};

/// A file that comes.
#[derive(Debug)]
pub(crate) struct Arriving<'a> {
    hub: &'a Hub,
    path: String,
    bytes: u64,
    have: u64,
    /// Had when the last connection was made.
    had: u64,
    /// The hub's name for exactly these bytes.
    tag: Option<HeaderValue>,
    now: Option<Incoming>,
}

impl<'a> Arriving<'a> {
    /// A file of so many bytes at this path of the hub.
    pub(crate) fn new(hub: &'a Hub, path: String, bytes: u64) -> Self {
        Self { hub, path, bytes, have: 0, had: 0, tag: None, now: None }
    }

    /// The next piece; none: that was all.
    ///
    /// # Errors
    /// The hub is lost and brings nothing when it is asked again, the file there was changed, or it is not as long as it was said to be.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, HubError> {
        loop {
            if self.have == self.bytes {
                return Ok(None);
            }
            let body = match &mut self.now {
                Some(body) => body,
                None => self.now.insert(open(self.hub, &self.path, self.have, &mut self.tag).await?),
            };
            let hub = self.hub;
            let frame = hub.within(async { Ok(body.frame().await) }).await;
            match frame {
                Ok(Some(Ok(frame))) => {
                    let data = frame.into_data().unwrap_or_default();
                    self.have += data.len() as u64;
                    if self.have > self.bytes {
                        return Err(self.wrong("it is longer than the hub said"));
                    }
                    return Ok(Some(data));
                }
                Ok(None) => return Err(self.wrong("it is shorter than the hub said")),
                Ok(Some(Err(_))) | Err(_) if self.have > self.had => {
                    self.had = self.have;
                    self.now = None;
                }
                Ok(Some(Err(source))) => return Err(HubError::Lost { url: hub.url.clone(), source }),
                Err(late) => return Err(late),
            }
        }
    }

    fn wrong(&self, reason: &str) -> HubError {
        self.hub.senseless(format!("GET {}", self.path), reason.to_owned())
    }
}

async fn open(hub: &Hub, path: &str, from: u64, tag: &mut Option<HeaderValue>) -> Result<Incoming, HubError> {
    let asked = format!("GET {path}");
    let mut request = hub.request(Method::GET, path, Body::None)?;
    if from > 0 {
        let range = HeaderValue::try_from(format!("bytes={from}-")).expect("digits have a place in a header");
        request.headers_mut().insert(RANGE, range);
        if let Some(tag) = tag.clone() {
            request.headers_mut().insert(IF_RANGE, tag);
        }
    }
    let response: Response<Incoming> = hub.open(&asked, request).await?;
    if from > 0 && response.status() != StatusCode::PARTIAL_CONTENT {
        return Err(hub.senseless(asked, "it was changed while it came; begin again".to_owned()));
    }
    *tag = response.headers().get(ETAG).cloned();
    Ok(response.into_body())
}
