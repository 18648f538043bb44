//! A hub of a test's own, and requests to it as its port hands them on.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use hub::auth::{Allowance, Auth, oidc};
use hub::cli::serve::{Options, Running, start};
use hub::images::{DownloadKey, Images};
use hub::listen::{Limits, Peer};
use hub::model::{Actor, By, Time};
use hub::people::Role;
use hub::rest::App;
use hub::store::{NewApiToken, Store};
use hub::tls::HubKey;
use serde_json::Value;
use tower::ServiceExt as _;

/// How people reach the hub.
pub const URL: &str = "https://hub.example";

/// What a test's hub has.
#[derive(Default)]
pub struct Setup {
    pub images: Option<PathBuf>,
    pub oidc: oidc::Options,
    pub allowance: Option<Allowance>,
    pub without_url: bool,
    pub request_time: Option<Duration>,
}

/// A hub, and its answers.
pub struct Hub {
    pub running: Running,
    pub admin: String,
    router: Router,
    pub folder: tempfile::TempDir,
}

/// An answer, whole.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("JSON in place of {}", String::from_utf8_lossy(&self.body)))
    }

    /// Status and code of a refusal.
    pub fn refusal(&self) -> (u16, String) {
        let code = serde_json::from_slice::<Value>(&self.body).ok().and_then(|body| Some(body["code"].as_str()?.to_owned()));
        (self.status.as_u16(), code.unwrap_or_else(|| "none".into()))
    }

    /// A header's text; empty: there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    /// The value of a cookie that it sets.
    pub fn cookie(&self, name: &str) -> Option<String> {
        let lines = self.headers.get_all("set-cookie").iter().map(|line| line.to_str().expect("text"));
        let mut values = lines.filter_map(|line| line.split(';').next()?.strip_prefix(name)?.strip_prefix('='));
        values.next().map(str::to_owned)
    }
}

impl Hub {
    pub async fn start() -> Self {
        Self::with(Setup::default()).await
    }

    pub async fn with(setup: Setup) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut options = Options::new(folder.path(), "127.0.0.1:0".parse().expect("an address"));
        options.url = Some(URL.to_owned()).filter(|_| !setup.without_url);
        let running = start(options).await.expect("it starts");
        let admin = running.admin_token.clone().expect("the first start makes one");
        let services = running.services.clone();
        let provider = oidc::Provider::new(&setup.oidc, URL).expect("a provider or none");
        let auth = Auth::new(services.store.clone(), setup.allowance.unwrap_or_default(), provider);
        let key = HubKey::load(folder.path()).expect("the start made it");
        let images = Images::new(setup.images, DownloadKey::of(&key));
        let app = App { services, auth, images, reader: None };
        let router = hub::cli::routes(app, setup.request_time.unwrap_or(Limits::default().web_request));
        Self { running, admin, router, folder }
    }

    pub fn store(&self) -> &Store {
        &self.running.services.store
    }

    /// Asks from an address.
    pub async fn ask_from(&self, from: &str, request: Request<Body>) -> Response {
        let mut request = request;
        request.extensions_mut().insert(Peer::direct(from.parse::<IpAddr>().expect("an address")));
        self.router.clone().oneshot(request).await.expect("a router always answers")
    }

    pub async fn ask(&self, request: Request<Body>) -> Answer {
        let (parts, body) = self.ask_from("192.0.2.9", request).await.into_parts();
        let body = body.collect().await.expect("an answer that ends").to_bytes().to_vec();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// Asks with a token and a JSON body; null: none.
    pub async fn call(&self, token: &str, method: Method, path: &str, body: Value) -> Answer {
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        self.ask(request(method, path).header(AUTHORIZATION, format!("Bearer {token}")).body(body).expect("a request")).await
    }

    /// Reads something as the admin; it is there.
    pub async fn get(&self, path: &str) -> Value {
        let answer = self.call(&self.admin, Method::GET, path, Value::Null).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", String::from_utf8_lossy(&answer.body));
        answer.json()
    }

    /// Does something as the admin; it works.
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        let answer = self.call(&self.admin, Method::POST, path, body).await;
        assert!(answer.status.is_success(), "{path}: {}", String::from_utf8_lossy(&answer.body));
        answer
    }

    /// An API token of this role.
    pub async fn token(&self, role: Role, scopes: &[&str]) -> String {
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        let new = NewApiToken { name: format!("test-{role}"), role, scopes, expires_at: None };
        self.store().create_api_token(new, &Default::default(), &kim()).await.expect("a token").1.expose().to_owned()
    }

    /// The actions in the audit, the newest first.
    pub async fn audited(&self) -> Vec<String> {
        let lines = self.get("/api/v1/audit?limit=500").await;
        lines["items"]
            .as_array()
            .expect("lines")
            .iter()
            .map(|line| line["action"].as_str().expect("an action").to_owned())
            .collect()
    }
}

/// A request with JSON to come, to the hub's own name.
pub fn request(method: Method, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(path).header(CONTENT_TYPE, "application/json").header(HOST, "hub.example")
}

/// An operator.
pub fn kim() -> By {
    By::new(Actor::User("kim".into()), "192.0.2.9", Time::now())
}
