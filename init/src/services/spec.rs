//! What one service is: its command, its limits, what it waits for, how it is stopped and restarted.
//!
//! Plain data. Two specs that differ are two services under one name: the running one is stopped and the new one started.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use rustix::thread::CapabilitySet;

/// Everything the supervisor and the executor need to know of one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceSpec {
    /// Unique; also the name of its cgroup, so one path component.
    pub name: String,
    /// Program (absolute path) and arguments.
    pub argv: Vec<String>,
    /// The whole environment; nothing is inherited.
    pub env: BTreeMap<String, String>,
    /// Absolute path.
    pub working_dir: PathBuf,
    /// Fingerprint of the files it reads at its start: another one restarts it.
    pub revision: String,
    /// Runs for ever, or once.
    pub kind: Kind,
    /// Services that must be ready before it starts.
    pub depends_on: Vec<String>,
    /// Services that must have been tried before it starts, whatever came of it.
    pub after: Vec<String>,
    /// How it is known to be ready.
    pub readiness: Readiness,
    /// From its start: not ready by then (a one-shot: not ended by then) is a failure.
    pub start_deadline: Duration,
    /// How it is stopped.
    pub stop: Stop,
    /// Pauses between restarts.
    pub backoff: Backoff,
    /// Whether it may make cgroups of its own.
    pub cgroup: CgroupMode,
    /// None: root.
    pub user: Option<User>,
    /// What of root's powers it keeps.
    pub capabilities: Capabilities,
    /// No program it starts can gain privileges.
    pub no_new_privs: bool,
    /// What it sees of the file system.
    pub files: Files,
    /// -1000 (never killed when memory is short) to 1000.
    pub oom_score_adj: i16,
    /// Limits besides the inherited ones.
    pub rlimits: Vec<Rlimit>,
    /// What all its processes together may take.
    pub share: Share,
}

impl ServiceSpec {
    /// A root daemon with all powers and the usual deadlines, ready once it runs; the definitions say what differs.
    pub fn daemon(name: &str, argv: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            argv: argv.iter().map(|&arg| arg.to_owned()).collect(),
            env: BTreeMap::new(),
            working_dir: PathBuf::from("/"),
            revision: String::new(),
            kind: Kind::Daemon,
            depends_on: Vec::new(),
            after: Vec::new(),
            readiness: Readiness::Running,
            start_deadline: Duration::from_secs(90),
            stop: Stop::default(),
            backoff: Backoff::default(),
            cgroup: CgroupMode::Leaf,
            user: None,
            capabilities: Capabilities::All,
            no_new_privs: false,
            files: Files::All,
            oom_score_adj: 0,
            rlimits: Vec::new(),
            share: Share::default(),
        }
    }
}

/// Runs for ever, or once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An exit, whatever its code, is a failure and leads to a restart.
    Daemon,
    /// Exit code 0 is the end; any other leads to another try.
    OneShot,
}

/// How a service is known to be ready. A one-shot is ready once it has succeeded, whatever stands here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// As soon as its process runs.
    Running,
    /// A connection to this unix socket is accepted.
    UnixSocket(PathBuf),
    /// It sends `READY=1` to the datagram socket named by `NOTIFY_SOCKET` (the sd_notify protocol).
    Notify,
    /// Another part of init reports it: [`super::Supervisor::report_ready`].
    Reported,
}

/// How a service is stopped: a signal to its process, then, after the grace time, SIGKILL to its whole cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop {
    /// The signal that asks it to end.
    pub signal: i32,
    /// How long it may take.
    pub grace: Duration,
    /// What is killed with it.
    pub scope: KillScope,
}

impl Default for Stop {
    fn default() -> Self {
        Self { signal: libc::SIGTERM, grace: Duration::from_secs(10), scope: KillScope::Cgroup }
    }
}

/// What is killed with a service when it ends or must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KillScope {
    /// Everything in its cgroup.
    Cgroup,
    /// Its own process: what it started outlives it (containers outlive containerd) until the machine goes down.
    Process,
}

/// Pauses between restarts: `min`, doubled at each failure up to `max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// After the first failure.
    pub min: Duration,
    /// Never longer.
    pub max: Duration,
    /// A process that ran this long starts the count again.
    pub reset_after: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { min: Duration::from_secs(1), max: Duration::from_secs(60), reset_after: Duration::from_secs(120) }
    }
}

impl Backoff {
    /// The pause after the given number of failures in a row (1 and up).
    pub fn delay(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(20);
        self.min.saturating_mul(1 << doublings).min(self.max)
    }
}

/// Whether a service may make cgroups of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupMode {
    /// No: all its processes live in one cgroup.
    Leaf,
    /// Yes: it starts in `main` below its own cgroup and may make siblings of it.
    Delegated,
}

/// The user and group a service runs as, without supplementary groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// What of root's powers a service keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capabilities {
    /// All of them.
    All,
    /// These and no other, also when it is not root. Empty: none at all.
    Only(CapabilitySet),
}

/// What a service sees of the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Files {
    /// What its user may see.
    All,
    /// Its own program, which must be linked statically, and sockets that have a path. Needs `no_new_privs`. Where the kernel cannot
    /// restrict, its user's permissions are what is left.
    OwnProgram {
        /// Folders whose files it may read besides, as far as its user may.
        reads: &'static [&'static str],
    },
}

/// What all processes of a service together may take; none: as much as there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Share {
    /// Bytes of memory. Beyond it the service is killed, not another.
    pub memory_bytes: Option<u64>,
    /// Processes and threads.
    pub tasks: Option<u32>,
}

/// One resource limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rlimit {
    /// Which.
    pub resource: Resource,
    /// What holds until the process raises it.
    pub soft: u64,
    /// How far it may raise it.
    pub hard: u64,
}

/// The limits that services set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// Open files.
    OpenFiles,
    /// Bytes of a core file.
    CoreBytes,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_its_bound_and_never_overflows() {
        let backoff = Backoff::default();
        let seconds: Vec<u64> = [1, 2, 3, 6, 7, 8, u32::MAX].into_iter().map(|n| backoff.delay(n).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 32, 60, 60, 60]);
    }
}
