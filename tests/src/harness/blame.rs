//! Whose fault a failed boot is. Only the emulator's own failures may be tried again; everything else is a finding.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// Whose fault it is that a machine did not come up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blame {
    /// The emulator's: it died, or its emulated CPU broke the kernel before PID 1 ran. The text says how.
    Emulator(String),
    /// Ours, until shown otherwise.
    Guest,
}

/// Judges by the console and, if the emulator has ended, how.
pub fn blame(console: &[String], exit: Option<ExitStatus>) -> Blame {
    if let Some(signal) = exit.and_then(|status| status.signal()) {
        return Blame::Emulator(format!("the emulator was ended by signal {signal}"));
    }
    let panic = console.iter().find(|line| is_panic(line));
    match panic {
        // PID 1 ended or could not be run, or the image lacks something: our fault, always.
        Some(line) if OURS.iter().any(|words| line.contains(words)) => Blame::Guest,
        Some(line) if console.iter().any(|line| line.contains(LATE_PATCH)) => {
            Blame::Emulator(format!("the emulated CPU ran into code the kernel was patching: {}", line.trim()))
        }
        Some(line) if !init_ran(console) => Blame::Emulator(format!("the kernel panicked before PID 1 ran: {}", line.trim())),
        Some(_) | None => Blame::Guest,
    }
}

/// Whether the kernel says with this line that it cannot go on.
pub fn is_panic(line: &str) -> bool {
    line.contains("Kernel panic")
}

const OURS: [&str; 4] = ["kill init", "No working init", "Requested init", "Unable to mount root"];

/// The kernel patches its own code behind a breakpoint; an emulator that notices the patch too late runs into it. No real CPU does.
const LATE_PATCH: &str = "Oops: int3:";

fn init_ran(console: &[String]) -> bool {
    console.iter().any(|line| line.contains("Run /init as init process") || line.contains("skerry init"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(Into::into).collect()
    }

    #[test]
    fn only_the_emulators_own_failures_are_blamed_on_it() {
        let killed = Some(ExitStatus::from_raw(11));
        let ended = Some(ExitStatus::from_raw(0));
        let table = [
            ("early kernel panic", "Kernel panic - not syncing: Fatal exception in interrupt", None, true),
            ("late code patch", "skerry init version=1\nOops: int3: 0000 [#1]\nKernel panic - not syncing: Fatal", None, true),
            ("emulator crashed", "anything", killed, true),
            ("pid 1 ended", "Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100", None, false),
            ("no pid 1", "Kernel panic - not syncing: No working init found.", None, false),
            ("late kernel panic", "Run /init as init process\nKernel panic - not syncing: Fatal exception", None, false),
            ("powered off", "reboot: Power down", ended, false),
            ("silence", "", None, false),
        ];
        for (case, console, exit, emulator) in table {
            assert_eq!(matches!(blame(&lines(console), exit), Blame::Emulator(_)), emulator, "{case}");
        }
    }
}
