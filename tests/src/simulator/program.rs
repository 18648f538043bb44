//! `skerry-hub` as the program it is: started in a folder, asked what it printed, killed without a word.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use hub::model::Time;
use hub::store::Store;

use super::device::Make;
use crate::{places, sys};

/// How the program is to run.
#[derive(Debug, Clone)]
pub struct ProgramOptions {
    /// Its folder; its log goes there too.
    pub data: PathBuf,
    /// Another database than the one in the folder.
    pub database: Option<String>,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Devices that it takes.
    pub devices: u32,
}

impl ProgramOptions {
    /// In this folder, at a free port of the loopback.
    pub fn new(data: &Path) -> Self {
        Self { data: data.to_owned(), database: None, listen: SocketAddr::from(([127, 0, 0, 1], 0)), devices: 25_000 }
    }
}

/// The running program; dropping it kills it.
#[derive(Debug)]
pub struct HubProgram {
    child: Child,
    /// How it was started, with the port it got.
    pub options: ProgramOptions,
    /// What devices pin.
    pub pin: [u8; 32],
    /// The first admin token, when this start made it.
    pub admin: Option<String>,
}

impl HubProgram {
    /// Starts it and waits until it says where it listens.
    ///
    /// # Errors
    /// The program is not there or does not come up; its log says why.
    pub fn start(mut options: ProgramOptions) -> Result<Self> {
        let program = places::beside("skerry-hub");
        let log = options.data.join("hub.log");
        let mut command = Command::new(&program);
        command.arg("serve").arg("--data").arg(&options.data).args(["--listen", &options.listen.to_string()]);
        command.args(["--max-devices", &options.devices.to_string()]);
        if let Some(database) = &options.database {
            command.args(["--database", database]);
        }
        let log_file =
            File::options().create(true).append(true).open(&log).with_context(|| format!("cannot write {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log_file);
        let mut child =
            sys::die_with_parent(&mut command).spawn().with_context(|| format!("cannot start {}", program.display()))?;
        let said = child.stdout.take().context("its output is a pipe")?;
        match Announced::read(&mut BufReader::new(said)) {
            Ok(said) => {
                options.listen = said.address;
                Ok(Self { child, options, pin: said.pin, admin: said.admin })
            }
            Err(error) => {
                child.kill().ok(); // it may have ended by itself
                child.wait().context("cannot wait for it")?;
                Err(error.context(format!("skerry-hub did not come up; see {}", log.display())))
            }
        }
    }

    /// Kills it as a power cut would, and waits until it is gone.
    ///
    /// # Errors
    /// It cannot be killed.
    pub fn kill(mut self) -> Result<ProgramOptions> {
        self.end()?;
        Ok(self.options.clone())
    }

    fn end(&mut self) -> Result<()> {
        self.child.kill().context("cannot kill skerry-hub")?;
        self.child.wait().context("cannot wait for skerry-hub")?;
        Ok(())
    }

    /// Bytes of it that are in memory.
    ///
    /// # Errors
    /// It does not run.
    pub fn resident(&self) -> Result<u64> {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("the kernel tells no memory of it")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? << 10)
    }

    /// Its database, opened beside it as `skerry-hub admin-token` does.
    ///
    /// # Errors
    /// The database cannot be opened.
    pub async fn store(&self) -> Result<Store> {
        let now = Time::now();
        Ok(match &self.options.database {
            Some(database) => Store::open(database, now).await?,
            None => Store::reopen_folder(&self.options.data, now).await?,
        })
    }

    /// What devices are made of that call this hub with this token.
    pub fn make(&self, token: &str) -> Make {
        let hubs = vec![format!("https://{}", self.options.listen)];
        Make { key: super::key(0), serial: String::new(), token: token.to_owned(), trust: None, hubs, pin: self.pin }
    }
}

impl Drop for HubProgram {
    fn drop(&mut self) {
        self.end().ok(); // it may be gone already
    }
}

/// What the program says when it is up.
struct Announced {
    address: SocketAddr,
    pin: [u8; 32],
    admin: Option<String>,
}

impl Announced {
    fn read(said: &mut impl BufRead) -> Result<Self> {
        let address = word(said, "hub")?;
        let address = address.strip_prefix("https://").context("the address begins with https://")?.parse()?;
        let mut pin = [0; 32];
        hex::decode_to_slice(word(said, "pin")?, &mut pin)?;
        let admin = Some(word(said, "admin")?).filter(|word| word.starts_with("ska_"));
        Ok(Self { address, pin, admin })
    }
}

/// The second word of the next line, whose first is this one.
fn word(said: &mut impl BufRead, first: &str) -> Result<String> {
    let mut line = String::new();
    ensure!(said.read_line(&mut line)? > 0, "it ended before it said `{first}`");
    let mut words = line.split_whitespace();
    match (words.next(), words.next()) {
        (Some(found), Some(word)) if found == first => Ok(word.to_owned()),
        _ => bail!("it said `{}` in place of `{first} …`", line.trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_announces_is_read() {
        let text = format!("hub    https://127.0.0.1:7443\npin    {}\nadmin  ska_x  (shown this once)\n", "ab".repeat(32));
        let said = Announced::read(&mut text.as_bytes()).unwrap();
        assert_eq!((said.address.port(), said.pin, said.admin.as_deref()), (7443, [0xab; 32], Some("ska_x")));
        let again = text.replace("ska_x  (shown this once)", "as before");
        assert_eq!(Announced::read(&mut again.as_bytes()).unwrap().admin, None);
        for broken in ["", "pin  ab\n", "hub\n"] {
            assert!(Announced::read(&mut broken.as_bytes()).is_err(), "{broken:?}");
        }
    }
}
