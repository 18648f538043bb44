//! Asking the identity provider: one request, one bounded answer, nothing followed. HTTPS, or plain HTTP on this very host.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::{Request, Response, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::options::OptionsError;

/// Bytes of an answer at most.
const MAX_ANSWER: usize = 512 << 10;
/// Time for the whole of it.
const TIME: Duration = Duration::from_secs(15);
/// Where hosts keep their authorities.
const BUNDLES: [&str; 4] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"];

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// An address that is not asked.
    #[error("cannot ask {uri}: it must begin with https://")]
    Address {
        /// As given.
        uri: String,
    },
    /// The connection failed.
    #[error("cannot connect to {host}")]
    Connect {
        /// To whom.
        host: String,
        /// Why.
        source: io::Error,
    },
    /// What was said is no HTTP.
    #[error("cannot speak HTTP with {host}")]
    Http {
        /// With whom.
        host: String,
        /// Why.
        source: hyper::Error,
    },
    /// A long answer, or one cut off.
    #[error("cannot read the answer of {host}: {reason}")]
    Answer {
        /// Whose.
        host: String,
        /// Why.
        reason: String,
    },
    /// Nothing came.
    #[error("{host} does not answer in time")]
    TimedOut {
        /// Who.
        host: String,
    },
}

/// An answer, whole, or why there is none.
type Answered = Result<Response<Vec<u8>>, FetchError>;

/// Asks.
#[derive(Clone)]
pub(super) struct Fetch {
    tls: Arc<ClientConfig>,
}

impl Fetch {
    /// Trusts the authorities in this file, or those of this host.
    pub(super) fn new(ca: Option<&PathBuf>) -> Result<Self, OptionsError> {
        let roots = roots(ca)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.expect("the provider has the default versions").with_root_certificates(roots).with_no_client_auth();
        Ok(Self { tls: Arc::new(config) })
    }

    /// As the function that the provider's library asks with.
    pub(super) fn asking(&self) -> impl Fn(Request<Vec<u8>>) -> BoxFuture<'static, Answered> + Send + Sync + use<> {
        let fetch = self.clone();
        move |request| {
            let fetch = fetch.clone();
            Box::pin(async move { fetch.send(request).await })
        }
    }

    /// The answer to a request, whole.
    async fn send(&self, request: Request<Vec<u8>>) -> Answered {
        let place = Place::of(request.uri())?;
        let late = FetchError::TimedOut { host: place.host.clone() };
        timeout(TIME, self.exchange(place, request)).await.unwrap_or(Err(late))
    }

    async fn exchange(&self, place: Place, request: Request<Vec<u8>>) -> Answered {
        let failed = |source| FetchError::Connect { host: place.host.clone(), source };
        let stream = TcpStream::connect((place.host.as_str(), place.port)).await.map_err(failed)?;
        if !place.is_secure {
            return converse(stream, &place, request).await;
        }
        let name = ServerName::try_from(place.host.clone()).map_err(|error| failed(io::Error::other(error)))?;
        let stream = TlsConnector::from(Arc::clone(&self.tls)).connect(name, stream).await.map_err(failed)?;
        converse(stream, &place, request).await
    }
}

fn roots(ca: Option<&PathBuf>) -> Result<RootCertStore, OptionsError> {
    let (path, pem) = match ca {
        Some(path) => (path.clone(), std::fs::read(path).map_err(|source| OptionsError::Read { path: path.clone(), source })?),
        None => {
            let paths = BUNDLES.iter().map(PathBuf::from);
            let mut found = paths.filter_map(|path| std::fs::read(&path).ok().map(|pem| (path, pem)));
            found.next().unwrap_or_else(|| (BUNDLES[0].into(), vec![]))
        }
    };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok));
    if roots.is_empty() { Err(OptionsError::NoAuthority { path }) } else { Ok(roots) }
}

/// Where a request goes.
struct Place {
    host: String,
    port: u16,
    is_secure: bool,
    authority: String,
}

impl Place {
    fn of(uri: &Uri) -> Result<Self, FetchError> {
        let error = || FetchError::Address { uri: uri.to_string() };
        let authority = uri.authority().ok_or_else(error)?;
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let is_here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        let is_secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") if is_here => false,
            Some(_) | None => return Err(error()),
        };
        let port = authority.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
        Ok(Self { host, port, is_secure, authority: authority.to_string() })
    }
}

async fn converse<S>(stream: S, place: &Place, request: Request<Vec<u8>>) -> Answered
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let failed = |source| FetchError::Http { host: place.host.clone(), source };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    // It ends with the answer; what is wrong with it is told there.
    let connection = tokio::spawn(async move { connection.await.ok() });
    let (mut parts, body) = request.into_parts();
    let host = http::HeaderValue::from_str(&place.authority).map_err(|_| FetchError::Address { uri: parts.uri.to_string() })?;
    parts.headers.insert(header::HOST, host);
    parts.uri = parts.uri.path_and_query().map_or_else(|| Uri::from_static("/"), |path| Uri::from(path.clone()));
    let answer = sender.send_request(Request::from_parts(parts, Full::new(Bytes::from(body)))).await.map_err(failed)?;
    let (parts, body) = answer.into_parts();
    let whole = Limited::new(body, MAX_ANSWER).collect().await;
    connection.abort();
    let whole = whole.map_err(|error| FetchError::Answer { host: place.host.clone(), reason: error.to_string() })?;
    Ok(Response::from_parts(parts, whole.to_bytes().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_do_not_leave_this_host_in_the_clear() {
        let of =
            |uri: &'static str| Place::of(&Uri::from_static(uri)).map(|place| (place.host, place.port, place.is_secure)).ok();
        assert_eq!(of("https://id.example/token"), Some(("id.example".into(), 443, true)));
        assert_eq!(of("https://[2001:db8::1]:8443/"), Some(("2001:db8::1".into(), 8443, true)));
        assert_eq!(of("http://localhost:3000/x"), Some(("localhost".into(), 3000, false)));
        for bad in ["http://id.example/token", "http://192.0.2.1/", "/token", "ftp://localhost/"] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }

    #[tokio::test]
    async fn a_provider_that_never_stops_talking_is_cut_off() {
        use tokio::io::AsyncWriteExt as _;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
        });
        let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let tls = tls
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let fetch = Fetch { tls: Arc::new(tls) };
        let request = Request::get(format!("http://{address}/")).body(vec![]).unwrap();
        assert!(matches!(fetch.send(request).await, Err(FetchError::Answer { .. })));
    }
}
