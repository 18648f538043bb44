//! Fetching over HTTP(S), with time limits, proxies from the environment and the host's certificate authorities.
//!
//! It judges no content: what came is checked against a hash by whoever asked.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use ureq::tls::{PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};

use super::copy::{CopyError, copy};
use crate::progress::{Event, Progress};

/// How long connecting, and the wait for an answer's first byte, may take each.
const CONNECT_LIMIT: Duration = Duration::from_secs(20);

/// How long a connection may be silent within an answer.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);

/// Where hosts keep their certificate authorities, in the order looked at after `SSL_CERT_FILE`.
const BUNDLES: [&str; 4] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"];

/// Why something could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The server does not have it.
    #[error("cannot fetch {url}: the server has no such file (404)")]
    NotFound {
        /// What was asked for.
        url: String,
    },
    /// The server answered with another error.
    #[error("cannot fetch {url}: the server answered {code}")]
    Status {
        /// What was asked for.
        url: String,
        /// The HTTP status.
        code: u16,
    },
    /// No answer.
    #[error("cannot fetch {url}: {reason}")]
    Unreachable {
        /// What was asked for.
        url: String,
        /// Why, on one line.
        reason: String,
    },
    /// The answer broke off or would not end.
    #[error("cannot fetch {url}: the answer broke off; run the command again, what came whole is kept")]
    Broken {
        /// What was asked for.
        url: String,
        /// Why.
        source: io::Error,
    },
    /// The answer is something else.
    #[error(
        "cannot use what {url} answered: it is longer than the {limit} bytes expected, so something else answered in its place"
    )]
    Long {
        /// What was asked for.
        url: String,
        /// The most it may be.
        limit: u64,
    },
    /// What came cannot be written down: the disk is full, say.
    #[error("cannot keep what {url} answers")]
    Keep {
        /// What was asked for.
        url: String,
        /// Why.
        source: io::Error,
    },
}

/// A client; keeps connections open between requests.
pub struct Client {
    agent: ureq::Agent,
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl Client {
    /// A client that uses the proxy named by the environment (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`).
    pub fn new() -> Self {
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(host_roots())
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let config = ureq::Agent::config_builder()
            .tls_config(tls)
            .timeout_connect(Some(CONNECT_LIMIT))
            .timeout_recv_response(Some(SILENCE_LIMIT))
            .timeout_per_read(Some(SILENCE_LIMIT))
            .user_agent(concat!("skerry-imager/", env!("CARGO_PKG_VERSION")))
            .http_status_as_error(false)
            .build();
        Self { agent: config.new_agent() }
    }

    /// Writes the body of `url` to `sink`; `step` names the work to `progress`. More than `limit` bytes are an error.
    pub fn fetch(
        &self,
        url: &str,
        step: &str,
        limit: u64,
        sink: &mut dyn Write,
        progress: &dyn Progress,
    ) -> Result<(), HttpError> {
        let answer = self.agent.get(url).call().map_err(|error| unreachable_error(url, &error))?;
        match answer.status().as_u16() {
            200 => {}
            404 | 410 => return Err(HttpError::NotFound { url: url.into() }),
            code => return Err(HttpError::Status { url: url.into(), code }),
        }
        let mut body = answer.into_body();
        progress.event(Event::Begin { step, total_bytes: body.content_length() });
        let mut reader = body.as_reader();
        copy(&mut reader, sink, limit, |done_bytes| progress.event(Event::Advance { step, done_bytes })).map_err(|error| {
            let url = url.to_owned();
            match error {
                CopyError::Read(source) => HttpError::Broken { url, source },
                CopyError::Write(source) => HttpError::Keep { url, source },
                CopyError::Long => HttpError::Long { url, limit },
            }
        })?;
        progress.event(Event::End { step });
        Ok(())
    }
}

fn unreachable_error(url: &str, error: &ureq::Error) -> HttpError {
    HttpError::Unreachable { url: url.into(), reason: error.to_string().lines().collect::<Vec<_>>().join(" ") }
}

/// The host's authorities, so that a site's own proxy is trusted as its host trusts it. None found: HTTPS fails with a certificate error.
fn host_roots() -> RootCerts {
    let stated = std::env::var_os("SSL_CERT_FILE").map(std::path::PathBuf::from);
    let files = stated.into_iter().chain(BUNDLES.iter().map(Into::into));
    let pem = files.filter_map(|file| std::fs::read(file).ok()).find(|pem| !pem.is_empty()).unwrap_or_default();
    let certificates: Vec<_> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            Ok(_) | Err(_) => None,
        })
        .collect();
    RootCerts::new_with_certs(&certificates)
}

#[cfg(test)]
pub(crate) mod testing {
    //! A tiny server of fixed answers, for tests of everything that fetches.

    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;
    use std::sync::{Arc, Mutex};

    /// Serves `files` (path → body) for the life of the test process and returns the base address and the log of paths asked for.
    pub(crate) fn serve(files: Vec<(String, Vec<u8>)>) -> (String, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let base = format!("http://{}", listener.local_addr().expect("bound"));
        let log = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&log);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("connection");
                let mut lines = BufReader::new(stream.try_clone().expect("clone")).lines();
                let request = lines.next().expect("request").expect("text");
                lines.take_while(|line| line.as_ref().is_ok_and(|line| !line.is_empty())).for_each(drop);
                let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
                let found = files.iter().find(|(name, _)| *name == path).map(|(_, body)| body.as_slice());
                let status = if found.is_some() { "200 OK" } else { "404 Not Found" };
                let body = found.unwrap_or(b"no such file");
                seen.lock().expect("log").push(path);
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                // A client that hangs up early is part of the tests.
                let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
            }
        });
        (base, log)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;

    fn fetch(url: &str, limit: u64) -> Result<Vec<u8>, HttpError> {
        let mut body = Vec::new();
        Client::new().fetch(url, "test", limit, &mut body, &Silent)?;
        Ok(body)
    }

    #[test]
    fn bodies_and_missing_files() {
        let (base, log) = testing::serve(vec![("/a".into(), b"hello".to_vec())]);
        assert_eq!(fetch(&format!("{base}/a"), 5).expect("body"), b"hello");
        assert!(matches!(fetch(&format!("{base}/b"), 5), Err(HttpError::NotFound { .. })));
        assert!(matches!(fetch(&format!("{base}/a"), 4), Err(HttpError::Long { limit: 4, .. })));
        assert_eq!(*log.lock().expect("log"), ["/a", "/b", "/a"]);
    }

    #[test]
    fn a_full_disk_is_not_blamed_on_the_server() {
        let (base, _) = testing::serve(vec![("/a".into(), b"hello".to_vec())]);
        let mut full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("opened");
        let error = Client::new().fetch(&format!("{base}/a"), "test", 5, &mut full, &Silent).expect_err("full");
        assert!(matches!(error, HttpError::Keep { .. }), "{error}");
    }

    #[test]
    fn nobody_listening_is_unreachable_and_names_the_address() {
        let error = fetch("http://127.0.0.1:9/x", 1).expect_err("the discard port is closed");
        assert!(matches!(error, HttpError::Unreachable { .. }), "{error}");
        assert!(error.to_string().contains("http://127.0.0.1:9/x"), "{error}");
    }
}
