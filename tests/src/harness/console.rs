//! The guest's serial console: read line by line as it comes, kept whole in a file, and waited on by name.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Instant;

use super::patience::Patience;

/// A line that did not come.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// Time ran out.
    #[error("the console did not show {awaited}; its last lines:\n{last}")]
    Late {
        /// What was awaited and for how long.
        awaited: Patience,
        /// The end of the console.
        last: String,
    },
    /// The emulator ended first.
    #[error("the machine ended before the console showed {what}; its last lines:\n{last}")]
    Ended {
        /// What was awaited.
        what: String,
        /// The end of the console.
        last: String,
    },
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<String>,
    partial: Vec<u8>,
    ended: bool,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }
}

/// A console being read. Waiting goes forward only: a line that was waited for is behind.
#[derive(Debug)]
pub struct Console {
    shared: Arc<Shared>,
    next: usize,
}

impl Console {
    /// Reads `output` to its end in a thread of its own, copying every byte to `log`.
    pub fn read(output: impl Read + Send + 'static, log: File) -> Self {
        let shared = Arc::new(Shared::default());
        let writer = Arc::clone(&shared);
        thread::spawn(move || pump(output, log, &writer));
        Self { shared, next: 0 }
    }

    /// Waits for a line that `matches`, and returns it.
    pub fn wait_for(&mut self, patience: &Patience, matches: impl Fn(&str) -> bool) -> Result<String, ConsoleError> {
        let deadline = patience.deadline();
        let mut state = self.shared.lock();
        loop {
            if let Some(found) = state.lines[self.next..].iter().position(|line| matches(line)) {
                self.next += found + 1;
                return Ok(state.lines[self.next - 1].clone());
            }
            if state.ended {
                return Err(ConsoleError::Ended { what: patience.what().into(), last: tail(&state) });
            }
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                return Err(ConsoleError::Late { awaited: patience.clone(), last: tail(&state) });
            };
            state = self.shared.changed.wait_timeout(state, left).expect("no holder of this lock panics").0;
        }
    }

    /// Waits for a line that contains `text`, and returns it.
    pub fn wait_for_text(&mut self, text: &str, seconds: u64) -> Result<String, ConsoleError> {
        self.wait_for(&Patience::new(format!("`{text}`"), seconds), |line| line.contains(text))
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.shared.lock().lines.clone()
    }

    /// The last lines, for a message.
    pub fn tail(&self) -> String {
        tail(&self.shared.lock())
    }
}

fn tail(state: &State) -> String {
    let start = state.lines.len().saturating_sub(20);
    state.lines[start..].iter().map(|line| format!("    | {line}\n")).collect()
}

fn pump(mut output: impl Read, mut log: File, shared: &Shared) {
    let mut buffer = [0; 4096];
    loop {
        let read = match output.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => break, // the emulator is gone; `ended` says so to whoever waits
        };
        // Policy: a full disk costs the log file, not the test that still sees the lines in memory.
        drop(log.write_all(&buffer[..read]));
        push(&mut shared.lock(), &buffer[..read]);
        shared.changed.notify_all();
    }
    shared.lock().ended = true;
    shared.changed.notify_all();
}

fn push(state: &mut State, bytes: &[u8]) {
    for &byte in bytes {
        if byte == b'\n' {
            let line = plain(&String::from_utf8_lossy(&std::mem::take(&mut state.partial)));
            state.lines.push(line);
        } else {
            state.partial.push(byte);
        }
    }
}

/// The line without carriage returns and terminal escapes, which firmware and boot loaders are fond of.
fn plain(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            '\u{1b}' if characters.as_str().starts_with('[') => {
                characters.next();
                characters.by_ref().find(|c| ('@'..='~').contains(c));
            }
            '\r' | '\u{1b}' => {}
            other => text.push(other),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn console(bytes: &'static [u8]) -> Console {
        Console::read(bytes, tempfile::tempfile().unwrap())
    }

    #[test]
    fn lines_come_without_escapes_and_once() {
        let mut console = console(b"\x1b[2J\x1b[01;01Hfirst\r\nsecond\nfirst again\n");
        assert_eq!(console.wait_for_text("first", 5).unwrap(), "first");
        assert_eq!(console.wait_for_text("first", 5).unwrap(), "first again");
        assert_eq!(console.lines().len(), 3);
    }

    #[test]
    fn a_machine_that_ends_is_reported_as_ended_with_its_last_lines() {
        let error = console(b"[  1.0] Kernel panic\n").wait_for_text("ready", 5).unwrap_err();
        assert!(matches!(&error, ConsoleError::Ended { last, .. } if last.contains("Kernel panic")), "{error}");
    }

    #[test]
    fn a_silent_machine_is_reported_as_late() {
        let (reader, _writer) = io::pipe().unwrap();
        let mut console = Console::read(reader, tempfile::tempfile().unwrap());
        let error = console.wait_for(&Patience::new("anything", 0), |_| true).unwrap_err();
        assert!(matches!(error, ConsoleError::Late { .. }), "{error}");
    }
}
