//! One cgroup (version 2) per service below `skerry/`: made, measured, killed, removed. It decides nothing.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::spec::{CgroupMode, Share};

/// Controllers that services are measured and limited by.
const CONTROLLERS: [&str; 4] = ["cpu", "memory", "pids", "io"];

/// Where a delegated service's own processes start: a cgroup with children may hold none itself.
const MAIN: &str = "main";

/// What could not be done with a cgroup.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// The folder could not be made.
    #[error("cannot make cgroup {}: is cgroup2 mounted?", path.display())]
    Create {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file in it could not be opened or written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It could not be removed.
    #[error("cannot remove cgroup {}: processes are left in it", path.display())]
    Remove {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What the processes of one service use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes, page cache included; 0: not measured.
    pub memory_bytes: u64,
    /// Processor time, user and system, in microseconds.
    pub cpu_usec: u64,
}

/// The services' part of the cgroup tree.
#[derive(Debug, Clone)]
pub struct Cgroups {
    mount: PathBuf,
}

impl Cgroups {
    /// Over the cgroup2 mount at `mount`, on a device `/sys/fs/cgroup`.
    pub fn new(mount: &Path) -> Self {
        Self { mount: mount.to_owned() }
    }

    fn root(&self) -> PathBuf {
        self.mount.join("skerry")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    /// Makes the service's cgroup, if it is not there, and opens the file through which a process joins it.
    pub fn join_file(&self, name: &str, mode: CgroupMode, share: Share) -> Result<OwnedFd, CgroupError> {
        let own = self.path(name);
        let joined = match mode {
            CgroupMode::Leaf => own.clone(),
            CgroupMode::Delegated => own.join(MAIN),
        };
        fs::create_dir_all(&joined).map_err(|source| CgroupError::Create { path: joined.clone(), source })?;
        enable_controllers(&self.mount);
        enable_controllers(&self.root());
        limit(&own, share);
        if mode == CgroupMode::Delegated {
            enable_controllers(&own);
        }
        let path = joined.join("cgroup.procs");
        let file = OpenOptions::new().write(true).open(&path).map_err(|source| CgroupError::Write { path, source })?;
        Ok(file.into())
    }

    /// SIGKILLs every process in the service's cgroup and below; a cgroup that is not there holds none.
    pub fn kill(&self, name: &str) -> Result<(), CgroupError> {
        let path = self.path(name).join("cgroup.kill");
        match OpenOptions::new().write(true).open(&path).and_then(|mut file| file.write_all(b"1")) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(CgroupError::Write { path, source }),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Removes the service's cgroup and those below it.
    pub fn remove(&self, name: &str) -> Result<(), CgroupError> {
        let path = self.path(name);
        remove_tree(&path).map_err(|source| CgroupError::Remove { path, source })
    }

    /// What the service uses now; zeros when it has no cgroup or the kernel does not measure it.
    pub fn usage(&self, name: &str) -> Usage {
        let read = |file: &str| fs::read_to_string(self.path(name).join(file)).unwrap_or_default();
        Usage { memory_bytes: read("memory.current").trim().parse().unwrap_or(0), cpu_usec: parse_cpu_stat(&read("cpu.stat")) }
    }
}

/// Enables what the kernel offers. A controller that is missing costs a figure in a table, not the service.
fn enable_controllers(folder: &Path) {
    for controller in CONTROLLERS {
        let enabled = OpenOptions::new()
            .write(true)
            .open(folder.join("cgroup.subtree_control"))
            .and_then(|mut file| file.write_all(format!("+{controller}").as_bytes()));
        if let Err(error) = enabled {
            tracing::debug!(controller, folder = %folder.display(), %error, "cgroup controller not available");
        }
    }
}

/// Sets the limits. A kernel that cannot limit costs the limit, not the service.
fn limit(folder: &Path, share: Share) {
    let text = |limit: Option<u64>| limit.map_or_else(|| "max".to_owned(), |limit| limit.to_string());
    for (file, limit) in [("memory.max", text(share.memory_bytes)), ("pids.max", text(share.tasks.map(u64::from)))] {
        let path = folder.join(file);
        let written = OpenOptions::new().write(true).open(&path).and_then(|mut file| file.write_all(limit.as_bytes()));
        if let Err(error) = written {
            tracing::debug!(path = %path.display(), %error, "cgroup limit not available");
        }
    }
}

fn remove_tree(folder: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(folder)
}

fn parse_cpu_stat(text: &str) -> u64 {
    text.lines().find_map(|line| line.strip_prefix("usage_usec ")).and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_found_in_cpu_stat() {
        let cases = [("usage_usec 1234\nuser_usec 1\n", 1234), ("user_usec 1\nusage_usec 7", 7), ("", 0), ("usage_usec x", 0)];
        for (text, expected) in cases {
            assert_eq!(parse_cpu_stat(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_missing_tree_is_named_and_a_missing_service_is_no_error() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let cgroups = Cgroups::new(folder.path());
        let error = cgroups.join_file("k3s", CgroupMode::Delegated, Share::default()).expect_err("not a cgroup file system");
        assert!(error.to_string().contains("skerry/k3s/main/cgroup.procs"), "{error}");
        cgroups.kill("nothing").expect("nothing to kill");
        cgroups.remove("nothing").expect("nothing to remove");
        assert_eq!(cgroups.usage("nothing"), Usage::default());
    }

    #[test]
    fn a_service_gets_its_share_and_no_more() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let own = folder.path().join("skerry/apid");
        fs::create_dir_all(&own).expect("the folder is ours");
        for file in ["cgroup.procs", "memory.max", "pids.max"] {
            fs::write(own.join(file), "").expect("the folder is ours");
        }
        let share = Share { memory_bytes: Some(1 << 20), tasks: None };
        Cgroups::new(folder.path()).join_file("apid", CgroupMode::Leaf, share).expect("it looks like a cgroup");
        let limit = |file: &str| fs::read_to_string(own.join(file)).expect("there");
        assert_eq!((limit("memory.max"), limit("pids.max")), ("1048576".to_owned(), "max".to_owned()));
    }
}
