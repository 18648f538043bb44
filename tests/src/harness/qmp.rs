//! QMP, the emulator's control protocol: one JSON object per line over a unix socket.
//!
//! Just enough of it: greeting, commands with their answers, and the events that arrive between them.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::patience::Patience;

/// Why the emulator could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum QmpError {
    /// The emulator's socket did not appear.
    #[error("cannot reach the emulator: no {awaited}: {source}")]
    Connect {
        /// What was awaited.
        awaited: Patience,
        /// The last failure.
        source: io::Error,
    },
    /// The connection broke.
    #[error("lost the emulator while it was asked `{command}`: {source}")]
    Lost {
        /// What it was asked.
        command: String,
        /// What the system said.
        source: io::Error,
    },
    /// The emulator refused.
    #[error("the emulator refused `{command}`: {reason}")]
    Refused {
        /// What it was asked.
        command: String,
        /// Its own words.
        reason: String,
    },
}

/// A connection to one emulator.
#[derive(Debug)]
pub struct Qmp<S = UnixStream> {
    stream: S,
    pending: Vec<u8>,
    events: VecDeque<Value>,
}

/// The emulator offers no event for "my socket is there", so connecting is tried this often until its patience ends.
const RETRY: Duration = Duration::from_millis(10);

/// A stream whose reads can be bounded in time.
pub trait Timed: Read + Write {
    /// Bounds the next reads.
    fn limit_reads(&self, limit: Duration) -> io::Result<()>;
}

impl Timed for UnixStream {
    fn limit_reads(&self, limit: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(limit.max(Duration::from_millis(1))))
    }
}

impl Qmp {
    /// Connects to the socket at `path`, which the emulator is about to make.
    pub fn connect(path: &Path) -> Result<Self, QmpError> {
        let patience = Patience::new("QMP socket", 5);
        let deadline = patience.deadline();
        loop {
            match UnixStream::connect(path) {
                Ok(stream) => return Self::greet(stream),
                Err(_) if Instant::now() < deadline => thread::sleep(RETRY),
                Err(source) => return Err(QmpError::Connect { awaited: patience, source }),
            }
        }
    }
}

impl<S: Timed> Qmp<S> {
    fn greet(stream: S) -> Result<Self, QmpError> {
        let mut qmp = Self { stream, pending: Vec::new(), events: VecDeque::new() };
        let deadline = Patience::new("QMP greeting", 5).deadline();
        qmp.line(deadline).map_err(|source| QmpError::Lost { command: "greeting".into(), source })?;
        qmp.execute("qmp_capabilities", &json!({}))?;
        Ok(qmp)
    }

    /// Runs a command and returns its answer.
    pub fn execute(&mut self, command: &str, arguments: &Value) -> Result<Value, QmpError> {
        let lost = |source| QmpError::Lost { command: command.into(), source };
        let mut request = json!({"execute": command, "arguments": arguments}).to_string();
        request.push('\n');
        self.stream.write_all(request.as_bytes()).map_err(lost)?;
        let deadline = Patience::new("QMP answer", 10).deadline();
        loop {
            let mut message = self.line(deadline).map_err(lost)?;
            if message.get("event").is_some() {
                self.events.push_back(message);
            } else if let Some(error) = message.get("error") {
                let reason = error["desc"].as_str().unwrap_or("no reason given").to_owned();
                return Err(QmpError::Refused { command: command.into(), reason });
            } else {
                return Ok(message["return"].take());
            }
        }
    }

    /// Runs a command of the emulator's human monitor and returns its text.
    pub fn monitor(&mut self, line: &str) -> Result<String, QmpError> {
        let answer = self.execute("human-monitor-command", &json!({"command-line": line}))?;
        Ok(answer.as_str().unwrap_or_default().to_owned())
    }

    /// Memory available to more programs in the guest, in bytes, as its balloon driver reports it every second.
    pub fn available_memory(&mut self, patience: &Patience) -> Result<u64, QmpError> {
        let path = format!("/machine/peripheral/{}", super::emulator::BALLOON);
        let interval = json!({"path": path, "property": "guest-stats-polling-interval", "value": 1});
        self.execute("qom-set", &interval)?;
        let deadline = patience.deadline();
        loop {
            // The emulator has no event for a new report; its driver is asked every second.
            thread::sleep(Duration::from_secs(1));
            let report = self.execute("qom-get", &json!({"path": path, "property": "guest-stats"}))?;
            let available = report["stats"]["stat-available-memory"].as_u64().filter(|bytes| *bytes < u64::MAX);
            match available {
                Some(bytes) if report["last-update"].as_u64().is_some_and(|seconds| seconds > 0) => return Ok(bytes),
                Some(_) | None if Instant::now() < deadline => {}
                Some(_) | None => {
                    let reason = format!("no report came: {patience}; the image needs the module virtio_balloon");
                    return Err(QmpError::Refused { command: "qom-get guest-stats".into(), reason });
                }
            }
        }
    }

    /// Waits for the event called `name`, e.g. `RESET`; events that came before it are gone.
    pub fn wait_event(&mut self, name: &str, patience: &Patience) -> Result<Value, QmpError> {
        let deadline = patience.deadline();
        loop {
            let event = match self.events.pop_front() {
                Some(event) => event,
                None => self.line(deadline).map_err(|source| QmpError::Lost { command: patience.to_string(), source })?,
            };
            if event["event"] == name {
                return Ok(event);
            }
        }
    }

    fn line(&mut self, deadline: Instant) -> io::Result<Value> {
        loop {
            if let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.pending.drain(..=end).collect();
                return serde_json::from_slice(&line).map_err(io::Error::other);
            }
            let left = deadline.checked_duration_since(Instant::now()).ok_or(io::ErrorKind::TimedOut)?;
            self.stream.limit_reads(left)?;
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => self.pending.extend_from_slice(&buffer[..read]),
            }
        }
    }
}

/// The host port behind `guest_port`, from the answer to the monitor's `info usernet`.
pub fn host_port(usernet: &str, guest_port: u16) -> Option<u16> {
    usernet.lines().filter(|line| line.contains("HOST_FORWARD")).find_map(|line| {
        // e.g. `  TCP[HOST_FORWARD]  12  127.0.0.1 37415  10.0.2.15  7440  0  0`
        let fields: Vec<&str> = line.split_whitespace().collect();
        let guest: u16 = fields.get(5)?.parse().ok()?;
        if guest == guest_port { fields.get(3)?.parse().ok() } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Script {
        answers: io::Cursor<&'static [u8]>,
        asked: Vec<u8>,
    }

    impl Read for Script {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let few = buffer.len().min(7); // answers arrive in pieces
            self.answers.read(&mut buffer[..few])
        }
    }

    impl Write for Script {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.asked.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Timed for Script {
        fn limit_reads(&self, _: Duration) -> io::Result<()> {
            Ok(())
        }
    }

    fn greeted(answers: &'static [u8]) -> Qmp<Script> {
        Qmp::greet(Script { answers: io::Cursor::new(answers), asked: Vec::new() }).unwrap()
    }

    #[test]
    fn events_between_commands_are_kept_for_whoever_waits() {
        let mut qmp = greeted(
            b"{\"QMP\": {}}\n{\"return\": {}}\n{\"event\": \"RESUME\"}\n{\"event\": \"RESET\"}\n{\"return\": {\"status\": \"running\"}}\n",
        );
        assert_eq!(qmp.execute("query-status", &json!({})).unwrap()["status"], "running");
        assert_eq!(qmp.wait_event("RESET", &Patience::new("reset", 1)).unwrap()["event"], "RESET");
        assert!(String::from_utf8_lossy(&qmp.stream.asked).contains("query-status"));
    }

    #[test]
    fn refusals_and_a_vanished_emulator_are_told_apart() {
        let mut qmp =
            greeted(b"{\"QMP\": {}}\n{\"return\": {}}\n{\"error\": {\"class\": \"X\", \"desc\": \"no such command\"}}\n");
        let refused = qmp.execute("frobnicate", &json!({})).unwrap_err();
        assert_eq!(refused.to_string(), "the emulator refused `frobnicate`: no such command");
        assert!(matches!(qmp.execute("quit", &json!({})), Err(QmpError::Lost { .. })));
    }

    #[test]
    fn forwarded_ports_are_read_from_the_monitor() {
        let text = "Hub -1 (net):\n  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\n  \
            TCP[HOST_FORWARD]  13       127.0.0.1 41235       10.0.2.15  7440     0     0\n  \
            TCP[HOST_FORWARD]  12       127.0.0.1 37415       10.0.2.15  8080     0     0\n";
        assert_eq!(host_port(text, 7440), Some(41235));
        assert_eq!(host_port(text, 8080), Some(37415));
        assert_eq!(host_port(text, 22), None);
    }
}
