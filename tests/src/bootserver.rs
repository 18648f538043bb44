//! `imager serve` as a warehouse runs it, watched through its JSON events.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::harness::logs::Logs;
use crate::harness::{Console, Patience};
use crate::images;
use crate::network::BRIDGE;
use crate::sys;

/// A running server; dropped, it is ended.
#[derive(Debug)]
pub struct BootServer {
    child: Child,
    events: Console,
}

impl BootServer {
    /// Starts it on the bench's network, which the calling thread must be on. Everything lies in `folder`: `devices.csv`, the station's key `station`,
    /// and what it writes.
    pub fn start(images: &[PathBuf], folder: &Path, more: &[&str], logs: &Logs, run: u32) -> Result<Self> {
        let mut command = Command::new(images::imager());
        command.arg("--json").arg("serve").args(images);
        command.arg("--inventory").arg(folder.join("devices.csv")).arg("--station-key").arg(folder.join("station"));
        command.arg("--out").arg(folder).args(["--interface", BRIDGE]).args(more);
        command.current_dir(crate::places::workspace());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(logs.create(run, "server-errors.log")?);
        let mut child = sys::die_with_parent(&mut command).spawn().context("cannot run imager")?;
        let output = child.stdout.take().context("its output was asked for as a pipe")?;
        let events = Console::read(output, logs.create(run, "server.log")?);
        let mut server = Self { child, events };
        server.wait_for("listening", &Patience::new("the boot server", 20))?;
        Ok(server)
    }

    /// Waits for the next event of this sort.
    pub fn wait_for(&mut self, event: &str, patience: &Patience) -> Result<Value> {
        self.wait_until(patience, |value| value["event"] == event)
    }

    /// Waits for the next event that `is_it`.
    pub fn wait_until(&mut self, patience: &Patience, is_it: impl Fn(&Value) -> bool) -> Result<Value> {
        let line = self.events.wait_for(patience, |line| serde_json::from_str(line).is_ok_and(|value| is_it(&value)))?;
        Ok(serde_json::from_str(&line)?)
    }

    /// All events so far.
    pub fn events(&self) -> Vec<Value> {
        self.events.lines().iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}

impl Drop for BootServer {
    fn drop(&mut self) {
        // Policy: a child that is already gone needs no ending.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
