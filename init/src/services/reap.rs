//! Collects ended processes: as PID 1 every one, orphans included; otherwise only those it is asked about.

use rustix::process::{Pid, WaitOptions, WaitStatus, getpid, wait, waitpid};

use super::machine::Exit;

/// Collects what has ended and returns it. `own` are the processes that the caller started and that were not yet collected.
pub(super) fn reap(own: impl Iterator<Item = u32>) -> Vec<(u32, Exit)> {
    if getpid().as_raw_nonzero().get() == 1 { reap_all() } else { reap_own(own) }
}

fn reap_all() -> Vec<(u32, Exit)> {
    // The call fails only when no child is left.
    std::iter::from_fn(|| wait(WaitOptions::NOHANG).ok().flatten()).filter_map(ended).collect()
}

fn reap_own(own: impl Iterator<Item = u32>) -> Vec<(u32, Exit)> {
    own.filter_map(|pid| i32::try_from(pid).ok().and_then(Pid::from_raw))
        .filter_map(|pid| waitpid(Some(pid), WaitOptions::NOHANG).ok().flatten())
        .filter_map(ended)
        .collect()
}

fn ended((pid, status): (Pid, WaitStatus)) -> Option<(u32, Exit)> {
    let exit = status.exit_status().map(Exit::Code).or_else(|| status.terminating_signal().map(Exit::Signal))?;
    Some((pid.as_raw_nonzero().get().unsigned_abs(), exit))
}
