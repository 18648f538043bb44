//! init's own log: tracing events as lines to the kernel log with their severity, and to the console from a level up.
//!
//! The kernel log is always fed down to `info`; the console's level follows `machine.logging.level`.

use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use machine_config::schema::LogLevel;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

use crate::console::Console;

/// Longest record /dev/kmsg takes with room for its own prefix.
const KMSG_BYTES: usize = 900;

/// Changes the console's level while the device runs.
#[derive(Debug, Clone)]
pub struct LevelHandle(Arc<AtomicU8>);

impl LevelHandle {
    fn new() -> Self {
        Self(Arc::new(AtomicU8::new(severity(Level::INFO))))
    }

    /// Shows this level and worse on the console.
    pub fn set(&self, level: LogLevel) {
        let level = match level {
            LogLevel::Error => Level::ERROR,
            LogLevel::Warn => Level::WARN,
            LogLevel::Info => Level::INFO,
            LogLevel::Debug => Level::DEBUG,
        };
        self.0.store(severity(level), Ordering::Relaxed);
    }

    fn shows(&self, level: Level) -> bool {
        severity(level) <= self.0.load(Ordering::Relaxed)
    }
}

/// syslog's number for a level.
fn severity(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

struct InitLog {
    kmsg: Option<File>,
    console: Console,
    level: LevelHandle,
}

impl<S: Subscriber> Layer<S> for InitLog {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = *event.metadata().level();
        // Libraries say much that helps nobody here; their warnings are kept.
        let ours = event.metadata().target().starts_with("init") || event.metadata().target().starts_with("skerry");
        if level > Level::DEBUG || (!ours && level > Level::WARN) {
            return;
        }
        let mut line = Line::default();
        event.record(&mut line);
        let text = line.finish();
        if self.level.shows(level) {
            self.console.write(&format!("{text}\n"));
        }
        if let (Some(mut kmsg), true) = (self.kmsg.as_ref(), level <= Level::INFO) {
            // The kernel log is where failures to log would be reported.
            let _ = kmsg.write_all(kmsg_record(level, &text).as_bytes());
        }
    }
}

/// `<30>skerry: text`: facility 3 (daemon) and the severity, one record, cut at a character.
fn kmsg_record(level: Level, text: &str) -> String {
    let mut end = text.len().min(KMSG_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("<{}>skerry: {}\n", 3 * 8 + severity(level), &text[..end])
}

/// `message: message field key=value key="two words"`, without control bytes.
#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Line {
    fn finish(self) -> String {
        format!("{}{}", self.message, self.fields).chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
    }

    fn add(&mut self, field: &Field, value: &str) {
        // Writing to a String cannot fail.
        let _ = match field.name() {
            // The event's own text, then a field of that name.
            "message" if self.message.is_empty() => write!(self.message, "{value}"),
            "message" => write!(self.message, ": {value}"),
            name if value.is_empty() || value.contains([' ', '"']) => write!(self.fields, " {name}={value:?}"),
            name => write!(self.fields, " {name}={value}"),
        };
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let chain: Vec<String> = std::iter::successors(Some(value), |error| error.source()).map(ToString::to_string).collect();
        self.add(field, &chain.join(": "));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, &format!("{value:?}"));
    }
}

/// Installs the log for the whole process.
pub fn install(console: Console) -> LevelHandle {
    let level = LevelHandle::new();
    let kmsg = OpenOptions::new().write(true).open("/dev/kmsg").ok();
    // Fails only when a subscriber is installed already, as in tests.
    let _ = Registry::default().with(InitLog { kmsg, console, level: level.clone() }).try_init();
    level
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_carries_its_severity_and_is_cut_at_a_character() {
        assert_eq!(kmsg_record(Level::WARN, "late"), "<28>skerry: late\n");
        let long = "é".repeat(KMSG_BYTES);
        let record = kmsg_record(Level::INFO, &long);
        assert!(record.len() <= KMSG_BYTES + 16 && record.ends_with("é\n"));
    }

    /// Keeps the lines that events become.
    #[derive(Clone, Default)]
    struct Collect(Arc<std::sync::Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Collect {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let mut line = Line::default();
            event.record(&mut line);
            self.0.lock().expect("no test panics here").push(line.finish());
        }
    }

    #[test]
    fn a_line_reads_as_a_person_would_write_it() {
        let lines = Collect::default();
        tracing::subscriber::with_default(Registry::default().with(lines.clone()), || {
            let error =
                crate::state::DurableError { step: "sync", path: "/a".into(), source: std::io::ErrorKind::NotFound.into() };
            tracing::info!(disk = "vda", count = 3, "found");
            tracing::info!(service = "k3s", message = "ready after 3 ms", "service");
            tracing::warn!(error = &error as &dyn std::error::Error, "clock\x1b");
        });
        let expected = [
            "found disk=vda count=3",
            "service: ready after 3 ms service=k3s",
            "clock  error=\"cannot sync /a: entity not found\"",
        ];
        assert_eq!(*lines.0.lock().expect("no test panics here"), expected);
    }

    #[test]
    fn the_console_level_can_be_changed() {
        let level = LevelHandle::new();
        assert!(level.shows(Level::INFO) && !level.shows(Level::DEBUG));
        level.set(LogLevel::Error);
        assert!(level.shows(Level::ERROR) && !level.shows(Level::WARN));
    }
}
