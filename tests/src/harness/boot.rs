//! Starting a machine until it shows its first sign of life, trying again only when the emulator itself failed.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::accelerator::Accelerator;
use super::blame::{Blame, blame, is_panic};
use super::console::ConsoleError;
use super::disk::Disk;
use super::emulator::{Company, Guest};
use super::firmware::Firmware;
use super::logs::Logs;
use super::machine::{Machine, MachineError};
use super::patience::Patience;

/// Starts of the emulator that failed by its own fault in this process, printed with each one.
static EMULATOR_FAILURES: AtomicU32 = AtomicU32::new(0);

/// How often one boot is tried again when the emulator fails.
const RETRIES: u32 = 2;

/// Emulated machines share two cores badly: one at a time in this process.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A machine did not come up.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The emulator did not start.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// The machine started but did not show the sign of life.
    #[error(transparent)]
    Console(#[from] ConsoleError),
    /// Its kernel panicked.
    #[error("{line}; the last lines:\n{last}")]
    Panic {
        /// The kernel's own words.
        line: String,
        /// The end of the console.
        last: String,
    },
}

/// A machine that showed its sign of life, and the line that was it. No other machine runs beside it in this process, unless it may.
#[derive(Debug)]
pub struct Booted {
    /// The machine; declared first, so that it is ended before the next may start.
    pub machine: Machine,
    /// The line.
    pub line: String,
    _turn: Option<MutexGuard<'static, ()>>,
}

impl Booted {
    /// Cuts the power; see [`Machine::pull_the_plug`].
    pub fn cut(self) -> Result<(), MachineError> {
        self.machine.pull_the_plug()
    }

    /// Leaves the machine running; see [`Machine::leave_running`].
    pub fn leave_running(self) -> u32 {
        self.machine.leave_running()
    }
}

/// What a boot needs besides the guest itself.
#[derive(Debug)]
pub struct Rig<'a> {
    /// How the guest's code is run.
    pub accelerator: &'a Accelerator,
    /// Firmware; none: the emulator's BIOS.
    pub firmware: Option<&'a Firmware>,
    /// Where the logs go.
    pub logs: &'a Logs,
}

/// Starts `guest` and waits for a console line that `sign` accepts. `run` numbers the log files and grows with every start.
pub fn boot(
    guest: &Guest,
    rig: &Rig<'_>,
    disk: Option<&Disk>,
    run: &mut u32,
    patience: &Patience,
    sign: impl Fn(&str) -> bool,
) -> Result<Booted, BootError> {
    let turn = match guest.company {
        Company::Alone => Some(ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)),
        Company::BesideOthers => None,
    };
    for left in (0..=RETRIES).rev() {
        *run += 1;
        let mut machine = Machine::start(guest, *run, rig.accelerator, rig.firmware, disk, rig.logs)?;
        // A kernel that panics restarts by itself; waiting for that would hide it.
        let outcome = machine.console().wait_for(patience, |line| sign(line) || is_panic(line));
        let error = match outcome {
            Ok(line) if !is_panic(&line) => return Ok(Booted { machine, line, _turn: turn }),
            Ok(line) => BootError::Panic { line, last: machine.console().tail() },
            Err(error) => error.into(),
        };
        let exit = machine.exit_status();
        match blame(&machine.console().lines(), exit) {
            Blame::Emulator(reason) if left > 0 => {
                let count = EMULATOR_FAILURES.fetch_add(1, Ordering::Relaxed) + 1;
                eprintln!("{}: {reason}; starting again (emulator failures so far: {count})", guest.name);
            }
            Blame::Emulator(_) | Blame::Guest => return Err(error),
        }
    }
    unreachable!("the last try returns")
}
