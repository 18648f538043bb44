//! A loop device over a file, with direct I/O down to it: the page cache is the block device's alone. The kernel looks for partitions on it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Another program may take the free device first.
const TRIES: usize = 5;

/// A loop device. Dropped, it is detached as soon as nobody has it open.
pub(crate) struct Loop(PathBuf);

impl Loop {
    pub(crate) fn attach(file: &Path) -> Self {
        let mut last = String::new();
        for _ in 0..TRIES {
            let output = Command::new("losetup")
                .args(["--find", "--show", "--direct-io=on", "--partscan"])
                .arg(file)
                .output()
                .expect("losetup");
            if output.status.success() {
                return Self(PathBuf::from(String::from_utf8(output.stdout).expect("text").trim_end()));
            }
            last = String::from_utf8_lossy(&output.stderr).into_owned();
        }
        panic!("cannot set up a loop device: {last}");
    }

    /// Lets the kernel look at the file's size again: of an empty file it makes an absent drive.
    pub(crate) fn look_again(&self) {
        let status = Command::new("losetup").arg("--set-capacity").arg(&self.0).status().expect("losetup");
        assert!(status.success(), "cannot set the size of {}", self.0.display());
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        Command::new("losetup").arg("--detach").arg(&self.0).status().ok(); // a rig in pieces is no test's failure
    }
}
