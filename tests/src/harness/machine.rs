//! A running virtual machine. It is ended through QMP; only an emulator that does not answer is killed, by its own process id.

use std::fs;
use std::io;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::json;
use tempfile::TempDir;

use super::accelerator::Accelerator;
use super::boot::Rig;
use super::console::Console;
use super::disk::Disk;
use super::emulator::{self, Cable, ConsoleTo, Guest, Lifetime, RunFiles};
use super::firmware::Firmware;
use super::logs::Logs;
use super::patience::Patience;
use super::qmp::{self, Qmp, QmpError};
use crate::sys;

/// Why a machine could not be started or ended.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// The emulator did not start.
    #[error("cannot run `{program}`: {source}; `make setup` installs it")]
    Start {
        /// The emulator.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// The emulator ended at once.
    #[error("the emulator ended at once:\n{messages}")]
    EndedAtOnce {
        /// What it said on standard error.
        messages: String,
    },
    /// A file of the run could not be made.
    #[error("cannot prepare the run of `{name}`: {source}")]
    Prepare {
        /// The guest.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// The emulator could not be asked.
    #[error(transparent)]
    Qmp(#[from] QmpError),
    /// It did not end.
    #[error("the machine is still running: {awaited}; its last lines:\n{last}")]
    StillRunning {
        /// What was awaited.
        awaited: Patience,
        /// The end of the console.
        last: String,
    },
}

/// A running virtual machine; dropped, it is ended.
#[derive(Debug)]
pub struct Machine {
    child: Child,
    console: Console,
    qmp: Qmp,
    logs: Logs,
    usernet: String,
    exit: Option<ExitStatus>,
    _sockets: TempDir,
}

impl Machine {
    /// Starts `guest` for the `run`th time. Firmware variables are fresh at every start: nothing of ours may live in them.
    pub fn start(
        guest: &Guest,
        run: u32,
        accelerator: &Accelerator,
        firmware: Option<&Firmware>,
        disk: Option<&Disk>,
        logs: &Logs,
    ) -> Result<Self, MachineError> {
        let prepare = |source| MachineError::Prepare { name: guest.name.clone(), source };
        let (files, sockets) = prepare_files(firmware, disk, logs).map_err(prepare)?;
        let arguments = emulator::arguments(guest, accelerator, &files, ConsoleTo::Pipe);
        fs::write(logs.path("command.txt"), format!("{} {}\n", guest.program().display(), arguments.join(" ")))
            .map_err(prepare)?;
        let mut child = Self::spawn(guest, &arguments, logs, run)?;
        let output = child.stdout.take().expect("stdout was asked for as a pipe");
        let console = Console::read(output, logs.create(run, "console.log").map_err(prepare)?);
        let mut qmp = match Qmp::connect(&files.qmp) {
            Ok(qmp) => qmp,
            Err(error) => return Err(Self::failed_start(child, logs, run, error)),
        };
        let usernet = qmp.monitor("info usernet")?;
        if guest.card.is_some() {
            set_cable(&mut qmp, guest.cable)?;
        }
        Ok(Self { child, console, qmp, logs: logs.clone(), usernet, exit: None, _sockets: sockets })
    }

    fn spawn(guest: &Guest, arguments: &[String], logs: &Logs, run: u32) -> Result<Child, MachineError> {
        let start = |source| cannot_start(guest, source);
        let errors = logs.create(run, "emulator.log").map_err(start)?;
        let mut command = Command::new(guest.program());
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors);
        match guest.lifetime {
            Lifetime::OfItsStarter => sys::die_with_parent(&mut command),
            Lifetime::ItsOwn => &mut command,
        };
        command.spawn().map_err(start)
    }

    /// Why the emulator could not be asked: its own last words, if it ended.
    fn failed_start(mut child: Child, logs: &Logs, run: u32, error: QmpError) -> MachineError {
        if wait_child(&child, &Patience::new("the failed emulator's end", 1)) {
            end_child(&mut child);
            let messages = fs::read_to_string(logs.path(&format!("{run}-emulator.log"))).unwrap_or_default();
            return MachineError::EndedAtOnce { messages };
        }
        end_child(&mut child);
        error.into()
    }

    /// The serial console.
    pub fn console(&mut self) -> &mut Console {
        &mut self.console
    }

    /// The emulator's control connection.
    pub fn qmp(&mut self) -> &mut Qmp {
        &mut self.qmp
    }

    /// The port of this host's loopback address behind `guest_port`; none: it is not forwarded.
    pub fn host_port(&self, guest_port: u16) -> Option<u16> {
        qmp::host_port(&self.usernet, guest_port)
    }

    /// Process id of the emulator.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where this machine's logs are.
    pub fn logs(&self) -> &Logs {
        &self.logs
    }

    /// How the emulator ended, if it has.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        if self.exit.is_none() {
            self.exit = self.child.try_wait().ok().flatten();
        }
        self.exit
    }

    /// Waits until the guest has powered itself off.
    pub fn wait_exit(&mut self, patience: &Patience) -> Result<ExitStatus, MachineError> {
        if wait_child(&self.child, patience) {
            let status = self.child.wait().map_err(|source| MachineError::Start { program: "the emulator".into(), source })?;
            self.exit = Some(status);
            return Ok(status);
        }
        Err(MachineError::StillRunning { awaited: patience.clone(), last: self.console.tail() })
    }

    /// Ends the machine at once, as if its plug were pulled: the guest is told nothing.
    pub fn pull_the_plug(mut self) -> Result<(), MachineError> {
        self.quit()
    }

    /// Resets the machine, as its reset button would.
    pub fn press_reset(&mut self) -> Result<(), MachineError> {
        self.qmp.execute("system_reset", &json!({}))?;
        Ok(())
    }

    /// Presses the power button for a moment, as a person would who wants the machine off.
    pub fn press_power_button(&mut self) -> Result<(), MachineError> {
        self.qmp.execute("system_powerdown", &json!({}))?;
        Ok(())
    }

    /// Plugs the network cable in or pulls it.
    pub fn set_cable(&mut self, cable: Cable) -> Result<(), MachineError> {
        Ok(set_cable(&mut self.qmp, cable)?)
    }

    /// Leaves the machine running after this program; returns the emulator's process id.
    pub fn leave_running(self) -> u32 {
        let pid = self.pid();
        std::mem::forget(self);
        pid
    }

    fn quit(&mut self) -> Result<(), MachineError> {
        if self.exit_status().is_some() {
            return Ok(());
        }
        match self.qmp.execute("quit", &json!({})) {
            Ok(_) | Err(QmpError::Lost { .. }) => {} // it may be gone before it answers
            Err(error) => return Err(error.into()),
        }
        self.wait_exit(&Patience::new("the emulator's end after QMP quit", 3)).map(|_| ())
    }
}

fn cannot_start(guest: &Guest, source: io::Error) -> MachineError {
    MachineError::Start { program: guest.program().display().to_string(), source }
}

fn set_cable(qmp: &mut Qmp, cable: Cable) -> Result<(), QmpError> {
    let up = match cable {
        Cable::Plugged => true,
        Cable::Unplugged => false,
    };
    qmp.execute("set_link", &json!({"name": emulator::NETWORK_CARD, "up": up}))?;
    Ok(())
}

/// The files of one run, and the folder of its socket, which must live as long.
fn prepare_files(firmware: Option<&Firmware>, disk: Option<&Disk>, logs: &Logs) -> io::Result<(RunFiles, TempDir)> {
    // A socket's path is short by the kernel's rule (108 bytes), so it cannot lie in the log folder.
    let sockets = tempfile::tempdir()?;
    let firmware = firmware.map(|firmware| firmware.with_own_variables(logs.path("firmware-variables.fd"))).transpose()?;
    let files = RunFiles { disk: disk.map(|disk| disk.path().into()), firmware, qmp: sockets.path().join("qmp") };
    Ok((files, sockets))
}

/// Runs `guest` with its console on the terminal until it ends. `started` is told the monitor's `info usernet` when it runs.
pub fn run_on_terminal(
    guest: &Guest,
    rig: &Rig<'_>,
    disk: &Disk,
    started: impl FnOnce(&str),
) -> Result<ExitStatus, MachineError> {
    let prepare = |source| MachineError::Prepare { name: guest.name.clone(), source };
    let start = |source| cannot_start(guest, source);
    let (files, _sockets) = prepare_files(rig.firmware, Some(disk), rig.logs).map_err(prepare)?;
    let arguments = emulator::arguments(guest, rig.accelerator, &files, ConsoleTo::Terminal);
    let mut child = Command::new(guest.program()).args(arguments).spawn().map_err(start)?;
    let usernet = Qmp::connect(&files.qmp).and_then(|mut qmp| qmp.monitor("info usernet"));
    started(&usernet.unwrap_or_default());
    child.wait().map_err(start)
}

impl Drop for Machine {
    fn drop(&mut self) {
        if self.quit().is_err() {
            end_child(&mut self.child);
        }
        if std::thread::panicking() {
            eprintln!("the machine's logs are in {}", self.logs.folder().display());
        }
    }
}

fn end_child(child: &mut Child) {
    // Policy: a child that is already gone needs no ending.
    drop(child.kill());
    drop(child.wait());
}

/// Whether the child ended within the patience. Its pidfd becomes readable when it does.
fn wait_child(child: &Child, patience: &Patience) -> bool {
    let deadline = patience.deadline();
    let Some(pidfd) = Pid::from_raw(child.id().cast_signed()).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else {
        return true; // already reaped or gone: the caller's wait returns at once
    };
    loop {
        let left = deadline.saturating_duration_since(std::time::Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout)) {
            Ok(ready) => return ready > 0,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}
