//! Chromium without a screen, driven over W3C WebDriver: a few commands, each one HTTP request to a chromedriver of this test's own.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::{Value, json};

pub const TAB: char = '\u{E004}';
pub const ENTER: char = '\u{E007}';
pub const SPACE: char = '\u{E00D}';

/// How a browser is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    pub width: u32,
    pub height: u32,
    pub scripts: bool,
}

pub const DESKTOP: Kind = Kind { width: 1280, height: 860, scripts: true };
pub const PHONE: Kind = Kind { width: 360, height: 780, scripts: true };
/// The narrowest phone there is.
pub const NARROW: Kind = Kind { width: 320, height: 568, scripts: true };

/// A browser with one window, and its chromedriver.
pub struct Browser {
    driver: Child,
    port: u16,
    session: String,
    hub: String,
    kind: Kind,
}

/// A program in the search path.
fn program(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(name)).find(|path| path.is_file())
}

impl Browser {
    /// Starts one for the hub at this address. None, and the reason on standard error: none is installed, which fails where CI is set.
    pub fn start(hub: &str, kind: Kind) -> Option<Self> {
        let (Some(chromium), Some(driver)) = (program("chromium"), program("chromedriver")) else {
            eprintln!("the web UI is not tested: chromium and chromedriver are missing; `tools/setup.sh tests` installs them");
            assert!(std::env::var_os("CI").is_none(), "CI has all tests' tools");
            return None;
        };
        let mut driver = Command::new(driver)
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver starts");
        let port = announced_port(&mut driver);
        let mut browser = Self { driver, port, session: String::new(), hub: hub.to_owned(), kind };
        let answer = browser.call("POST", "/session", &capabilities(&chromium.to_string_lossy(), kind));
        browser.session = answer["sessionId"].as_str().expect("a session").to_owned();
        let metrics = json!({ "width": kind.width, "height": kind.height, "deviceScaleFactor": 1, "mobile": kind.width < 600 });
        browser.cdp("Emulation.setDeviceMetricsOverride", &metrics);
        Some(browser)
    }

    fn cdp(&self, command: &str, params: &Value) -> Value {
        self.command("POST", "/goog/cdp/execute", &json!({ "cmd": command, "params": params }))
    }

    fn command(&self, method: &str, path: &str, body: &Value) -> Value {
        self.call(method, &format!("/session/{}{path}", self.session), body)
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.http(method, path, body);
        assert_eq!(status, 200, "{method} {path} {body}: {answer}");
        answer["value"].clone()
    }

    fn http(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("chromedriver listens");
        let body = if method == "POST" { body.to_string() } else { String::new() };
        let length = body.len();
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
        stream.write_all((head + &body).as_bytes()).expect("sent");
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).expect("a status");
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let mut length = 0;
        loop {
            line.clear();
            reader.read_line(&mut line).expect("a header");
            let Some((name, value)) = line.trim().split_once(':') else { break };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().expect("a length");
            }
        }
        let mut answer = vec![0; length];
        reader.read_exact(&mut answer).expect("an answer");
        (status, serde_json::from_slice(&answer).expect("JSON"))
    }

    /// Goes to a page of the hub.
    pub fn go(&self, path: &str) {
        self.command("POST", "/url", &json!({ "url": format!("{}{path}", self.hub) }));
    }

    /// Where it is, without the hub's own address.
    pub fn place(&self) -> String {
        let url = self.command("GET", "/url", &Value::Null).as_str().expect("an address").to_owned();
        url.strip_prefix(&self.hub).unwrap_or_else(|| panic!("{url} is not the hub's")).to_owned()
    }

    /// What a script says.
    pub fn eval(&self, script: &str) -> Value {
        self.command("POST", "/execute/sync", &json!({ "script": script, "args": [] }))
    }

    fn element(&self, css: &str) -> String {
        let found = self.command("POST", "/element", &json!({ "using": "css selector", "value": css }));
        found.as_object().and_then(|found| found.values().next()?.as_str()).expect("an element").to_owned()
    }

    /// The text that is seen of an element.
    pub fn text(&self, css: &str) -> String {
        let path = format!("/element/{}/text", self.element(css));
        self.command("GET", &path, &Value::Null).as_str().expect("a text").to_owned()
    }

    /// Clicks it.
    pub fn click(&self, css: &str) {
        let path = format!("/element/{}/click", self.element(css));
        self.command("POST", &path, &json!({}));
    }

    /// Types into it.
    pub fn fill(&self, css: &str, text: &str) {
        let path = format!("/element/{}/value", self.element(css));
        self.command("POST", &path, &json!({ "text": text }));
    }

    /// Presses keys, wherever the focus is.
    pub fn press(&self, keys: &str) {
        let strokes =
            keys.chars().flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key.to_string() })));
        let strokes: Vec<Value> = strokes.collect();
        self.command("POST", "/actions", &json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": strokes }] }));
    }

    /// Loads a page again and again until its text has this in it.
    pub fn wait_for_page(&self, path: &str, text: &str) {
        self.wait(text, || self.go(path));
    }

    /// Waits until the page's text has this in it.
    pub fn wait_for(&self, text: &str) {
        self.wait(text, || {});
    }

    fn wait(&self, text: &str, again: impl Fn()) {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            again();
            // Asked of the page that is there now: an element could be of the one before.
            let shown = self.eval("return document.body?.innerText ?? ''").as_str().unwrap_or_default().to_owned();
            if shown.contains(text) {
                return;
            }
            assert!(Instant::now() < until, "`{text}` never appeared in:\n{shown}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Signs in with a token, and waits for the page that was asked for.
    pub fn sign_in(&self, token: &str) {
        self.fill("#token", &format!("{token}{ENTER}"));
        self.wait_for("Sign out");
    }

    /// Keeps a picture of the whole page, as `target/web-screenshots/DEVICE-NAME.png`, after looking whether the page fits.
    pub fn picture(&self, name: &str) {
        let wide = self.eval("return document.documentElement.scrollWidth - window.innerWidth");
        assert!(wide.as_i64().is_some_and(|wide| wide <= 0), "{name} is {wide} pixels wider than {}", self.kind.width);
        let shot = self.cdp("Page.captureScreenshot", &json!({ "captureBeyondViewport": true }));
        let bytes = base64::engine::general_purpose::STANDARD.decode(shot["data"].as_str().expect("a picture")).expect("base64");
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).parent().expect("target").join("web-screenshots");
        std::fs::create_dir_all(&folder).expect("a folder");
        let device = match self.kind.width {
            0..340 => "narrow",
            340..600 => "phone",
            _ => "desktop",
        };
        std::fs::write(folder.join(format!("{device}-{name}.png")), bytes).expect("written");
    }

    /// Whether everything since the last time went well: no error in the console, no request to anybody but the hub.
    pub fn check_logs(&self) {
        let console = self.command("POST", "/se/log", &json!({ "type": "browser" }));
        let errors: Vec<&Value> = console.as_array().expect("a log").iter().filter(|line| line["level"] == "SEVERE").collect();
        assert!(errors.is_empty(), "the console has {errors:?}");
        let log = self.command("POST", "/se/log", &json!({ "type": "performance" }));
        let mut asked: BTreeMap<String, u32> = BTreeMap::new();
        for line in log.as_array().expect("a log") {
            let message: Value = serde_json::from_str(line["message"].as_str().expect("a message")).expect("JSON");
            if message["message"]["method"] == "Network.requestWillBeSent" {
                let url = message["message"]["params"]["request"]["url"].as_str().expect("an address");
                *asked.entry(url.to_owned()).or_default() += 1;
            }
        }
        let foreign: Vec<&String> = asked.keys().filter(|url| !url.starts_with(&self.hub) && !url.starts_with("data:")).collect();
        assert!(foreign.is_empty(), "it asked others: {foreign:?}");
        assert!(!asked.is_empty(), "requests are seen");
    }
}

fn announced_port(driver: &mut Child) -> u16 {
    let lines = BufReader::new(driver.stdout.take().expect("piped")).lines();
    let mut words = lines.map_while(Result::ok).filter(|line| line.contains("started successfully on port"));
    let line = words.next().expect("chromedriver says its port");
    line.trim_end_matches('.').rsplit(' ').next().and_then(|port| port.parse().ok()).expect("a port")
}

fn capabilities(chromium: &str, kind: Kind) -> Value {
    let mut args = vec![
        "--headless=new".to_owned(),
        // The tests run as root in containers; what is shown is our own.
        "--no-sandbox".into(),
        "--disable-gpu".into(),
        "--disable-dev-shm-usage".into(),
        "--no-proxy-server".into(),
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1".into(),
        format!("--window-size={},{}", kind.width.max(500), kind.height),
    ];
    args.push("--hide-scrollbars".into());
    let scripts = if kind.scripts { 1 } else { 2 };
    json!({ "capabilities": { "alwaysMatch": {
        "acceptInsecureCerts": true,
        "goog:chromeOptions": {
            "binary": chromium,
            "args": args,
            "prefs": { "profile.managed_default_content_settings.javascript": scripts },
        },
        "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
    } } })
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            self.http("DELETE", &format!("/session/{}", self.session), &Value::Null);
        }
        self.driver.kill().ok();
        self.driver.wait().ok();
    }
}
