//! Going down in order: services, leftovers, file systems, and only then the machine.
//!
//! Every step has a deadline. A device that cannot go down cleanly still goes down: the journals and the durable writes of
//! `state` make that safe, and a device that hangs in its shutdown needs a person on site.

mod button;
mod unmount;

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::system::{RebootCommand, reboot};
use tokio::signal::unix::{SignalKind, signal};

pub use button::watch_buttons;

use crate::clock;
use crate::node::{EventKind, Mode, Node, PowerHandle, PowerKind, PowerRequest};
use crate::services::Supervisor;
use crate::state::Store;
use crate::verity;

/// For all services together; each has its own shorter one.
const SERVICES: Duration = Duration::from_secs(90);
/// For processes no service owns (containers), after SIGTERM and again after SIGKILL.
const LEFTOVERS: Duration = Duration::from_secs(5);
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

/// Takes the machine down. Returns only if the kernel refuses.
pub async fn go_down(
    request: &PowerRequest,
    node: &Node,
    supervisor: Option<&Supervisor>,
    store: Option<&Store>,
) -> std::io::Error {
    let what = request.kind.as_str();
    tracing::warn!(what, by = request.by, "going down");
    node.status.update(|status| status.mode = Mode::Stopping);
    node.events.record(EventKind::Power, what, &format!("asked for by {}", request.by));
    if let Some(supervisor) = supervisor {
        supervisor.stop_all(SERVICES).await;
    }
    end_leftovers().await;
    if let Some(Err(error)) = store.map(|store| store.raise_clock_floor(clock::now())) {
        tracing::warn!(error = &error as &dyn std::error::Error, "cannot record the clock");
    }
    let unmounting = tokio::task::spawn_blocking(release_file_systems);
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

async fn end_leftovers() {
    for signal in [Signal::TERM, Signal::KILL] {
        if alone() {
            return;
        }
        signal_everybody(signal);
        wait_until_alone(LEFTOVERS).await;
    }
}

/// To every process but PID 1 and kernel threads, which ignore it.
fn signal_everybody(signal: Signal) {
    for pid in user_processes() {
        if let Some(pid) = Pid::from_raw(pid) {
            // It may have ended since it was listed.
            let _ = kill_process(pid, signal);
        }
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

/// Processes other than PID 1 that have a program: kernel threads and zombies have an empty command line.
fn user_processes() -> impl Iterator<Item = i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok()).filter(|pid| *pid > 1);
    pids.filter(|pid| std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty()))
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
    rustix::fs::sync();
    std::thread::sleep(patience);
    loop {
        // Refused only to a process that is not the machine's PID 1; then waiting is all that is left.
        let _ = reboot(RebootCommand::Restart);
        std::thread::sleep(patience);
    }
}
