//! Signing in with a real identity provider (npm's oidc-provider) on this host: groups become roles, and nothing that was not begun here ends here.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use axum::body::Body;
use http::{Method, Request, StatusCode, Uri};
use http_body_util::BodyExt as _;
use hub::auth::oidc::Options;
use hyper_util::rt::TokioIo;
use serde_json::json;

use crate::http::{Answer, Hub, Setup, URL, request};

const LOGIN: &str = "__Host-skerry";
const STATE: &str = "__Host-skerry-state";
const SECRET: &str = "a secret & 100 % of it: +/=";

/// The provider's program with what it needs, installed once; none: it cannot be, and the reason was printed.
fn program() -> Option<&'static Path> {
    static PLACE: OnceLock<Option<PathBuf>> = OnceLock::new();
    PLACE
        .get_or_init(|| match install() {
            Ok(place) => Some(place),
            Err(reason) if std::env::var_os("CI").is_none() => {
                eprintln!("not tested against an identity provider: {reason}");
                None
            }
            Err(reason) => panic!("cannot test against an identity provider: {reason}"),
        })
        .as_deref()
}

fn install() -> Result<PathBuf, String> {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oidc");
    let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join("oidc");
    std::fs::create_dir_all(&to).map_err(|error| error.to_string())?;
    let lock = std::fs::read(from.join("package-lock.json")).expect("it is in the folder");
    let is_same = std::fs::read(to.join("installed.json")).is_ok_and(|installed| installed == lock);
    for name in ["package.json", "package-lock.json", "provider.mjs"] {
        std::fs::copy(from.join(name), to.join(name)).map_err(|error| error.to_string())?;
    }
    if !is_same {
        let npm = Command::new("npm")
            .args(["ci", "--omit=dev", "--no-audit", "--no-fund", "--ignore-scripts"])
            .current_dir(&to)
            .output();
        let npm = npm.map_err(|error| format!("npm: {error}"))?;
        if !npm.status.success() {
            return Err(format!("npm ci: {}", String::from_utf8_lossy(&npm.stderr)));
        }
        std::fs::write(to.join("installed.json"), lock).map_err(|error| error.to_string())?;
    }
    Ok(to)
}

/// A provider that runs, and the hub that trusts it. The provider ends with the pipe to it.
struct Place {
    hub: Hub,
    provider: Child,
    /// Read no further, and open as long as the provider may print something.
    _printed: BufReader<ChildStdout>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.provider.kill().ok();
        self.provider.wait().ok();
    }
}

impl Place {
    async fn new() -> Option<Self> {
        let mut command = Command::new("node");
        command.arg("provider.mjs").current_dir(program()?).env("HUB", URL).env("SECRET", SECRET);
        let mut provider = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("node runs");
        let mut issuer = String::new();
        let mut printed = BufReader::new(provider.stdout.take().expect("piped"));
        printed.read_line(&mut issuer).expect("it says its address");
        let secrets = tempfile::tempdir().expect("a folder");
        let secret = secrets.path().join("secret");
        std::fs::write(&secret, format!("{SECRET}\n")).expect("written");
        let oidc = Options {
            issuer: Some(issuer.trim().to_owned()),
            client_id: Some("skerry".into()),
            client_secret_file: Some(secret),
            roles: vec!["operator=shop-ops".parse().expect("a mapping"), "admin=it".parse().expect("a mapping")],
            scopes: vec!["profile".into(), "groups".into()],
            groups_claim: "groups".into(),
            ca: None,
        };
        let hub = Hub::with(Setup { oidc, ..Setup::default() }).await;
        Some(Self { hub, provider, _printed: printed })
    }

    /// Begins at the hub: where to go, and the state's cookie.
    async fn begin(&self, next: &str) -> (String, String) {
        let answer = self.hub.ask(request(Method::GET, &format!("/sign-in/oidc?next={next}")).body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{answer:?}");
        assert!(answer.header("location").contains("code_challenge_method=S256"), "{}", answer.header("location"));
        (answer.header("location").to_owned(), answer.cookie(STATE).unwrap_or_else(|| panic!("{}", answer.header("location"))))
    }

    /// Comes back to the hub with what the provider said.
    async fn back(&self, query: &str, state: &str) -> Answer {
        let path = format!("/sign-in/oidc/callback?{query}");
        self.hub.ask(request(Method::GET, &path).header("cookie", format!("{STATE}={state}")).body(Body::empty()).unwrap()).await
    }

    async fn sign_in(&self, person: &str) -> Answer {
        let (url, state) = self.begin("/devices").await;
        let query = at_provider(&url, person).await;
        self.back(&query, &state).await
    }
}

/// A person at the provider, as a browser carries them: the query with which it sends them back to the hub. Empty: they decline.
async fn at_provider(url: &str, person: &str) -> String {
    let mut cookies: Vec<String> = vec![];
    let mut url = url.to_owned();
    for _ in 0..8 {
        let (status, location, set) = fetch(&url, person, &cookies.join("; ")).await;
        assert!(status.is_redirection(), "{status} at {url}");
        cookies.extend(set);
        if let Some(query) = location.strip_prefix(&format!("{URL}/sign-in/oidc/callback?")) {
            return query.to_owned();
        }
        let base = url.parse::<Uri>().unwrap();
        url = if location.starts_with('/') { format!("http://{}{location}", base.authority().unwrap()) } else { location };
    }
    panic!("the provider sends round in circles");
}

async fn fetch(url: &str, person: &str, cookies: &str) -> (StatusCode, String, Vec<String>) {
    let uri = url.parse::<Uri>().unwrap();
    let authority = uri.authority().unwrap().as_str();
    let stream = tokio::net::TcpStream::connect(authority).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut request = Request::get(uri.path_and_query().unwrap().as_str()).header("host", authority).header("cookie", cookies);
    if !person.is_empty() {
        request = request.header("x-person", person);
    }
    let answer = sender.send_request(request.body(String::new()).unwrap()).await.unwrap();
    let (parts, body) = answer.into_parts();
    body.collect().await.unwrap();
    let text = |value: &http::HeaderValue| value.to_str().unwrap().to_owned();
    let set = parts.headers.get_all("set-cookie").iter().map(|line| text(line).split(';').next().unwrap().to_owned());
    (parts.status, parts.headers.get("location").map(text).unwrap_or_default(), set.collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_at_the_provider_become_roles_here() {
    let Some(place) = Place::new().await else { return };
    for (person, role, name) in [("kim", "operator", "kim"), ("ada", "admin", "ada")] {
        let answer = place.sign_in(person).await;
        assert_eq!(answer.header("location"), "/devices", "{person}");
        let login = answer.cookie(LOGIN).unwrap();
        let me = place
            .hub
            .ask(request(Method::GET, "/api/v1/me").header("cookie", format!("{LOGIN}={login}")).body(Body::empty()).unwrap())
            .await;
        assert_eq!((&me.json()["role"], &me.json()["actor"]), (&json!(role), &json!(format!("user:{name}"))));
    }
    let people = place.hub.get("/api/v1/users").await;
    let kim = people["items"].as_array().unwrap().iter().find(|user| user["name"] == "kim").unwrap();
    assert_eq!(
        (&kim["displayName"], &kim["effectiveRole"], &kim["role"]),
        (&json!("Kim Example"), &json!("operator"), &json!(null))
    );
    assert_eq!(kim["groups"], json!(["shop-ops", "all"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn people_without_a_role_and_people_locked_out_stay_out() {
    let Some(place) = Place::new().await else { return };
    let refused = async |person| place.sign_in(person).await.header("location").split('&').next().unwrap().to_owned();
    assert_eq!(refused("nobody").await, "/sign-in?error=no-role");
    let put = async |body| place.hub.call(&place.hub.admin, Method::PUT, "/api/v1/users/nobody", body).await.status;
    assert_eq!(put(json!({ "role": "reader" })).await, StatusCode::NO_CONTENT);
    let login = place.sign_in("nobody").await.cookie(LOGIN).expect("a role by hand counts");
    assert_eq!(put(json!({ "role": "reader", "locked": true })).await, StatusCode::NO_CONTENT);
    let me = request(Method::GET, "/api/v1/me").header("cookie", format!("{LOGIN}={login}")).body(Body::empty()).unwrap();
    assert_eq!(place.hub.ask(me).await.refusal(), (401, "login-over".into()), "at once");
    assert_eq!(refused("nobody").await, "/sign-in?error=locked");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_begun_in_this_browser_does_not_end_in_it() {
    let Some(place) = Place::new().await else { return };
    let failed = |answer: Answer| {
        assert!(answer.cookie(LOGIN).is_none());
        answer.header("location").split('&').next().unwrap().to_owned()
    };
    let (url, state) = place.begin("/").await;
    let query = at_provider(&url, "kim").await;
    assert_eq!(failed(place.back(&query, "another").await), "/sign-in?error=provider-state", "another browser");
    assert!(place.back(&query, &state).await.cookie(LOGIN).is_some());
    assert_eq!(failed(place.back(&query, &state).await), "/sign-in?error=provider-state", "a second time");

    let (url, state) = place.begin("/").await;
    let declined = at_provider(&url, "").await;
    assert_eq!(failed(place.back(&declined, &state).await), "/sign-in?error=provider-denied");

    // A code that somebody else's sign-in gave, in this one's place: the provider does not take it with this one's verifier.
    let (stolen, _) = place.begin("/").await;
    let stolen = at_provider(&stolen, "ada").await;
    let code = stolen.split('&').find(|part| part.starts_with("code=")).unwrap().to_owned();
    let (_, state) = place.begin("/").await;
    assert_eq!(failed(place.back(&format!("{code}&state={state}"), &state).await), "/sign-in?error=provider-token");
    assert_eq!(failed(place.back("code=made-up&state=made-up", "made-up").await), "/sign-in?error=provider-state");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_token_signs_nobody_in() {
    let Some(place) = Place::new().await else { return };
    let signs_in = async |person: &str| {
        let answer = place.sign_in(person).await;
        (answer.cookie(LOGIN).is_some(), answer.header("location").split('&').next().unwrap().to_owned())
    };
    let is_in = (true, "/devices".to_owned());
    assert_eq!(signs_in("forged-nothing").await, is_in, "made again as it was, it holds: each forgery is refused for what it is");
    for forgery in [
        "by-another-key",
        "by-an-unknown-key",
        "key-inside",
        "issuer",
        "audience",
        "audiences",
        "expired",
        "unsigned",
        "hmac-of-the-public-key",
        "signature",
        "nonce",
        "without-nonce",
        "access-token",
    ] {
        assert_eq!(signs_in(&format!("forged-{forgery}")).await, (false, "/sign-in?error=provider-token".into()), "{forgery}");
    }
    assert_eq!(signs_in("forged-replay").await, is_in);
    assert_eq!(
        signs_in("forged-replay").await,
        (false, "/sign-in?error=provider-token".into()),
        "the token of an earlier sign-in"
    );
    let people = place.hub.get("/api/v1/users").await;
    let names: Vec<_> = people["items"].as_array().unwrap().iter().map(|user| user["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["forged-nothing", "forged-replay"], "nothing of a forgery is written down");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_away_leaves_tokens_working() {
    let oidc = Options { issuer: Some("http://127.0.0.1:1".into()), client_id: Some("skerry".into()), ..Options::default() };
    let hub = Hub::with(Setup { oidc, ..Setup::default() }).await;
    let answer = hub.ask(request(Method::GET, "/sign-in/oidc").body(Body::empty()).unwrap()).await;
    assert!(answer.header("location").starts_with("/sign-in?error=provider-unreachable"), "{}", answer.header("location"));
    assert_eq!(hub.get("/api/v1/me").await["role"], "admin");
}
