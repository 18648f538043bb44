//! The operator's desk: a folder with the fleet and `skerryctl`. Whatever is done to hub and devices is done with that program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::harness::Patience;
use crate::places;

/// The folder of the fleet on the desk.
const FLEET: &str = "fleet";
/// Between two looks at something that takes its time.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The desk.
#[derive(Debug)]
pub struct Desk {
    folder: tempfile::TempDir,
}

/// What a run of `skerryctl` came to.
#[derive(Debug)]
pub struct Ran {
    /// The exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Desk {
    /// A desk with a copy of this fleet's folder: the context file in it will be the desk's own.
    ///
    /// # Errors
    /// The fleet cannot be copied.
    pub fn with(fleet: &Path) -> Result<Self> {
        // Beside the images: what is stamped here shares their blocks where the file system can.
        let folder = tempfile::tempdir_in(places::target()).context("cannot make a desk")?;
        copy_tree(fleet, &folder.path().join(FLEET))?;
        Ok(Self { folder })
    }

    /// A file's path on the desk.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts a file on the desk.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn put(&self, name: &str, content: &[u8]) -> Result<()> {
        fs::write(self.path(name), content).with_context(|| format!("cannot write {name}"))
    }

    /// Runs `skerryctl` there.
    ///
    /// # Errors
    /// The program is not there.
    pub fn run(&self, arguments: &[&str]) -> Result<Ran> {
        let program = places::beside("skerryctl");
        let mut command = Command::new(&program);
        command.current_dir(self.folder.path()).env("HOME", self.folder.path()).env_remove("SKERRY_CONTEXT");
        command.args(["--context", FLEET, "--timeout", "30"]).args(arguments);
        let output = command.output().with_context(|| format!("cannot run {}", program.display()))?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Ran { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) })
    }

    /// The same; it must do what is asked. Its standard output.
    ///
    /// # Errors
    /// It does not.
    pub fn done(&self, arguments: &[&str]) -> Result<String> {
        let ran = self.run(arguments)?;
        ensure!(ran.code == 0, "skerryctl {} failed ({}): {}", arguments.join(" "), ran.code, ran.err.trim());
        Ok(ran.out)
    }

    /// The same, as JSON.
    ///
    /// # Errors
    /// It does not do it, or the answer is no JSON.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let out = self.done(&[arguments, &["-o", "json"]].concat())?;
        serde_json::from_str(&out).with_context(|| format!("skerryctl {} answers no JSON: {out}", arguments.join(" ")))
    }

    /// Asks again and again until the answer is as it must be; failures count as other answers.
    ///
    /// # Errors
    /// It never is.
    pub fn until(&self, patience: &Patience, arguments: &[&str], holds: impl Fn(&Ran) -> bool) -> Result<Ran> {
        let deadline = patience.deadline();
        loop {
            let ran = self.run(arguments)?;
            if holds(&ran) {
                return Ok(ran);
            }
            if Instant::now() >= deadline {
                bail!(
                    "it did not come: {patience}; skerryctl {} says ({}) {}{}",
                    arguments.join(" "),
                    ran.code,
                    ran.out,
                    ran.err
                );
            }
            thread::sleep(LOOK_EVERY);
        }
    }
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to).with_context(|| format!("cannot make {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy_tree(&entry.path(), &target)?,
            false => drop(fs::copy(entry.path(), &target).with_context(|| format!("cannot copy to {}", target.display()))?),
        }
    }
    Ok(())
}
