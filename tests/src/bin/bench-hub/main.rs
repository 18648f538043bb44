//! `make bench-hub`: the hub's figures, one JSON line each on standard output and in `target/bench-hub.jsonl`. What is being done goes to standard error.
//!
//! Hub and devices share this machine's processors: the hub is a program of its own, all devices are one thread of this one, with the real client,
//! over real sockets. The argument is the number of devices, 20,000 without one.

mod hub;
mod idle;
mod reconnect;
mod replicas;
mod tunnels;

use std::fs::File;
use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use skerry_tests::figure::Figure;
use skerry_tests::places;
use skerry_tests::postgres::Postgres;

/// Devices without an argument.
const DEVICES: u32 = 20_000;
/// Descriptors that are not devices' connections: the database's, logs, tunnels.
const OTHER_FILES: u64 = 200;

fn main() -> ExitCode {
    // One thread: the clock of all devices can be wound forward, and the hub has the other processor to itself.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let measured = runtime.context("cannot start the runtime").and_then(|runtime| runtime.block_on(bench()));
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-hub: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Where figures go.
struct Record {
    file: File,
    missed: u32,
}

impl Record {
    fn keep(&mut self, figure: &Figure) -> Result<()> {
        println!("{figure}");
        self.missed += u32::from(figure.missed());
        writeln!(self.file, "{figure}").context("cannot write the figures")
    }
}

async fn bench() -> Result<()> {
    let devices = match std::env::args().nth(1) {
        Some(number) => number.parse().with_context(|| format!("{number} is no number of devices"))?,
        None => DEVICES,
    };
    let devices = allow_files(devices)?;
    let path = places::in_target("")?.join("bench-hub.jsonl");
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut record = Record { file, missed: 0 };
    let postgres = Postgres::start()?;
    for database in [None, Some(postgres.database("hub")?)] {
        eprintln!("bench-hub: {devices} devices, {}", if database.is_some() { "PostgreSQL" } else { "SQLite" });
        hub::measure(devices, database, &mut record).await?;
    }
    eprintln!("bench-hub: two processes of the hub, one of them killed");
    for figure in replicas::measure(devices.min(2000), postgres.database("replicas")?).await? {
        record.keep(&figure)?;
    }
    eprintln!("bench-hub: kept in {}", path.display());
    ensure!(record.missed == 0, "{} figures do not keep to their bounds", record.missed);
    Ok(())
}

/// Raises the number of files that this process and the hub may open; where that is not allowed, the devices are as many as there may be.
fn allow_files(devices: u32) -> Result<u32> {
    let wanted = u64::from(devices) + OTHER_FILES;
    let limit = getrlimit(Resource::Nofile);
    let enough = limit.maximum.is_none_or(|most| most >= wanted);
    let maximum = if enough { limit.maximum } else { Some(wanted) };
    if setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok() {
        return Ok(devices);
    }
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).context("cannot open more files")?;
    let most = limit.maximum.unwrap_or(wanted).saturating_sub(OTHER_FILES);
    eprintln!("bench-hub: this host allows {most} connections, so there are {most} devices, not {devices}");
    Ok(u32::try_from(most).unwrap_or(devices).min(devices))
}
