//! Asking the hub: one request, one bounded answer. Redirects are not followed, and nothing is sent to whoever is not the hub.

use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use machine_config::types::Secret;
use serde::Deserialize;
use serde_json::Value;

use super::{HubError, HubTrust, HubUrl, link};

/// Bytes of an answer at most: a page of devices with their hardware.
const MAX_ANSWER: usize = 32 << 20;
/// Bytes of a refusal that are read.
const MAX_REFUSAL: usize = 64 << 10;

/// A hub, and who asks it.
#[derive(Debug, Clone)]
pub struct Hub {
    /// Where it answers.
    pub url: HubUrl,
    /// Who it must be.
    pub trust: HubTrust,
    /// The token that is shown; none: nobody asks.
    pub token: Option<Secret>,
    /// Time for connecting and the answer's beginning, and again for the rest of it.
    pub timeout: Duration,
}

/// What goes with a request.
#[derive(Debug, Clone)]
pub enum Body {
    /// Nothing.
    None,
    /// JSON.
    Json(Value),
    /// A file as it is.
    File {
        /// Its bytes.
        bytes: Vec<u8>,
        /// Its media type.
        media: &'static str,
    },
}

/// A refusal as the hub writes it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Refusal {
    code: String,
    message: String,
}

impl Hub {
    /// Asks for something.
    ///
    /// # Errors
    /// The hub is not reached, not trusted, or refuses.
    pub async fn get(&self, path: &str) -> Result<Value, HubError> {
        self.ask(Method::GET, path, Body::None).await
    }

    /// Sends something and reads the answer, which is JSON or empty.
    ///
    /// # Errors
    /// The hub is not reached, not trusted, or refuses.
    pub async fn ask(&self, method: Method, path: &str, body: Body) -> Result<Value, HubError> {
        let asked = format!("{method} {path}");
        let bytes = self.bytes(method, path, body).await?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).map_err(|error| self.senseless(asked, error.to_string()))
    }

    /// Sends something and reads the answer, whatever it is.
    ///
    /// # Errors
    /// The hub is not reached, not trusted, or refuses.
    pub async fn bytes(&self, method: Method, path: &str, body: Body) -> Result<Bytes, HubError> {
        let asked = format!("{method} {path}");
        let response = self.open(&asked, self.request(method, path, body)?).await?;
        self.within(self.collect(&asked, response.into_body(), MAX_ANSWER)).await
    }

    /// Sends a request and gives back what is answered, when it is no refusal, before it is read.
    pub(super) async fn open(&self, asked: &str, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, HubError> {
        let response = self.within(self.send(request)).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(self.within(self.refusal(asked, response)).await?)
    }

    /// A request to this hub, with the token.
    pub(super) fn request(&self, method: Method, path: &str, body: Body) -> Result<Request<Full<Bytes>>, HubError> {
        let asked = format!("{method} {path}");
        let request =
            Request::builder().method(method).uri(path).header(HOST, self.url.authority()).header(ACCEPT, "application/json");
        let request = match &self.token {
            None => request,
            Some(token) => {
                let value = HeaderValue::try_from(format!("Bearer {}", token.expose()));
                let mut value =
                    value.map_err(|_| self.senseless(asked.clone(), "the token has characters no token has".into()))?;
                value.set_sensitive(true);
                request.header(AUTHORIZATION, value)
            }
        };
        let request = match body {
            Body::None => request.body(Full::default()),
            Body::Json(value) => request.header(CONTENT_TYPE, "application/json").body(Full::from(value.to_string())),
            Body::File { bytes, media } => request.header(CONTENT_TYPE, media).body(Full::from(bytes)),
        };
        request.map_err(|error| self.senseless(asked, error.to_string()))
    }

    /// Sends a request over a connection of its own, which may become something else than HTTP.
    pub(super) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, HubError> {
        let stream = link::connect(&self.url, &self.trust).await?;
        let lost = |source| HubError::Lost { url: self.url.clone(), source };
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
        // It ends with the answer; what breaks it breaks the answer too, which says so.
        tokio::spawn(async move { connection.with_upgrades().await.ok() });
        sender.send_request(request).await.map_err(lost)
    }

    /// What the hub says when it does not do it.
    pub(super) async fn refusal(&self, asked: &str, response: Response<Incoming>) -> Result<HubError, HubError> {
        let status = response.status();
        let bytes = self.collect(asked, response.into_body(), MAX_REFUSAL).await?;
        let mut refusal: Refusal = serde_json::from_slice(&bytes).unwrap_or_default();
        if status.is_redirection() {
            refusal.message = "it sends the caller elsewhere, which skerryctl does not follow; check the address".to_owned();
        } else if refusal.message.is_empty() {
            refusal.message = format!("{asked} is answered with {status}");
        }
        let Refusal { code, message } = refusal;
        Ok(HubError::Refused { url: self.url.clone(), status: status.as_u16(), code, message })
    }

    async fn collect(&self, asked: &str, body: Incoming, limit: usize) -> Result<Bytes, HubError> {
        match Limited::new(body, limit).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => {
                Err(HubError::TooLong { url: self.url.clone(), asked: asked.to_owned(), limit })
            }
            Err(error) => match error.downcast::<hyper::Error>() {
                Ok(source) => Err(HubError::Lost { url: self.url.clone(), source: *source }),
                Err(error) => Err(self.senseless(asked.to_owned(), error.to_string())),
            },
        }
    }

    /// The same with a bound in time.
    pub(super) async fn within<T>(&self, work: impl Future<Output = Result<T, HubError>>) -> Result<T, HubError> {
        let late = || HubError::Timeout { url: self.url.clone(), timeout: self.timeout };
        tokio::time::timeout(self.timeout, work).await.unwrap_or_else(|_| Err(late()))
    }

    pub(super) fn senseless(&self, asked: String, reason: String) -> HubError {
        HubError::Senseless { url: self.url.clone(), asked, reason }
    }
}
