//! A drive to flash: a loop device over a file, with direct I/O. Needs root.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// A loop device; detached when it is dropped.
#[derive(Debug)]
pub(super) struct Drive {
    device: PathBuf,
}

impl Drive {
    /// A drive of `bytes` bytes over the new file at `path`, whose room is taken.
    pub(super) fn new(path: &Path, bytes: u64) -> Result<Self> {
        let mut file = File::create(path)?;
        std::io::copy(&mut std::io::repeat(0x5a).take(bytes), &mut file)?;
        file.flush()?;
        file.sync_all()?;
        let output = Command::new("losetup").args(["--find", "--show", "--direct-io=on"]).arg(path).output();
        let output = output.context("cannot run losetup")?;
        let words = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "cannot make a loop device: {}; the bench needs root", words.trim_end());
        Ok(Self { device: String::from_utf8_lossy(&output.stdout).trim_end().into() })
    }

    /// The device's node.
    pub(super) fn path(&self) -> &Path {
        &self.device
    }
}

impl Drop for Drive {
    fn drop(&mut self) {
        // Policy: a device that cannot be detached is said; its file is gone with the folder.
        match Command::new("losetup").arg("--detach").arg(&self.device).status() {
            Ok(status) if status.success() => {}
            other => eprintln!("bench: cannot detach {}: {other:?}", self.device.display()),
        }
    }
}
