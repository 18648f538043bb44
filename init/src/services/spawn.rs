//! Starts the process a spec describes. It decides nothing and waits for nothing.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{Mode, OFlags};
use rustix::process::{Rlimit as KernelRlimit, setrlimit, setsid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, configure_capability_in_ambient_set, remove_capability_from_bounding_set, set_capabilities,
    set_keep_capabilities, set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};
use rustix::{fs::Gid, fs::Uid, io::Errno};

use super::cgroup::{CgroupError, Cgroups};
use super::spec::{Capabilities, Files, Resource, Rlimit, ServiceSpec, User};

/// Why a service could not be started.
#[derive(Debug, thiserror::Error)]
pub(super) enum SpawnError {
    /// The spec names no program.
    #[error("its command is empty")]
    NoProgram,
    /// Its cgroup could not be made.
    #[error("{0}: {source}", source = std::error::Error::source(.0).map(ToString::to_string).unwrap_or_default())]
    Cgroup(#[from] CgroupError),
    /// The kernel refused to start it or to take its privileges away.
    #[error("cannot run {program}: {source}")]
    Exec {
        /// What was to run.
        program: String,
        /// Why not.
        source: io::Error,
    },
}

/// A process that was started.
#[derive(Debug)]
pub(super) struct Spawned {
    /// Its process.
    pub pid: u32,
    /// Where its standard output can be read.
    pub stdout: OwnedFd,
    /// Where its standard error can be read.
    pub stderr: OwnedFd,
}

/// Starts the service's process in its cgroup; `extra_env` comes on top of the spec's environment. Whoever reaps reaps it.
pub(super) fn spawn(spec: &ServiceSpec, cgroups: &Cgroups, extra_env: &[(&str, String)]) -> Result<Spawned, SpawnError> {
    let (program, arguments) = spec.argv.split_first().ok_or(SpawnError::NoProgram)?;
    let setup = ChildSetup::new(spec, cgroups.join_file(&spec.name, spec.cgroup, spec.share)?, confinement(spec)?);
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(&spec.env)
        .envs(extra_env.iter().map(|(key, value)| (*key, value)))
        .current_dir(&spec.working_dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    crate::sys::set_up_child(&mut command, setup);
    let mut child = command.spawn().map_err(|source| SpawnError::Exec { program: program.clone(), source })?;
    let stdout = child.stdout.take().expect("it was asked for").into();
    let stderr = child.stderr.take().expect("it was asked for").into();
    Ok(Spawned { pid: child.id(), stdout, stderr })
}

/// The rules that leave a service its own program.
fn confinement(spec: &ServiceSpec) -> Result<Option<OwnedFd>, SpawnError> {
    match spec.files {
        Files::All => Ok(None),
        Files::OwnProgram { reads } => {
            let program = spec.argv.first().ok_or(SpawnError::NoProgram)?;
            let failed = |source| SpawnError::Exec { program: program.clone(), source };
            crate::sys::only_program(Path::new(program), reads).map_err(failed)
        }
    }
}

/// What the child does to itself between fork and exec.
#[derive(Debug)]
pub struct ChildSetup {
    cgroup_procs: OwnedFd,
    oom_score_adj: Vec<u8>,
    rlimits: Vec<Rlimit>,
    user: Option<User>,
    capabilities: Capabilities,
    no_new_privs: bool,
    confinement: Option<OwnedFd>,
}

impl ChildSetup {
    fn new(spec: &ServiceSpec, cgroup_procs: OwnedFd, confinement: Option<OwnedFd>) -> Self {
        Self {
            cgroup_procs,
            oom_score_adj: spec.oom_score_adj.to_string().into_bytes(),
            rlimits: spec.rlimits.clone(),
            user: spec.user,
            capabilities: spec.capabilities,
            no_new_privs: spec.no_new_privs,
            confinement,
        }
    }

    /// Carries it out, in the one order that works: what needs privileges comes before they are dropped.
    ///
    /// Runs in the child of a fork, so it makes system calls only: it takes no lock and neither allocates nor frees memory.
    pub fn enter(&self) -> io::Result<()> {
        setsid()?;
        rustix::io::write(&self.cgroup_procs, b"0")?;
        let oom = rustix::fs::open(c"/proc/self/oom_score_adj", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::io::write(oom.as_fd(), &self.oom_score_adj)?;
        self.set_limits()?;
        match self.capabilities {
            Capabilities::All => self.become_user()?,
            Capabilities::Only(kept) => self.keep_only(kept)?,
        }
        if self.no_new_privs {
            set_no_new_privs(true)?;
        }
        if let Some(rules) = &self.confinement {
            crate::sys::restrict_self(rules)?;
        }
        Ok(())
    }

    fn set_limits(&self) -> io::Result<()> {
        for limit in &self.rlimits {
            let resource = match limit.resource {
                Resource::OpenFiles => rustix::process::Resource::Nofile,
                Resource::CoreBytes => rustix::process::Resource::Core,
            };
            setrlimit(resource, KernelRlimit { current: Some(limit.soft), maximum: Some(limit.hard) })?;
        }
        Ok(())
    }

    fn become_user(&self) -> io::Result<()> {
        let Some(User { uid, gid }) = self.user else { return Ok(()) };
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        set_thread_groups(&[])?;
        set_thread_res_gid(gid, gid, gid)?;
        set_thread_res_uid(uid, uid, uid)?;
        Ok(())
    }

    fn keep_only(&self, kept: CapabilitySet) -> io::Result<()> {
        for number in 0..64 {
            let capability = CapabilitySet::from_bits_retain(1 << number);
            if kept.contains(capability) {
                continue;
            }
            match remove_capability_from_bounding_set(capability) {
                Ok(()) => {}
                // The kernel knows no capability of this number, nor of any higher one.
                Err(Errno::INVAL) => break,
                Err(error) => return Err(error.into()),
            }
        }
        set_keep_capabilities(true)?;
        self.become_user()?;
        set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable: kept })?;
        for capability in kept.iter() {
            configure_capability_in_ambient_set(capability, true)?;
        }
        Ok(())
    }
}
