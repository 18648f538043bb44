//! A PostgreSQL server of this program's own, in a temporary folder, reached by a socket in it alone. It ends with the program.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::harness::Patience;

/// Where Debian keeps the server's programs, a folder for each version: out of the path.
const VERSIONS: &str = "/usr/lib/postgresql";

/// The running server.
#[derive(Debug)]
pub struct Postgres {
    server: Child,
    folder: tempfile::TempDir,
}

impl Postgres {
    /// Makes a cluster and starts its server; a commit is on the disk before it is answered, as in real life.
    ///
    /// # Errors
    /// PostgreSQL is not installed or does not come up.
    pub fn start() -> Result<Self> {
        let folder = tempfile::tempdir().context("cannot make a folder for PostgreSQL")?;
        fs::set_permissions(folder.path(), Permissions::from_mode(0o777))?;
        let (data, log) = (folder.path().join("data"), File::create(folder.path().join("log"))?);
        let mut make = of_server("initdb")?;
        make.arg("-D").arg(&data).args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C"]);
        let made = make.stderr(log.try_clone()?).status().context("cannot run initdb")?;
        ensure!(made.success(), "initdb makes no cluster: {}", fs::read_to_string(folder.path().join("log"))?);
        let mut serve = of_server("postgres")?;
        serve.arg("-D").arg(&data).arg("-k").arg(folder.path()).args(["-c", "listen_addresses=", "-c", "max_connections=200"]);
        let server = serve.stderr(log).spawn().context("cannot start PostgreSQL")?;
        let running = Self { server, folder };
        running.wait()?;
        Ok(running)
    }

    fn wait(&self) -> Result<()> {
        let patience = Patience::new("PostgreSQL", 10);
        let deadline = patience.deadline();
        while !Command::new(program("pg_isready")?).args(["-q", "-h"]).arg(self.folder.path()).status()?.success() {
            ensure!(std::time::Instant::now() < deadline, "it did not come: {patience}");
            std::thread::sleep(std::time::Duration::from_millis(100)); // it tells nobody when it is ready
        }
        Ok(())
    }

    /// Makes a database and gives its address.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn database(&self, name: &str) -> Result<String> {
        let socket = self.folder.path();
        let made = Command::new(program("createdb")?).args(["-U", "postgres", "-h"]).arg(socket).arg(name).status();
        ensure!(made.context("cannot run createdb")?.success(), "createdb makes no database {name}");
        Ok(format!("postgres://postgres@localhost/{name}?host={}", socket.display()))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.server.kill().ok(); // it may have ended; its folder goes anyway
        self.server.wait().ok();
    }
}

/// One of the server's programs, of the newest version that has it.
fn program(name: &str) -> Result<PathBuf> {
    let versions = fs::read_dir(VERSIONS).into_iter().flatten().flatten();
    let programs = versions.map(|version| version.path().join("bin").join(name)).filter(|program| program.exists());
    programs.max().with_context(|| format!("{name} is not installed: `tools/setup.sh tests` installs PostgreSQL"))
}

/// The program, run as a user who may run it: the server refuses root.
fn of_server(name: &str) -> Result<Command> {
    let path = program(name)?;
    let mut command = if rustix::process::geteuid().is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "postgres", "--regid", "postgres", "--clear-groups", "--pdeathsig", "KILL"]).arg(path);
        command
    } else {
        Command::new(path)
    };
    command.current_dir(Path::new("/")).stdin(Stdio::null()).stdout(Stdio::null());
    Ok(command)
}
