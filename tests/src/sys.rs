//! The one unsafe call of this package: a child that does not outlive the thread that started it.
#![allow(unsafe_code, reason = "std offers the hook between fork and exec only as unsafe")]

use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Signal, set_parent_process_death_signal};

/// Has the kernel end the child when the thread that starts it ends, so that an aborted test leaves no emulator behind.
pub(crate) fn die_with_parent(command: &mut Command) -> &mut Command {
    // SAFETY: the hook runs in the child between fork and exec, where only async-signal-safe calls are allowed; it makes one
    // prctl system call and touches no memory of the parent.
    unsafe { command.pre_exec(|| set_parent_process_death_signal(Some(Signal::KILL)).map_err(Into::into)) }
}
