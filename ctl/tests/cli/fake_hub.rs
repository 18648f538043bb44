//! A hub of the test's own: TLS with a key that nobody vouches for, canned answers, and tunnels that lead to a fake node.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::server::ServerConfig;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_stream::StreamExt as _;

/// The token that counts.
pub const TOKEN: &str = "ska_abcdefghijklmnopqrstuvwxyz234567";

/// Where tunnels lead.
#[derive(Debug, Clone, Default)]
pub enum Leads {
    /// The device is not connected.
    #[default]
    Nowhere,
    /// To a node at this address.
    To(String),
    /// To a node at this address, with one bit changed in this byte of what the node says.
    Changed(String, usize),
    /// The hub says text where bytes belong.
    Text,
    /// The hub ends it at once, for this reason.
    Ends(&'static str),
}

/// What a fake hub is like.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    pub leads: Leads,
    pub devices: Vec<Value>,
    /// Answers that go before the canned ones: method, path without query, status, body.
    pub answers: Vec<(&'static str, String, u16, Value)>,
    /// What `/file` holds; each answer breaks off after so many bytes.
    pub file: Vec<u8>,
    pub breaks_after: usize,
}

/// A hub that runs until the test ends.
#[derive(Debug)]
pub struct FakeHub {
    pub address: SocketAddr,
    pub pin: String,
    seen: Arc<Mutex<Vec<String>>>,
}

#[derive(Clone)]
struct Shared {
    setup: Arc<Setup>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl FakeHub {
    pub fn start(setup: Setup) -> Self {
        let key = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
        let certificate = CertificateParams::new(["hub".to_owned()]).expect("a name").self_signed(&key).expect("a certificate");
        let (_, parsed) = x509_parser::parse_x509_certificate(certificate.der()).expect("a certificate");
        let pin = machine_config::types::Digest::of(parsed.public_key().raw).to_string();
        let mut tls = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("ring has TLS 1.3 suites")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
            .expect("a key that fits");
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let seen = Arc::default();
        let shared = Shared { setup: Arc::new(setup), seen: Arc::clone(&seen) };
        let router = Router::new().fallback(answer).with_state(shared);
        Self { address: listen(TlsAcceptor::from(Arc::new(tls)), router), pin, seen }
    }

    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Method, path, query and body of each request so far.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("nobody panics with it").clone()
    }
}

fn listen(acceptor: TlsAcceptor, router: Router) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.set_nonblocking(true).expect("a socket option");
    let address = listener.local_addr().expect("a bound socket");
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener).expect("a listener");
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, router) = (acceptor.clone(), router.clone());
                tokio::spawn(async move {
                    let Ok(tls) = acceptor.accept(stream).await else { return };
                    let service = TowerToHyperService::new(router);
                    let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(tls), service);
                    // A caller that leaves is no concern of the fake's.
                    let _ = connection.with_upgrades().await;
                });
            }
        });
    });
    address
}

fn refusal(status: u16, code: &str, message: &str) -> Response {
    (StatusCode::from_u16(status).expect("a status"), Json(json!({ "code": code, "message": message }))).into_response()
}

async fn answer(State(shared): State<Shared>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.expect("a small body");
    let text = String::from_utf8_lossy(&body).into_owned();
    shared.seen.lock().expect("nobody panics with it").push(format!("{} {} {text}", parts.method, parts.uri).trim().to_owned());
    let token = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if token != Some(&format!("Bearer {TOKEN}")) {
        return refusal(401, "credentials", "cannot take this token");
    }
    let path = parts.uri.path().to_owned();
    if path.ends_with("/tunnel") {
        return match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
            Ok(upgrade) => tunnel(upgrade, shared.setup.leads.clone()),
            Err(error) => error.into_response(),
        };
    }
    let fits = |(method, at, _, _): &&(&str, String, u16, Value)| *method == parts.method.as_str() && *at == path;
    if let Some((_, _, status, body)) = shared.setup.answers.iter().find(fits) {
        return (StatusCode::from_u16(*status).expect("a status"), Json(body.clone())).into_response();
    }
    if path.ends_with("/file") || path.ends_with("/changed") {
        return file(&parts.headers, &shared.setup);
    }
    canned(&parts.method, &path, &shared.setup, &text)
}

/// The file from where it is asked for, promised whole and broken off.
fn file(headers: &HeaderMap, setup: &Setup) -> Response {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let from = text(header::RANGE)
        .strip_prefix("bytes=")
        .and_then(|range| range.strip_suffix('-'))
        .map(|from| from.parse().expect("digits"));
    assert!(from.is_none() || text(header::IF_RANGE) == "\"tag\"", "it names what it has a part of");
    let rest = setup.file[from.unwrap_or(0)..].to_vec();
    let length = rest.len();
    let sent = rest[..length.min(setup.breaks_after)].to_vec();
    let end = (sent.len() < length).then(|| Err(std::io::Error::other("broken off")));
    // What was sent must have left before it breaks off.
    let pieces = [Some(Ok(sent)), end].into_iter().flatten();
    let pieces = tokio_stream::iter(pieces).then(async |piece: Result<Vec<u8>, std::io::Error>| {
        tokio::time::sleep(Duration::from_millis(20)).await;
        piece
    });
    let body = Body::from_stream(pieces);
    let status = if from.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    (status, [(header::ETAG, "\"tag\"".to_owned()), (header::CONTENT_LENGTH, length.to_string())], body).into_response()
}

fn canned(method: &Method, path: &str, setup: &Setup, body: &str) -> Response {
    match (method.as_str(), path) {
        ("GET", "/api/v1/me") => {
            Json(json!({ "actor": "token:ops", "name": "ops", "role": "operator", "scopes": [], "pin": "ab".repeat(32) }))
                .into_response()
        }
        ("GET", "/api/v1/devices") => Json(json!({ "items": setup.devices, "total": setup.devices.len() })).into_response(),
        ("POST", act) if act.starts_with("/api/v1/devices/") => {
            let ids = serde_json::from_str::<Value>(body).expect("JSON")["ids"].clone();
            let results: Vec<_> =
                ids.as_array().expect("ids").iter().map(|id| json!({ "id": id, "state": "admitted" })).collect();
            Json(json!({ "results": results })).into_response()
        }
        ("POST", "/api/v1/fleets" | "/api/v1/stations") => StatusCode::NO_CONTENT.into_response(),
        ("POST", path) if path.ends_with("/assignments") => StatusCode::NO_CONTENT.into_response(),
        ("DELETE", _) => StatusCode::NO_CONTENT.into_response(),
        ("GET", "/elsewhere") => Response::builder().status(302).header("location", "/").body(Body::empty()).expect("a response"),
        _ => refusal(404, "not-found", "there is nothing here"),
    }
}

fn tunnel(upgrade: WebSocketUpgrade, leads: Leads) -> Response {
    match leads {
        Leads::Nowhere => refusal(502, "not-connected", "the device is not connected"),
        Leads::To(node) => upgrade.on_upgrade(move |socket| carry(socket, node, usize::MAX)),
        Leads::Changed(node, at) => upgrade.on_upgrade(move |socket| carry(socket, node, at)),
        Leads::Text => upgrade.on_upgrade(async |mut socket: WebSocket| {
            let _ = socket.send(Message::Text("hello".into())).await;
            let _ = socket.recv().await;
        }),
        Leads::Ends(reason) => upgrade.on_upgrade(async move |mut socket: WebSocket| {
            let _ = socket.send(Message::Close(Some(CloseFrame { code: 1011, reason: reason.into() }))).await;
        }),
    }
}

/// Carries bytes; one bit of the byte at `changed` from the node is another.
async fn carry(mut socket: WebSocket, node: String, changed: usize) {
    let mut stream = TcpStream::connect(node).await.expect("the fake node");
    let (mut buffer, mut carried) = (vec![0; 4096], 0);
    loop {
        tokio::select! {
            read = stream.read(&mut buffer) => match read {
                Ok(0) | Err(_) => break,
                Ok(bytes) => {
                    if (carried..carried + bytes).contains(&changed) {
                        buffer[changed - carried] ^= 1;
                    }
                    carried += bytes;
                    if socket.send(Message::Binary(buffer[..bytes].to_vec().into())).await.is_err() {
                        break;
                    }
                }
            },
            message = socket.recv() => match message {
                Some(Ok(Message::Binary(data))) => {
                    if stream.write_all(&data).await.is_err() {
                        break;
                    }
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Text(_) | Message::Close(_)) | Err(_)) | None => break,
            },
        }
    }
    let _ = socket.send(Message::Close(None)).await;
}
