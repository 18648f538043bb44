//! Going down in order: services, leftovers, file systems, and only then the machine.
//!
//! Every step has a deadline. A device that cannot go down cleanly still goes down: the journals and the durable writes of
//! `state` make that safe, and a device that hangs in its shutdown needs a person on site.

mod button;
mod unmount;

use std::time::{Duration, Instant};

use rustix::process::Signal;
use rustix::system::{RebootCommand, reboot};
use tokio::signal::unix::{SignalKind, signal};

pub use button::watch_buttons;

use crate::modules::Hotplug;
use crate::node::{EventKind, Mode, Node, PowerHandle, PowerKind, PowerRequest};
use crate::services::Supervisor;
use crate::state::Store;
use crate::{sys, verity};

/// For all services together; each has its own shorter one.
const SERVICES: Duration = Duration::from_secs(90);
/// For processes no service owns (containers), after SIGTERM and again after SIGKILL.
const LEFTOVERS: Duration = Duration::from_secs(5);
/// For the one kernel module that may be being loaded.
const MODULES: Duration = Duration::from_secs(5);
/// For syncing and unmounting.
const FILE_SYSTEMS: Duration = Duration::from_secs(30);

/// Turns Ctrl-Alt-Del (SIGINT from the kernel) and SIGPWR into requests. Runs for ever.
pub async fn watch_signals(power: PowerHandle) -> std::io::Result<()> {
    // Without this the kernel reboots at once, without asking.
    reboot(RebootCommand::CadOff)?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut failing = signal(SignalKind::from_raw(libc::SIGPWR))?;
    loop {
        tokio::select! {
            _ = interrupt.recv() => power.request(PowerKind::Reboot, "Ctrl-Alt-Del"),
            _ = failing.recv() => power.request(PowerKind::PowerOff, "SIGPWR"),
        }
    }
}

/// What is to be brought to an end; none: the boot has not come so far.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// The services.
    pub supervisor: Option<&'a Supervisor>,
    /// STATE, where the clock is recorded.
    pub store: Option<&'a Store>,
    /// The thread that loads modules, some of them from the runtime image.
    pub hotplug: Option<&'a Hotplug>,
}

/// Takes the machine down. Returns only if the kernel refuses.
pub async fn go_down(request: &PowerRequest, node: &Node, parts: Parts<'_>) -> std::io::Error {
    let what = request.kind.as_str();
    tracing::warn!(what, by = request.by, "going down");
    node.status.update(|status| status.mode = Mode::Stopping);
    node.events.record(EventKind::Power, what, &format!("asked for by {}", request.by));
    if let Some(supervisor) = parts.supervisor {
        supervisor.stop_all(SERVICES).await;
    }
    if let Some(hotplug) = parts.hotplug {
        hotplug.stop(MODULES).await;
    }
    end_leftovers().await;
    let store = parts.store.cloned();
    let unmounting = tokio::task::spawn_blocking(move || {
        record_clock(store.as_ref());
        release_file_systems();
    });
    if tokio::time::timeout(FILE_SYSTEMS, unmounting).await.is_err() {
        tracing::error!("file systems were not released in time");
    }
    let command = match request.kind {
        PowerKind::Reboot => RebootCommand::Restart,
        PowerKind::PowerOff => RebootCommand::PowerOff,
    };
    match reboot(command) {
        Ok(()) => std::io::Error::other("the kernel went on"),
        Err(error) => error.into(),
    }
}

fn record_clock(store: Option<&Store>) {
    if let Some(Err(error)) = store.map(Store::record_clock) {
        tracing::warn!(error = &error as &dyn std::error::Error, "cannot record the clock");
    }
}

async fn end_leftovers() {
    for signal in [Signal::TERM, Signal::KILL] {
        if alone() {
            return;
        }
        // Nobody left is an answer, and the loop's condition sees it.
        let _ = sys::signal_everybody(signal);
        wait_until_alone(LEFTOVERS).await;
    }
}

/// The kernel tells nobody when the last process that is not a child of PID 1 is gone, so this looks ten times a second.
async fn wait_until_alone(patience: Duration) {
    let end = Instant::now() + patience;
    while !alone() && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn alone() -> bool {
    user_processes().next().is_none()
}

/// Processes other than PID 1 that still hold something: neither kernel threads nor zombies.
///
/// Told by `stat` alone: reading a command line can wait for ever for a process that sits in a dead file system.
fn user_processes() -> impl Iterator<Item = i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok()).filter(|pid| *pid > 1);
    pids.filter(|pid| std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| holds_something(&stat)))
}

/// Reads proc_pid_stat(5): the state is the first field behind the name, the flags the seventh.
fn holds_something(stat: &str) -> bool {
    /// `PF_KTHREAD`, linux/sched.h.
    const KERNEL_THREAD: u64 = 0x0020_0000;
    let Some((_, fields)) = stat.rsplit_once(") ") else { return false };
    let mut fields = fields.split(' ');
    let ended = matches!(fields.next(), Some("Z" | "X"));
    let flags = fields.nth(5).and_then(|flags| flags.parse::<u64>().ok()).unwrap_or_default();
    !ended && flags & KERNEL_THREAD == 0
}

fn release_file_systems() {
    rustix::fs::sync();
    unmount::unmount_all();
    if let Err(error) = verity::close() {
        // It is read-only: nothing is lost with it.
        tracing::debug!(error = &error as &dyn std::error::Error, "the runtime image stays open");
    }
    rustix::fs::sync();
}

/// The last resort of a process that may not end: says why, saves what can be saved, and starts the machine anew.
pub fn restart_after(why: &str) -> ! {
    let patience = Duration::from_secs(10);
    tracing::error!(why, seconds = patience.as_secs(), "cannot go on; rebooting");
    // On a thread of its own: a dead disk keeps it for ever, and must not keep the device.
    let _ = std::thread::Builder::new().name("sync".into()).spawn(rustix::fs::sync);
    std::thread::sleep(patience);
    loop {
        // Refused only to a process that is not the machine's PID 1; then waiting is all that is left.
        let _ = reboot(RebootCommand::Restart);
        std::thread::sleep(patience);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_holds_something_is_waited_for() {
        let cases = [
            ("145 (apid) S 1 145 145 0 -1 4194560 1 0 0 0 1 0", true),
            ("9 (a) Z (b) R 1 9 9 0 -1 4194560 1 0", true),
            ("2 (kthreadd) S 0 0 0 0 -1 2129984 0 0", false),
            ("200 (sh) Z 1 200 200 0 -1 4227084 0 0", false),
            ("", false),
        ];
        for (stat, expected) in cases {
            assert_eq!(holds_something(stat), expected, "{stat}");
        }
    }

    #[test]
    fn this_very_process_is_seen() {
        let own = i32::try_from(std::process::id()).expect("a small number");
        assert!(own == 1 || user_processes().any(|pid| pid == own));
    }
}
