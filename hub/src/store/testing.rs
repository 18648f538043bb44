//! Stores for tests: every test runs on SQLite in a folder of its own and on a PostgreSQL database of its own. The PostgreSQL server is started
//! once for all tests of the program, by the user `postgres` in a temporary folder, and ends with the program.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::model::{Actor, AuditEntry, By, Time};
use crate::store::{AuditPlace, FollowError, Store};

/// A fixed moment.
pub(crate) const NOW: Time = Time::from_millis(1_700_000_000_000);

/// Somebody who may do everything.
pub(crate) fn kim() -> By {
    By::new(Actor::User("kim".into()), "198.51.100.7", NOW)
}

/// Defines a test that runs on both databases.
macro_rules! on_both {
    ($(#[$meta:meta])* async fn $name:ident($db:ident: Db) $body:block) => {
        $(#[$meta])*
        mod $name {
            #[allow(unused_imports, reason = "tests differ in what they need")]
            use super::*;

            async fn body($db: &$crate::store::testing::Db) $body

            #[test]
            fn sqlite() {
                $crate::store::testing::run($crate::store::testing::Db::sqlite, async |db| body(db).await);
            }

            #[test]
            fn postgres() {
                $crate::store::testing::run($crate::store::testing::Db::postgres, async |db| body(db).await);
            }
        }
    };
}
pub(crate) use on_both;

impl Store {
    /// The lines of the audit behind this one.
    pub(crate) async fn changes_after(&self, seq: i64) -> Result<Vec<AuditEntry>, FollowError> {
        self.changes_behind(&AuditPlace::behind(seq)).await.map(|changes| changes.lines)
    }
}

/// A database of a test's own.
pub(crate) struct Db {
    url: String,
    _folder: Option<tempfile::TempDir>,
}

impl Db {
    pub(crate) fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite://{}?mode=rwc", folder.path().join("hub.db").display());
        Self { url, _folder: Some(folder) }
    }

    pub(crate) fn postgres() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let socket = server();
        let name = format!("hub{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let made = Command::new(bin("createdb")).args(["-U", "postgres", "-h"]).arg(socket).arg(&name).status();
        assert!(made.expect("createdb runs").success(), "createdb {name}");
        Self { url: format!("postgres://postgres@localhost/{name}?host={}", socket.display()), _folder: None }
    }

    /// A store on it; several are as several processes of the hub.
    pub(crate) async fn store(&self) -> Store {
        self.open().await.expect("opens")
    }

    pub(crate) async fn open(&self) -> Result<Store, crate::store::StoreError> {
        Store::open(&self.url, NOW).await
    }

    /// A connection past the store, for whoever tampers with it.
    pub(crate) async fn connect(&self) -> sqlx::AnyConnection {
        <sqlx::AnyConnection as sqlx::Connection>::connect(&self.url).await.expect("connects")
    }

    /// Its address, for another process.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn is_sqlite(&self) -> bool {
        self.url.starts_with("sqlite:")
    }
}

pub(crate) fn run(make: fn() -> Db, body: impl AsyncFnOnce(&Db)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let db = make();
    runtime.block_on(body(&db));
}

/// Debian keeps the server's programs out of the path.
fn bin(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let candidates = versions.map(|entry| entry.path().join("bin").join(name));
    let found = candidates.filter(|path| path.exists()).max();
    found.unwrap_or_else(|| panic!("{name} is not installed: `tools/setup.sh tests` installs PostgreSQL"))
}

/// The folder of the server's socket.
fn server() -> &'static Path {
    static SERVER: OnceLock<PathBuf> = OnceLock::new();
    SERVER.get_or_init(start)
}

/// Begins a program as the server's user: PostgreSQL refuses to be root.
fn as_server(program: &Path) -> Command {
    let is_root = std::fs::metadata("/proc/self").map(|me| std::os::unix::fs::MetadataExt::uid(&me)).expect("/proc") == 0;
    let mut command = Command::new("setpriv");
    if is_root {
        command.args(["--reuid", "postgres", "--regid", "postgres", "--clear-groups"]);
    }
    command.args(["--pdeathsig", "QUIT"]).arg(program).current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

const FOLDER_PREFIX: &str = "skerry-hub-postgres-";

fn start() -> PathBuf {
    clean();
    let folder = std::env::temp_dir().join(format!("{FOLDER_PREFIX}{}", std::process::id()));
    std::fs::create_dir(&folder).expect("a folder");
    std::fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o777)).expect("its mode");
    let data = folder.join("data");
    let made = as_server(&bin("initdb"))
        .args(["--no-sync", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "-D"])
        .arg(&data)
        .status();
    assert!(made.expect("initdb runs").success(), "initdb");
    let (socket, log) = (folder.clone(), std::fs::File::create(folder.join("log")).expect("a log"));
    // The server ends when the thread that began it does: this one never does.
    std::thread::spawn(move || {
        let mut command = as_server(&bin("postgres"));
        command.arg("-D").arg(&data).arg("-k").arg(&socket).args(["-h", "", "-F", "-c", "max_connections=400"]);
        let mut child = command.stderr(log).spawn().expect("postgres starts");
        child.wait().expect("waits");
    });
    let begun = Instant::now();
    while !Command::new(bin("pg_isready")).args(["-q", "-h"]).arg(&folder).status().expect("pg_isready runs").success() {
        assert!(begun.elapsed() < Duration::from_secs(60), "PostgreSQL does not start: see {}", folder.join("log").display());
        std::thread::sleep(Duration::from_millis(100));
    }
    folder
}

/// What earlier runs left: their servers have ended with them.
fn clean() {
    for entry in std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(FOLDER_PREFIX));
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            std::fs::remove_dir_all(entry.path()).ok(); // another run may be at it too
        }
    }
}
